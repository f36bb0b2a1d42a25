"""An opened OpenVINO artifact."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from assay.backends.feeds import explain_mismatch
from assay.backends.openvino.arithmetic import find_products
from assay.backends.openvino.audit import audit_execution
from assay.backends.openvino.compilation import (
    Compute,
    Shape,
    compile_model,
    compile_static,
    fix_batch,
    is_one_batch,
    order_ports,
    read_model,
    reshape_model,
)
from assay.backends.openvino.engine import Engine, Tensors
from assay.backends.openvino.errors import VENDOR_ERRORS, mapped_errors, summarize_error
from assay.backends.openvino.profile import describe_nodes, find_origins, time_nodes
from assay.backends.openvino.settings import MODEL_FILE, Settings
from assay.backends.openvino.tensors import BFLOAT16, wrap_array
from assay.backends.openvino.vendor import load_openvino
from assay.core.audit import ExecutionAudit
from assay.core.errors import RunFailed
from assay.core.mixing import NodeTime
from assay.core.target import ServingMode, Target
from assay.core.tensor import Array, Feeds, Outputs, Signature

MOST_INFERRED = 4096
"""Shapes of past calls that are remembered as fitting."""


class OpenVinoSession:
    """Runs one artifact, one call at a time; not to be shared between threads.

    Where the batch is the only open axis, the artifact is compiled for the target's batch; the first call with
    another shape compiles it once more with the batch left open, and both stay.

    Args:
        folder: built by ``OpenVinoBackend.build``.
        target: threads, batch and mode to open it for.

    Raises:
        BuildFailed: what was built cannot be loaded.
    """

    def __init__(self, folder: Path, target: Target) -> None:
        settings = Settings.read(folder)
        self._signature = Signature(settings.inputs, settings.outputs)
        self._compute, self._renamed = Compute(settings.compute, settings.group), settings.renamed
        self._path = folder / MODEL_FILE
        self._target = target
        self._module = load_openvino()
        model = read_model(self._path)
        self._inputs = order_ports(model.inputs, settings.inputs)
        outputs = order_ports(model.outputs, settings.outputs)
        self._outputs = [(spec.name, index) for spec, index in zip(settings.outputs, outputs, strict=True)]
        self._halves = [spec.name for spec in settings.outputs if np.dtype(spec.dtype) == BFLOAT16]
        self._names = [spec.name for spec in settings.inputs]
        self._types = [np.dtype(spec.dtype) for spec in settings.inputs]
        self._accepted: tuple[Shape, ...] | None = None
        overlapping = target.mode is ServingMode.THROUGHPUT and not is_one_batch(settings.inputs)
        self._inferable = model if overlapping else None
        self._inferred: set[tuple[Shape, ...]] = set()
        self._closed = False
        shapes = fix_batch(settings.inputs, target.batch)
        self._engines: dict[tuple[Shape, ...] | None, Engine] = {}
        if shapes is None:
            self._engines[None] = compile_model(model, target, self._compute)
        elif (fixed := compile_static(model, target, self._compute, self._inputs, shapes)) is not None:
            self._engines[shapes] = fixed
        else:
            self._open_any_shape()

    @property
    def signature(self) -> Signature:
        """Inputs and outputs under the ONNX model's names."""
        return self._signature

    def run(self, feeds: Feeds) -> Outputs:
        """One call: all inputs by name in, all outputs by name out; the outputs are copies.

        Raises:
            RunFailed: the feeds do not fit the model, or OpenVINO failed.
        """
        arrays, engine = self._accept(feeds)
        try:
            return self._name_outputs(engine.run(self._wrap(arrays)))
        except VENDOR_ERRORS as err:
            raise RunFailed(f"OpenVINO failed while running {self._path}: {summarize_error(err)}") from err

    def lend(self, feeds: Feeds) -> Outputs:
        """One call whose outputs are OpenVINO's own memory, valid until the next call: nothing is copied.

        Raises:
            RunFailed: as ``run``.
        """
        arrays, engine = self._accept(feeds)
        with mapped_errors(RunFailed, f"OpenVINO failed while running {self._path}"):
            return self._name_outputs(engine.lend(self._wrap(arrays)))

    def bind(self, feeds: Feeds) -> Callable[[], None]:
        """A call to make again and again with these feeds, whose inputs and outputs stay where they are.

        Raises:
            RunFailed: as ``run``.
        """
        arrays, engine = self._accept(feeds)
        with mapped_errors(RunFailed, f"OpenVINO cannot take what {self._path} is fed"):
            tensors = self._wrap(arrays)

        def run() -> None:
            with mapped_errors(RunFailed, f"OpenVINO failed while running {self._path}"):
                engine.repeat(tensors)

        return run

    def stream(self, batches: Iterable[Feeds]) -> Iterator[Outputs]:
        """Outputs of many calls in the order of the calls; in throughput mode several are under way at once.

        Raises:
            RunFailed: as ``run``.
        """
        if self._target.mode is ServingMode.LATENCY:
            return map(self.run, batches)
        return self._overlap(batches)

    def executed(self, feeds: Feeds) -> ExecutionAudit:
        """Precision and kernel per node while running these feeds.

        Raises:
            RunFailed: as ``run``.
        """
        arrays, engine = self._accept(feeds)
        engine.prepare_overlap()
        # Each stream has its own copy of the graph: one call each, so that every kernel is chosen.
        deque(self._overlap([feeds] * len(engine.idle)), maxlen=0)
        model = read_model(self._path)
        with mapped_errors(RunFailed, f"OpenVINO cannot audit {self._path}"):
            reshape_model(model, self._inputs, [array.shape for array in arrays])
            tensors = [tensor for _, tensor in sorted(self._wrap(arrays), key=lambda pair: pair[0])]
            return audit_execution(engine.compiled, find_products(model, tensors))

    def profile(self, feeds: Feeds, calls: int) -> tuple[NodeTime, ...]:
        """What each executed node takes, from a second compilation like this one with performance counters.

        Args:
            feeds: inputs by name.
            calls: to take the median over.

        Raises:
            RunFailed: as ``run``.
        """
        arrays, engine = self._accept(feeds)
        model = read_model(self._path)
        origins = find_origins(model, self._renamed)
        with mapped_errors(RunFailed, f"OpenVINO cannot profile {self._path}"):
            if engine is not self._engines.get(None):
                reshape_model(model, self._inputs, [array.shape for array in arrays])
            compiled = compile_model(model, self._target, self._compute, counting=True).compiled
            times = time_nodes(compiled, self._wrap(arrays), calls)
            return describe_nodes(compiled, times, origins)

    def close(self) -> None:
        """Give the compiled models back; closing twice does nothing."""
        self._closed = True
        self._engines.clear()

    def __enter__(self) -> Self:
        """Enter the context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _accept(self, feeds: Feeds) -> tuple[list[Array], Engine]:
        """The arrays in the order of the signature, checked, and the engine that takes their shapes."""
        try:
            arrays = [feeds[name] for name in self._names]
            shapes = tuple([array.shape for array in arrays])  # a list is the faster way to a short tuple
            types = [array.dtype for array in arrays]
        except (KeyError, AttributeError):
            self._refuse_mismatch(feeds)
            raise
        if shapes != self._accepted or types != self._types or len(feeds) != len(arrays):
            self._refuse_mismatch(feeds)
            if self._inferable is not None and shapes not in self._inferred:
                self._infer_shapes(shapes)
            self._accepted = shapes
        engine = self._engines.get(shapes) or self._engines.get(None) or self._open_any_shape()
        return arrays, engine

    def _refuse_mismatch(self, feeds: Feeds) -> None:
        """Refuse feeds that are not exactly the model's inputs: OpenVINO would cast or reshape some in silence.

        Raises:
            RunFailed: naming the input and what is wrong with it.
        """
        trouble = explain_mismatch(self._signature, feeds)
        if trouble:
            raise RunFailed(f"{self._path} cannot run: {trouble}", "make the feeds fit the model's inputs")

    def _infer_shapes(self, shapes: tuple[Shape, ...]) -> None:
        """Refuse shapes that do not fit each other or the model's constants.

        With several streams OpenVINO may lose the error of a call whose shapes do not fit, and give the outputs of
        another call or read foreign memory (2026.4). So there the shapes that are new are inferred over the whole
        model first. Sizes that depend on values stay unchecked.

        Raises:
            RunFailed: with OpenVINO's words on the node where they meet.
        """
        with mapped_errors(RunFailed, f"{self._path} cannot run on shapes {[list(shape) for shape in shapes]}"):
            reshape_model(self._inferable, self._inputs, shapes)
        if len(self._inferred) >= MOST_INFERRED:
            self._inferred.clear()
        self._inferred.add(shapes)

    def _open_any_shape(self) -> Engine:
        """Compile with the model's own open shapes, the first time that a call needs it."""
        if self._closed:
            raise RunFailed(f"the session of {self._path} is closed", "open the artifact again")
        return self._engines.setdefault(None, compile_model(read_model(self._path), self._target, self._compute))

    def _wrap(self, arrays: Sequence[Array]) -> Tensors:
        """The arrays as tensors, with the ports that they go to."""
        return [(index, wrap_array(array, self._module)) for index, array in zip(self._inputs, arrays, strict=True)]

    def _name_outputs(self, values: Sequence[Array]) -> Outputs:
        """Outputs by ONNX name, in the signature's order."""
        outputs = {name: values[index] for name, index in self._outputs}
        for name in self._halves:
            outputs[name] = outputs[name].view(BFLOAT16)
        return outputs

    def _overlap(self, batches: Iterable[Feeds]) -> Iterator[Outputs]:
        """Keep every request busy; wait for the oldest call first, so that the order is kept."""
        pending: deque[tuple[Engine, Any, Tensors]] = deque()

        def finish_oldest() -> Outputs:
            engine, request, _ = pending[0]
            with mapped_errors(RunFailed, f"OpenVINO failed while running {self._path}"):
                outputs = self._name_outputs(engine.finish(request))
            pending.popleft()
            engine.idle.append(request)
            return outputs

        try:
            for feeds in batches:
                arrays, engine = self._accept(feeds)
                if not any(engine is other for other, _, _ in pending):
                    engine.prepare_overlap()
                while not engine.idle:
                    yield finish_oldest()
                request, tensors = engine.idle.popleft(), self._wrap(arrays)
                pending.append((engine, request, tensors))
                with mapped_errors(RunFailed, f"OpenVINO failed while running {self._path}"):
                    engine.start(request, tensors)
            while pending:
                yield finish_oldest()
        finally:
            for engine, request, _ in pending:  # left early: by the caller, or by a call that failed
                with suppress(*VENDOR_ERRORS):
                    request.wait()
                engine.idle.append(request)
