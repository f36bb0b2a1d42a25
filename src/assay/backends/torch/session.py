"""A running torch session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import ml_dtypes
import numpy as np
import torch

from assay.backends.feeds import explain_mismatch
from assay.backends.model_files import MODEL_FILE
from assay.backends.torch.audit import audit_steps
from assay.backends.torch.errors import RUNNING_ERRORS, to_run_error
from assay.backends.torch.execution import Engine
from assay.backends.torch.loading import load_model
from assay.backends.torch.operators import Tensor
from assay.backends.torch.settings import Settings
from assay.backends.torch.vendor import find_device
from assay.core.audit import ExecutionAudit
from assay.core.errors import RunFailed
from assay.core.target import Target
from assay.core.tensor import Array, Feeds, Outputs, Signature


class TorchSession:
    """An opened folder.

    Args:
        built: by the adapter.
        target: device and threads.

    Raises:
        BackendUnavailable: the device is missing.
        BuildFailed: torch cannot load the model.
    """

    def __init__(self, built: Path, target: Target) -> None:
        self._device = find_device(target.device)
        self._settings: Settings = Settings.read(built)
        self._path = built / MODEL_FILE
        self._model, self._signature = load_model(self._path, self._settings, self._device)
        self._engine: Engine | None = Engine(self._model, self._settings, target.threads)

    @property
    def signature(self) -> Signature:
        """Inputs and outputs as the model states them."""
        return self._signature

    def run(self, feeds: Feeds) -> Outputs:
        """One call; the arrays are copies.

        Raises:
            RunFailed: the session is closed, the feeds do not fit, or torch failed.
        """
        engine, inputs = self._enter(feeds)
        try:
            outputs = engine.call(inputs)
            return {spec.name: to_array(tensor) for spec, tensor in zip(self._signature.outputs, outputs, strict=True)}
        except RUNNING_ERRORS as err:
            raise self._explain(err) from err

    def stream(self, batches: Iterable[Feeds]) -> Iterator[Outputs]:
        """Outputs of many calls, one after the other: one call has all threads, or the whole device."""
        return map(self.run, batches)

    def bind(self, feeds: Feeds) -> Callable[[], None]:
        """A call to make again and again with these feeds; inputs and outputs stay on the device.

        It has ended when it returns.

        Raises:
            RunFailed: the session is closed, the feeds do not fit, or torch failed.
        """
        call = self._bind(feeds)
        waits = self._device != "cpu"

        def run() -> None:
            try:
                call()
                if waits:
                    torch.cuda.synchronize(self._device)
            except RUNNING_ERRORS as err:
                raise self._explain(err) from err

        return run

    def time_device(self, feeds: Feeds, calls: int) -> tuple[float, ...]:
        """Milliseconds of each of some calls by the device's own events, without what is moved to it and from it.

        Raises:
            RunFailed: the device has no events, the feeds do not fit, or torch failed.
        """
        if self._device == "cpu":
            raise RunFailed("a CPU has no device events", "take the wall clock")
        call = self._bind(feeds)
        events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(calls)]
        for begin, end in events:
            begin.record()
            call()
            end.record()
        torch.cuda.synchronize(self._device)
        return tuple(float(begin.elapsed_time(end)) for begin, end in events)

    def describe(self, feeds: Feeds) -> str:
        """How calls with feeds of these shapes run: compiled, as a CUDA graph, or why eagerly.

        Raises:
            RunFailed: the session is closed, or the feeds do not fit.
        """
        engine, inputs = self._enter(feeds)
        return engine.describe(inputs)

    def executed(self, feeds: Feeds) -> ExecutionAudit:
        """Precision and function per node, from following the model with these feeds.

        Raises:
            RunFailed: the session is closed, the feeds do not fit, or torch failed.
        """
        engine, inputs = self._enter(feeds)
        try:
            steps = engine.trace(inputs).steps
        except RUNNING_ERRORS as err:
            raise self._explain(err) from err
        tf32 = self._settings.tf32 and self._device != "cpu"
        return audit_steps(self._model, tuple(steps), tf32=tf32, how=self._device.partition(":")[0])

    def close(self) -> None:
        """Give the memory back; closing twice does nothing."""
        if self._engine is None:
            return
        self._engine.close()
        self._engine = None
        self._model.placed.clear()
        if self._device != "cpu":
            torch.cuda.empty_cache()

    def __enter__(self) -> Self:
        """Enter the context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _bind(self, feeds: Feeds) -> Callable[[], object]:
        engine, inputs = self._enter(feeds)
        try:
            return engine.bind(inputs)
        except RUNNING_ERRORS as err:
            raise self._explain(err) from err

    def _enter(self, feeds: Feeds) -> tuple[Engine, tuple[Tensor, ...]]:
        """The engine, and the feeds on its device."""
        engine = self._engine
        if engine is None:
            raise RunFailed(f"the session of {self._path} is closed", "open the artifact again")
        mismatch = explain_mismatch(self._signature, feeds)
        if mismatch:
            raise RunFailed(mismatch, "give the inputs that the model expects")
        return engine, tuple(from_array(feeds[spec.name], self._device) for spec in self._signature.inputs)

    def _explain(self, error: Exception) -> RunFailed:
        """What a failed call raises, with the node where it is known."""
        return to_run_error(error, str(getattr(error, "node", "")))


def from_array(array: Array, device: str) -> Tensor:
    """A tensor on a device that shares no memory with the array."""
    whole = np.ascontiguousarray(array)
    if whole.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(whole.view(np.int16).copy()).view(torch.bfloat16).to(device)
    if device == "cpu" or not whole.flags.writeable:
        return torch.from_numpy(whole.copy()).to(device)
    return torch.from_numpy(whole).to(device)


def to_array(tensor: Tensor) -> Array:
    """An array of its own."""
    held = tensor.detach().to("cpu").contiguous()
    if held.dtype is torch.bfloat16:
        narrow: Array = held.view(torch.int16).numpy().copy().view(ml_dtypes.bfloat16)
        return narrow
    return np.array(held.numpy(), copy=True)
