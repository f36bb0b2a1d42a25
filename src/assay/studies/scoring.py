"""Item scores of an artifact over the first items of the evaluation order, extended as they are needed, and stored."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import BackendError, StoreError
from assay.core.plan import Candidate
from assay.core.session import Scores, Session
from assay.data.subset import every
from assay.measure.guards import GuardSummary, OutputGuard
from assay.measure.quality import ScoredDataset, score_dataset
from assay.studies.remote_session import RemoteSession
from assay.studies.score_arrays import NONFINITE, pack_scores, unpack_scores
from assay.studies.thresholds import SCORES_FOLDER, apply_rule
from assay.studies.workspace import Workspace


class ItemScorer:
    """Scores one artifact, as far as it is asked to; a context manager.

    What an earlier run has scored is read; the artifact is opened only when more is wanted, in a process of its own.

    Args:
        space: the study.
        candidate: whose artifact it is.
        folder: of the artifact.

    Attributes:
        nonfinite: output values that were NaN or infinite so far.
        broken: the runtime failed.
    """

    def __init__(self, space: Workspace, candidate: Candidate, folder: Path) -> None:
        self._space, self._candidate, self._folder = space, candidate, folder
        self._stack = ExitStack()
        self._session: Session | None = None
        arrays = space.store.read_arrays(name_scores(candidate))
        self._scores: Scores | None = None if arrays is None else unpack_scores(arrays)
        self.broken = False
        self.nonfinite = 0 if arrays is None else int(arrays[NONFINITE][0])
        self._guard = None if arrays is None else GuardSummary.unpack(arrays)

    def __len__(self) -> int:
        """Items scored."""
        return 0 if self._scores is None else len(self._scores)

    def score(self, count: int) -> Scores:
        """Scores of the first ``count`` items of the evaluation order.

        Raises:
            BackendError: the runtime failed on an item.
            DataError: an item cannot be read.
        """
        known = len(self)
        if known < count:
            positions = self._space.split.order[known:count]
            # Guards look at the first items alone, so that all artifacts are held beside the reference on the same.
            guard = OutputGuard() if self._scores is None else None
            try:
                scored = self._run(positions, guard)
            except BackendError:
                self.broken = True
                raise
            self._guard = self._guard if guard is None else guard.summarise()
            # The items were read in the order of the data; the test wants them in the order that was drawn.
            fresh = scored.scores.select(np.argsort(np.argsort(positions)).astype(np.int64))
            self._scores = fresh if self._scores is None else Scores.join([self._scores, fresh])
            self.nonfinite += scored.nonfinite
            arrays = pack_scores(self._scores, self.nonfinite) | ({} if self._guard is None else self._guard.pack())
            self._space.store.write_arrays(name_scores(self._candidate), arrays)
        if self._scores is None:
            raise StoreError(f"no item of {self._candidate.id} is scored", "run the study again")
        return apply_rule(self._space, self._scores).select(slice(0, count))

    def close(self) -> None:
        """Give the runtime's resources back."""
        self._stack.close()
        self._session = None

    def __enter__(self) -> Self:
        """Enter the context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _run(self, positions: NDArray[np.int64], guard: OutputGuard | None) -> ScoredDataset:
        """Scores of the items at these positions, in rising order of the positions."""
        space, runtime = self._space, self._candidate.runtime
        if self._session is None:
            session = RemoteSession(self._folder, space.scoring_target(runtime), space.request.limits, "scoring")
            self._session = self._stack.enter_context(session)
        items = every(space.evaluation, np.sort(positions).tolist())
        return score_dataset(self._session, items, space.task, space.scoring_batch, space.progress.advance, guard)


def name_scores(candidate: Candidate) -> str:
    """Where a candidate's scores are in the store."""
    return f"{SCORES_FOLDER}/{candidate.id}"


def read_scores(space: Workspace, candidate: Candidate) -> Scores:
    """Item scores of a candidate at its thresholds, in the evaluation order, as far as it was scored.

    Raises:
        StoreError: they are missing.
        MeasurementError: too few items to tune a threshold on.
    """
    return apply_rule(space, read_stored(space, candidate))


def read_stored(space: Workspace, candidate: Candidate) -> Scores:
    """The same as the candidate gave them, at the task's own thresholds.

    Raises:
        StoreError: they are missing.
    """
    arrays = space.store.read_arrays(name_scores(candidate))
    if arrays is None:
        raise StoreError(f"the scores of {candidate.id} are missing", "run the study again")
    return unpack_scores(arrays)


def count_nonfinite(space: Workspace, candidate: Candidate) -> int:
    """Output values of a candidate that were NaN or infinite, over all items scored."""
    arrays = space.store.read_arrays(name_scores(candidate))
    return 0 if arrays is None else int(arrays[NONFINITE][0])


def read_guard(space: Workspace, candidate: Candidate) -> GuardSummary | None:
    """What the guards saw of a candidate's outputs over the items that it was scored on first; None before that."""
    arrays = space.store.read_arrays(name_scores(candidate))
    return None if arrays is None else GuardSummary.unpack(arrays)
