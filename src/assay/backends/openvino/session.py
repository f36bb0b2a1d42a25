"""An opened OpenVINO artifact."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from assay.backends.feeds import explain_mismatch
from assay.backends.openvino.arithmetic import find_products
from assay.backends.openvino.audit import audit_execution
from assay.backends.openvino.compilation import (
    Shape,
    compile_model,
    compile_static,
    fix_batch,
    order_ports,
    read_model,
    reshape_model,
)
from assay.backends.openvino.errors import VENDOR_ERRORS, mapped_errors, summarize_error
from assay.backends.openvino.settings import MODEL_FILE, read_settings
from assay.backends.openvino.tensors import BFLOAT16, wrap_array
from assay.backends.openvino.vendor import load_openvino
from assay.core.audit import ExecutionAudit
from assay.core.errors import RunFailed
from assay.core.target import ServingMode, Target
from assay.core.tensor import Array, Feeds, Outputs, Signature


class Engine:
    """One compiled model with the requests that run it; a request runs one call at a time.

    Attributes:
        compiled: OpenVINO's compiled model.
        direct: the request of ``run``.
        idle: requests of ``stream`` that wait for work.
    """

    def __init__(self, compiled: Any) -> None:  # noqa: ANN401 - the vendor's object has no types
        self.compiled = compiled
        self.direct = compiled.create_infer_request()
        self.idle: deque[Any] = deque()

    def prepare_stream(self) -> None:
        """Make as many requests as OpenVINO finds best, once."""
        if not self.idle:
            count = int(self.compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
            self.idle.extend(self.compiled.create_infer_request() for _ in range(count))


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
        self._settings = read_settings(folder)
        self._signature = Signature(self._settings.inputs, self._settings.outputs)
        self._path = folder / MODEL_FILE
        self._target = target
        self._module = load_openvino()
        model = read_model(self._path)
        self._inputs = order_ports(model.inputs, self._settings.inputs)
        outputs = order_ports(model.outputs, self._settings.outputs)
        self._outputs = [(spec.name, index) for spec, index in zip(self._settings.outputs, outputs, strict=True)]
        self._halves = [spec.name for spec in self._settings.outputs if np.dtype(spec.dtype) == BFLOAT16]
        self._names = [spec.name for spec in self._settings.inputs]
        self._types = [np.dtype(spec.dtype) for spec in self._settings.inputs]
        self._accepted: tuple[Shape, ...] | None = None
        self._closed = False
        shapes = fix_batch(self._settings.inputs, target.batch)
        compute = self._settings.compute
        fixed = None if shapes is None else compile_static(self._path, target, compute, self._inputs, shapes)
        self._engines: dict[tuple[Shape, ...] | None, Engine] = {}
        if fixed is None:
            self._engines[None] = Engine(compile_model(model, target, compute))
        else:
            self._engines[shapes] = Engine(fixed)

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
        request = engine.direct
        try:
            held = self._set_inputs(request, arrays)
            outputs = self._name_outputs(list(request.infer().values()))
        except VENDOR_ERRORS as err:
            raise RunFailed(f"OpenVINO failed while running {self._path}: {summarize_error(err)}") from err
        del held
        return outputs

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
        engine.prepare_stream()
        for _ in self._overlap([feeds] * len(engine.idle)):
            pass  # each stream has its own copy of the graph: one call each, so that every kernel is chosen
        model = read_model(self._path)
        with mapped_errors(RunFailed, f"OpenVINO cannot audit {self._path}"):
            reshape_model(model, self._inputs, [array.shape for array in arrays])
            ports = sorted(zip(self._inputs, arrays, strict=True), key=lambda pair: pair[0])
            products = find_products(model, [wrap_array(array, self._module) for _, array in ports])
            return audit_execution(engine.compiled, products)

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
            self._accepted = shapes
        engine = self._engines.get(shapes) or self._engines.get(None) or self._open_any_shape()
        return arrays, engine

    def _open_any_shape(self) -> Engine:
        """Compile with the model's own open shapes, the first time that a call needs it."""
        if self._closed:
            raise RunFailed(f"the session of {self._path} is closed", "open the artifact again")
        compiled = compile_model(read_model(self._path), self._target, self._settings.compute)
        return self._engines.setdefault(None, Engine(compiled))

    def _set_inputs(self, request: Any, arrays: Sequence[Array]) -> list[Any]:  # noqa: ANN401 - the vendor's object
        """Point the request at the arrays; the tensors given back keep their memory alive until it has run."""
        tensors = [wrap_array(array, self._module) for array in arrays]
        for index, tensor in zip(self._inputs, tensors, strict=True):
            request.set_input_tensor(index, tensor)
        return tensors

    def _refuse_mismatch(self, feeds: Feeds) -> None:
        """Refuse feeds that are not exactly the model's inputs: OpenVINO would cast or reshape some in silence.

        Raises:
            RunFailed: naming the input and what is wrong with it.
        """
        trouble = explain_mismatch(self._signature, feeds)
        if trouble:
            raise RunFailed(f"{self._path} cannot run: {trouble}", "make the feeds fit the model's inputs")

    def _name_outputs(self, values: Sequence[Array]) -> Outputs:
        """The copied arrays of a finished call by ONNX name, in the signature's order."""
        outputs = {name: values[index] for name, index in self._outputs}
        for name in self._halves:
            outputs[name] = outputs[name].view(BFLOAT16)
        return outputs

    def _overlap(self, batches: Iterable[Feeds]) -> Iterator[Outputs]:
        """Keep every request busy; wait for the oldest call first, so that the order is kept."""
        pending: deque[tuple[Engine, Any, list[Any]]] = deque()
        try:
            for feeds in batches:
                arrays, engine = self._accept(feeds)
                if not any(engine is other for other, _, _ in pending):
                    engine.prepare_stream()
                while not engine.idle:
                    yield self._finish(*pending.popleft())
                request = engine.idle.popleft()
                with mapped_errors(RunFailed, f"OpenVINO failed while running {self._path}"):
                    tensors = self._set_inputs(request, arrays)
                    request.start_async()
                pending.append((engine, request, tensors))
            while pending:
                yield self._finish(*pending.popleft())
        finally:
            for engine, request, _ in pending:
                request.wait()
                engine.idle.append(request)

    def _finish(self, engine: Engine, request: Any, tensors: list[Any]) -> Outputs:  # noqa: ANN401 - as above
        """Wait for one call and copy its outputs, so that the request can run the next."""
        with mapped_errors(RunFailed, f"OpenVINO failed while running {self._path}"):
            request.wait()
            values = [np.array(value) for value in request.results.values()]
        tensors.clear()
        engine.idle.append(request)
        return self._name_outputs(values)
