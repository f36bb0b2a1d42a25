"""A running ONNX Runtime session."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import onnxruntime as ort

from assay.backends.feeds import explain_mismatch, is_native
from assay.backends.onnxruntime.audit import audit_execution
from assay.backends.onnxruntime.binding import bind_call
from assay.backends.onnxruntime.errors import VENDOR_ERRORS, to_build_error, to_run_error
from assay.backends.onnxruntime.options import Settings, find_providers, make_options
from assay.backends.onnxruntime.profile import profile_nodes
from assay.core.audit import ExecutionAudit
from assay.core.errors import RunFailed
from assay.core.mixing import NodeTime
from assay.core.target import ServingMode, Target
from assay.core.tensor import Feeds, Outputs, Signature, TensorSpec

NUMPY_NAMES = {"float": "float32", "double": "float64", "string": "str"}
"""ONNX Runtime's element types that NumPy calls differently."""


class OnnxRuntimeSession:
    """An opened ONNX file.

    Args:
        model: the ONNX file.
        target: device, threads and mode.
        settings: how it was built.

    Raises:
        BackendUnavailable: the device is missing.
        BuildFailed: ONNX Runtime cannot load the file.
        UnsupportedPlan: it has no kernel for an operator in its number format.
    """

    def __init__(self, model: Path, target: Target, settings: Settings) -> None:
        self._model, self._target, self._settings = model, target, settings
        self._providers = find_providers(settings, target.device)
        try:
            opened = ort.InferenceSession(str(model), make_options(target, settings), providers=self._providers)
        except VENDOR_ERRORS as err:
            raise to_build_error(err, model) from err
        self._native: ort.InferenceSession | None = opened
        self._signature = Signature(
            tuple(_to_spec(node) for node in opened.get_inputs()),
            tuple(_to_spec(node) for node in opened.get_outputs()),
        )
        self._names = [spec.name for spec in self._signature.outputs]

    @property
    def signature(self) -> Signature:
        """Inputs and outputs as ONNX Runtime sees them."""
        return self._signature

    def run(self, feeds: Feeds) -> Outputs:
        """One call.

        Raises:
            RunFailed: the session is closed, or ONNX Runtime refused the feeds or failed.
        """
        native = self._native
        if native is None:
            raise RunFailed(f"the session of {self._model} is closed", "open the artifact again")
        try:
            if not is_native(feeds):
                raise ValueError("byte order")  # ONNX Runtime would read the bytes the wrong way round
            return dict(zip(self._names, native.run(self._names, feeds), strict=True))
        except VENDOR_ERRORS as err:
            raise to_run_error(err, explain_mismatch(self._signature, feeds)) from err

    def stream(self, batches: Iterable[Feeds]) -> Iterator[Outputs]:
        """Outputs of many calls, in order; in throughput mode one call per thread is under way at once."""
        if self._target.mode is ServingMode.LATENCY or self._target.threads == 1:
            yield from map(self.run, batches)
            return
        waiting: deque[Future[Outputs]] = deque()
        pool = ThreadPoolExecutor(self._target.threads, thread_name_prefix="onnxruntime-call")
        try:
            for feeds in batches:
                waiting.append(pool.submit(self.run, feeds))
                # Twice as many as threads: a thread that ends early has the next call at hand.
                if len(waiting) >= 2 * self._target.threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def bind(self, feeds: Feeds) -> Callable[[], None]:
        """A call to make again and again with these feeds, whose inputs and outputs stay where they are.

        Raises:
            RunFailed: the session is closed, or ONNX Runtime refused the feeds.
        """
        native = self._native
        if native is None:
            raise RunFailed(f"the session of {self._model} is closed", "open the artifact again")
        try:
            call = bind_call(native, self._names, feeds, self._target.device)
        except VENDOR_ERRORS as err:
            raise to_run_error(err, explain_mismatch(self._signature, feeds)) from err

        def run() -> None:
            try:
                call()
            except VENDOR_ERRORS as err:
                raise to_run_error(err, explain_mismatch(self._signature, feeds)) from err

        return run

    def executed(self, feeds: Feeds) -> ExecutionAudit:
        """Precision and operator per node, from the profile of a second session like this one.

        Raises:
            RunFailed: the session is closed, or ONNX Runtime refused the feeds or failed.
        """
        self.run(feeds)  # names what is wrong with the feeds
        options = make_options(self._target, self._settings)
        return audit_execution(self._model, options, self._providers, feeds, self._settings)

    def profile(self, feeds: Feeds, calls: int) -> tuple[NodeTime, ...]:
        """What each executed node takes, from the profile of a second session like this one.

        Args:
            feeds: inputs by name.
            calls: to take the median over.

        Raises:
            RunFailed: the session is closed, or ONNX Runtime refused the feeds or failed.
        """
        self.run(feeds)  # names what is wrong with the feeds
        options = make_options(self._target, self._settings)
        return profile_nodes(self._model, options, self._providers, feeds, calls)

    def close(self) -> None:
        """Give the memory and the threads back; closing twice does nothing."""
        self._native = None

    def __enter__(self) -> Self:
        """Enter the context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def _to_spec(node: Any) -> TensorSpec:  # noqa: ANN401 - the binding has no types
    """Specification of a graph input or output.

    ONNX Runtime gives an empty list both for a scalar and for an unknown rank: it is taken as unknown, which
    refuses nothing.
    """
    inner = node.type.removeprefix("tensor(").removesuffix(")")
    return TensorSpec(node.name, NUMPY_NAMES.get(inner, inner), tuple(node.shape) or None)
