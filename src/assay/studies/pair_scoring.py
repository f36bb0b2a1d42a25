"""Item scores of the two sides of a comparison, on the same items in the same random order, as far as needed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import StoreError
from assay.core.session import Dataset, Scores, Task
from assay.core.task_settings import Fitted
from assay.data.seeking import read_columns
from assay.data.subset import every
from assay.measure.quality import score_dataset
from assay.studies.contenders import Contender
from assay.studies.files import make_folder, read_arrays, write_arrays
from assay.studies.progress import Progress
from assay.studies.score_arrays import NONFINITE, pack_scores, unpack_scores
from assay.studies.scoring_batch import find_scoring_batch


@dataclass(frozen=True, slots=True)
class Items:
    """What both sides are scored on.

    Attributes:
        dataset: items in the form that a side takes.
        order: ``[n] int64``, the order in which items are used.
        target: name of the labels in the data.
        columns: by which items are divided into slices.
    """

    dataset: Dataset
    task: Task
    order: NDArray[np.int64]
    target: str
    columns: Sequence[str] = ()

    @property
    def key(self) -> str:
        """Content hash of all that scores depend on beside the model."""
        order = hashlib.sha256(self.order.tobytes()).hexdigest()
        read = (self.task.reading,) if isinstance(self.task, Fitted) else ()
        parts = (self.dataset.fingerprint, self.target, self.task.name, order, *filter(None, read))
        return hashlib.sha256(repr(parts).encode()).hexdigest()


class SideScorer:
    """Scores one side, as far as it is asked to; what an earlier run has scored is read.

    Args:
        contender: opened.
        items: what it is scored on.
        folder: where scores are kept; None keeps them in memory only.
        progress: is told of every item.

    Attributes:
        nonfinite: output values that were NaN or infinite so far.
        ran: items that this run has scored.
        path: of the stored scores, or None.
    """

    def __init__(self, contender: Contender, items: Items, folder: Path | None, progress: Progress) -> None:
        self._contender, self._items, self._progress = contender, items, progress
        self.path: Path | None = None
        self.nonfinite = self.ran = 0
        self._scores: Scores | None = None
        if folder is None:
            return
        key = hashlib.sha256(f"{contender.identity} {items.key}".encode()).hexdigest()[:16]
        self.path = make_folder(folder) / f"{key}.npz"
        if self.path.exists():
            arrays = read_arrays(self.path)
            self._scores = add_columns(unpack_scores(arrays), items)
            self.nonfinite = int(arrays[NONFINITE][0])

    def score(self, count: int) -> Scores:
        """Scores of the first ``count`` items of the order.

        Raises:
            BackendError: the runtime failed on an item.
            DataError: an item cannot be read.
            StoreError: the scores cannot be written.
        """
        known = 0 if self._scores is None else len(self._scores)
        if known < count:
            positions = self._items.order[known:count]
            chosen = every(self._items.dataset, np.sort(positions).tolist())
            session, task = self._contender.session, self._items.task
            batch = find_scoring_batch(session.signature, self._items.dataset)
            scored = score_dataset(session, chosen, task, batch, self._progress.advance)
            # The items were read in the order of the data; the test wants them in the order that was drawn.
            fresh = scored.scores.select(find_places(positions))
            self._scores = fresh if self._scores is None else Scores.join([self._scores, fresh])
            self.nonfinite += scored.nonfinite
            self.ran += count - known
            if self.path is not None:
                write_arrays(self.path, pack_scores(self._scores, self.nonfinite))
        if self._scores is None:
            raise StoreError(f"no item of {self._contender.text} is scored", "compare again")
        return self._scores.select(slice(0, count))


def add_columns(scores: Scores, items: Items) -> Scores:
    """Stored scores with the columns that an earlier run did not ask for: read from the data, without inference."""
    missing = [name for name in items.columns if name not in scores.columns]
    if not missing:
        return scores
    read = read_columns(items.dataset)
    positions = items.order[: len(scores)]
    return replace(scores, columns={**scores.columns, **{name: read[name][positions] for name in missing}})


def find_places(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each position is when they are sorted, ``[n] int64``."""
    return np.argsort(np.argsort(positions)).astype(np.int64)
