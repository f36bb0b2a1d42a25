"""A release opened for running: the chosen artifact, and its fallbacks where that fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from assay.backends.table import load_backend
from assay.core.audit import ExecutionAudit
from assay.core.errors import BackendError, DataError, RunFailed
from assay.core.session import Session
from assay.core.tensor import Array, Feeds, Outputs, Signature
from assay.core.threshold import Threshold
from assay.studies.joining import join_calls
from assay.studies.manifest import Manifest, ReleasedArtifact
from assay.studies.release import read_manifest
from assay.studies.sample import count_feeds, fill_up


class LoadedRelease:
    """Runs a release; a context manager.

    Where the chosen artifact cannot be opened or fails on a call, the next one of the chain takes over for good, and
    ``failures`` tells why.

    Args:
        folder: the release.

    Raises:
        StoreError: the folder is no release.
        BackendError: no artifact of the chain can be opened.

    Attributes:
        manifest: of the release.
        active: id of the trial whose artifact runs.
        failures: trial id -> why it was passed over.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: Manifest = read_manifest(folder)
        self.failures: dict[str, str] = {}
        self._waiting = list(self.manifest.artifacts)
        self._stack = ExitStack()
        self._session, self._current = self._open_next()

    @property
    def active(self) -> str:
        """Id of the trial whose artifact runs."""
        return self._current.trial.id

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """What counts as positive under the artifact that runs; none where the task's own are kept."""
        evidence = self._current.trial.evidence
        return () if evidence is None else evidence.thresholds

    @property
    def signature(self) -> Signature:
        """Inputs and outputs of the model."""
        return self._session.signature

    @property
    def call_items(self) -> int:
        """Most items of one call of the artifact that runs."""
        return self.fixed_batch or self._current.target.batch

    @property
    def fixed_batch(self) -> int | None:
        """Items per call where the model fixes them."""
        fixed = [s.shape[0] for s in self.signature.inputs if s.shape and isinstance(s.shape[0], int)]
        return fixed[0] if fixed else None

    def run(self, feeds: Feeds) -> Mapping[str, Array]:
        """Outputs by name for inputs by name; any number of items on the first axis.

        Where they take several calls, an output of a fixed size, without a row for every item, gets an axis of the
        calls in front.

        Raises:
            DataError: the feeds do not fit the model.
            RunFailed: every artifact of the chain failed.
        """
        check_feeds(self.signature, feeds)
        fixed = self.fixed_batch
        parts: list[Outputs] = []
        sizes: list[int] = []
        for batch in split(feeds, self.call_items):
            sizes.append(count_feeds(batch))
            outputs = self._run_batch(batch if fixed is None else fill_up(batch, fixed))
            parts.append(outputs if fixed is None else cut(outputs, fixed, sizes[-1]))
        return parts[0] if len(parts) == 1 else join_calls(parts, sizes, self.signature)

    def stream(self, batches: Iterable[Feeds]) -> Iterator[Outputs]:
        """Outputs of many calls in their order, one call at a time.

        Raises:
            RunFailed: every artifact of the chain failed.
        """
        return map(self.run, batches)

    def executed(self, feeds: Feeds) -> ExecutionAudit:
        """Precision and kernel per node of the active artifact while running these feeds."""
        return self._session.executed(feeds)

    def close(self) -> None:
        """Give the runtime's resources back."""
        self._stack.close()

    def __enter__(self) -> Self:
        """Enter the context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _run_batch(self, feeds: Feeds) -> Mapping[str, Array]:
        while True:
            try:
                return self._session.run(feeds)
            except RunFailed as error:
                self.failures[self.active] = str(error)
                if not self._waiting:
                    raise
                self._session, self._current = self._open_next()

    def _open_next(self) -> tuple[Session, ReleasedArtifact]:
        while True:
            released = self._waiting.pop(0)
            try:
                session = load_backend(released.target.runtime).open(self.folder / released.folder, released.target)
            except BackendError as error:
                self.failures[released.trial.id] = str(error)
                if not self._waiting:
                    raise
            else:
                return self._stack.enter_context(session), released


def check_feeds(signature: Signature, feeds: Feeds) -> None:
    """Refuse feeds that do not fit a model.

    Raises:
        DataError: naming the input.
    """
    wanted = {spec.name for spec in signature.inputs}
    if wanted != set(feeds):
        missing, extra = sorted(wanted - set(feeds)), sorted(set(feeds) - wanted)
        message = f"the feeds do not fit the model: missing {missing or 'none'}, unknown {extra or 'none'}"
        raise DataError(message, f"give one array for each of {sorted(wanted)}")
    sizes = {name: len(array) if array.ndim else 0 for name, array in feeds.items()}
    if len(set(sizes.values())) != 1 or 0 in sizes.values():
        raise DataError(f"the feeds have different numbers of items, or none: {sizes}", "give one row per item")
    for spec in signature.inputs:
        array = feeds[spec.name]
        if array.dtype != np.dtype(spec.dtype):
            hint = "convert it, or let `assay run --preprocess` apply what the study declared"
            raise DataError(f"input {spec.name!r} is {array.dtype}; the model takes {spec.dtype}", hint)
        if spec.shape is not None and not fits(array.shape[1:], spec.shape[1:]):
            shape = ", ".join("n" if i == 0 else str(axis) for i, axis in enumerate(spec.shape))
            raise DataError(f"input {spec.name!r} is {list(array.shape)}; the model takes [{shape}]", "reshape it")


def fits(shape: tuple[int, ...], wanted: tuple[int | str | None, ...]) -> bool:
    """Whether a shape keeps every fixed axis."""
    return len(shape) == len(wanted) and all(
        not isinstance(axis, int) or axis == size for size, axis in zip(shape, wanted, strict=True)
    )


def split(feeds: Feeds, batch: int) -> Iterator[Feeds]:
    """Feeds in batches of at most ``batch`` items."""
    for start in range(0, count_feeds(feeds), batch):
        yield {name: array[start : start + batch] for name, array in feeds.items()}


def cut(outputs: Mapping[str, Array], fixed: int, size: int) -> Mapping[str, Array]:
    """Outputs without the rows of items that only filled a batch up."""
    return {name: value[:size] if value.ndim and len(value) == fixed else value for name, value in outputs.items()}
