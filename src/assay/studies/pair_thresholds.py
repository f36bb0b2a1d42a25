"""Both sides of a comparison at thresholds: a given one, or each at its own, tuned on items apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assay.core.session import Scores
from assay.core.threshold import Threshold, ThresholdRule
from assay.measure.tasks.thresholds import apply_thresholds
from assay.measure.tuning import tune_thresholds
from assay.studies.pair_scoring import SideScorer
from assay.studies.split import split_items
from assay.studies.thresholds import SEED


class ThresholdedPair:
    """Draws scores of both sides at their thresholds, from the items that no threshold was tuned on.

    Args:
        rule: what is asked for; None for the task's own thresholds.
        scorers: of both sides.
        items: that there are.
        tuning_items: to tune on, at least; None for as many as a study searches with.

    Raises:
        RequestError: nothing is left to compare on, or the rule does not fit the task.
        MeasurementError: too few tuning items of a kind.
        BackendError: the runtime failed on an item.

    Attributes:
        thresholds: of both sides, one each or one for each label; none where the task's own are kept.
        available: items that are left to compare on.
    """

    def __init__(
        self, rule: ThresholdRule | None, scorers: Sequence[SideScorer], items: int, tuning_items: int | None
    ) -> None:
        self._scorers = scorers
        self._tuned = split_items(items, tuning_items).search if rule is not None and rule.is_tuned else 0
        self.available = items - self._tuned
        self.thresholds: tuple[tuple[Threshold, ...], ...] = ((), ())
        if rule is not None:
            known = [scorer.score(max(1, self._tuned)) for scorer in scorers]
            self.thresholds = tuple(tune_thresholds(rule, one, np.random.default_rng(SEED), known[0]) for one in known)

    def draw(self, count: int) -> tuple[Scores, Scores]:
        """Scores of both sides on the first so many items that are left."""
        first, second = (
            self._cut(scorer.score(self._tuned + count), thresholds)
            for scorer, thresholds in zip(self._scorers, self.thresholds, strict=True)
        )
        return first, second

    def _cut(self, scores: Scores, thresholds: Sequence[Threshold]) -> Scores:
        """What is left, at the thresholds of its side."""
        rest = scores.select(slice(self._tuned, len(scores)))
        return apply_thresholds(rest, [one.value for one in thresholds]) if thresholds else rest
