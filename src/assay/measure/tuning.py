"""Thresholds tuned on items apart, and how far another draw of such items would move them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import MeasurementError, RequestError
from assay.core.session import Scores
from assay.core.threshold import BINARY_LABEL, Threshold, ThresholdGoal, ThresholdRule
from assay.measure.tasks.binary import RECORD as BINARY
from assay.measure.tasks.multi_label import RECORD as LABELS
from assay.measure.tasks.thresholds import read_score

LEAST_OF_EACH = 10
"""Positive, and negative, tuning items of a label below which a threshold would be a guess."""
DRAWS = 200
EDGE = 0.05
"""Share of other draws below the lower, and above the upper end of a threshold's range."""


def tune_thresholds(
    rule: ThresholdRule, scores: Scores, rng: np.random.Generator, reference: Scores | None = None
) -> tuple[Threshold, ...]:
    """One threshold for two classes, or one for each label, by the rule.

    Args:
        rule: what is asked for.
        scores: of the tuning items, labelled.
        rng: draws the tuning items anew, with replacement, to tell how far the thresholds would move.
        reference: scores of the reference on the same items, for a rule that matches it; None for itself.

    Raises:
        RequestError: there are no targets, or no scores to hold against a threshold.
        MeasurementError: too few items of a kind.
    """
    if not rule.is_tuned:
        return tuple(Threshold(label, value, value, value) for label, value in find_thresholds(rule, scores))
    return tuple(
        _describe(rule, label, curve, known, rng) for label, curve, known in _draw_curves(rule, scores, reference)
    )


def find_thresholds(
    rule: ThresholdRule, scores: Scores, reference: Scores | None = None
) -> tuple[tuple[int, float], ...]:
    """Label and threshold alone, without what is to be known of them; the arguments are those of the above.

    Raises:
        RequestError: there are no targets, or no scores to hold against a threshold.
        MeasurementError: too few items of a kind.
    """
    record = read_score(scores)
    labels = [BINARY_LABEL] if record.ndim == 1 else list(range(record.shape[1]))
    if not rule.is_tuned:
        return tuple((label, rule.amount) for label in labels)
    found = []
    for label, curve, known in _draw_curves(rule, scores, reference):
        best, _ = _pick(rule, curve, known, curve.items)
        found.append((label, float(curve.cuts[best])))
    return tuple(found)


def _draw_curves(
    rule: ThresholdRule, scores: Scores, reference: Scores | None
) -> list[tuple[int, _Curve, _Curve | None]]:
    """For each label its number, its curve, and that of the reference where the rule matches it.

    Raises:
        RequestError: there are no targets.
        MeasurementError: too few items of a kind.
    """
    columns = _read_columns(scores)
    labels = [BINARY_LABEL] if BINARY in scores.records else list(range(len(columns)))
    for label, (_, truth) in zip(labels, columns, strict=True):
        _require(label, truth)
    curves = [_Curve(*column) for column in columns]
    if not rule.matched:
        return [(label, curve, None) for label, curve in zip(labels, curves, strict=True)]
    known = curves if reference is None else [_Curve(*column) for column in _read_columns(reference)]
    return list(zip(labels, curves, known, strict=True))


def _pick(
    rule: ThresholdRule, curve: _Curve, reference: _Curve | None, weights: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Place of the threshold on a curve by the rule, and whether the goal is reached, ``[...]`` each."""
    if reference is None:
        return curve.pick(rule, weights)
    places, met = reference.pick(rule, weights)
    share = np.take_along_axis(reference.count_flagged(weights), places[..., None], axis=-1)
    return np.abs(curve.count_flagged(weights) - share).argmin(axis=-1), met


def require_positives(scores: Scores) -> None:
    """Refuse items none of which is positive, by any label: F1, precision, recall and AUC say nothing of them.

    Raises:
        MeasurementError: telling how many there are.
    """
    columns = [truth for _, truth in _read_columns(scores)]
    if not any(truth.any() for truth in columns):
        raise MeasurementError(
            f"none of the {len(columns[0])} items is positive: F1, precision, recall and AUC say nothing of them",
            "give items of both kinds; where there are none, bound 'top1', 'exact-match' or 'agreement', which count "
            "false alarms",
        )


@dataclass(frozen=True, slots=True)
class _Counts:
    """What a threshold at each place of a curve finds; each ``[..., cuts]``."""

    f1: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


class _Curve:
    """All thresholds between neighbouring scores, the highest first, and what each of them finds.

    Args:
        score: ``[n]``, infinite at the wrong end for an item without a prediction.
        truth: ``[n]`` positive items.

    Attributes:
        cuts: ``[cuts]``: halfway between two scores; the last one is just below all of them.
        items: ``[n]``, every item once.
    """

    def __init__(self, score: NDArray[np.float64], truth: NDArray[np.bool_]) -> None:
        self._order = np.argsort(-score, kind="stable")
        self._score, self._truth = score[self._order], truth[self._order]
        known = self._score[np.isfinite(self._score)]
        if not known.size:
            raise MeasurementError("no tuning item has a finite score", "check the model's output")
        values = np.unique(known)[::-1]
        last = float(np.nextafter(np.float32(values[-1]), np.float32(-np.inf)))
        self.cuts: NDArray[np.float64] = np.append((values[:-1] + values[1:]) / 2, last)
        # How many items, in the order of their scores, lie above each cut.
        self._above = np.searchsorted(-self._score, -self.cuts, side="left")
        self.items = np.ones(len(score))

    @property
    def positives(self) -> int:
        """Positive items."""
        return int(self._truth.sum())

    def count(self, weights: NDArray[np.float64]) -> _Counts:
        """Of items with weights, ``[..., n]``."""
        ordered = weights[..., self._order]
        zero = np.zeros((*ordered.shape[:-1], 1))
        hits = np.concatenate([zero, np.cumsum(ordered * self._truth, axis=-1)], axis=-1)
        flagged = np.concatenate([zero, np.cumsum(ordered, axis=-1)], axis=-1)
        positives = hits[..., -1:]
        found, said = hits[..., self._above], flagged[..., self._above]
        return _Counts(
            f1=_divide(2 * found, said + positives),
            precision=_divide(found, said),
            recall=_divide(found, np.broadcast_to(positives, found.shape)),
        )

    def count_flagged(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weight of the items above each threshold, ``[..., cuts]``."""
        ordered = weights[..., self._order]
        flagged = np.concatenate([np.zeros((*ordered.shape[:-1], 1)), np.cumsum(ordered, axis=-1)], axis=-1)
        above: NDArray[np.float64] = flagged[..., self._above]
        return above

    def pick(self, rule: ThresholdRule, weights: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Place of the threshold by the rule, and whether its goal is reached, ``[...]`` each.

        The highest F1: of equals the highest threshold. A least recall: the highest threshold that has it. A least
        precision: the lowest that has it; where none has, the one with the most. A given one: the nearest.
        """
        if rule.goal is ThresholdGoal.FIXED:
            nearest = np.abs(self.cuts - rule.amount).argmin()
            return np.full(weights.shape[:-1], nearest), np.ones(weights.shape[:-1], dtype=np.bool_)
        counts = self.count(weights)
        if rule.goal is ThresholdGoal.MAX_F1:
            best = counts.f1.argmax(axis=-1)
            return best, np.ones(best.shape, dtype=np.bool_)
        if rule.goal is ThresholdGoal.RECALL:
            reached = counts.recall >= rule.amount - 1e-12
            return reached.argmax(axis=-1), np.asarray(reached.any(axis=-1))
        reached = counts.precision >= rule.amount - 1e-12
        lowest = len(self.cuts) - 1 - reached[..., ::-1].argmax(axis=-1)
        met = np.asarray(reached.any(axis=-1))
        return np.where(met, lowest, counts.precision.argmax(axis=-1)), met


def _describe(
    rule: ThresholdRule, label: int, curve: _Curve, reference: _Curve | None, rng: np.random.Generator
) -> Threshold:
    """A tuned threshold with what it finds on the tuning items, and how far other draws would put it."""
    counts = curve.count(curve.items)
    place, met = _pick(rule, curve, reference, curve.items)
    n = len(curve.items)
    drawn, _ = _pick(rule, curve, reference, rng.multinomial(n, np.full(n, 1 / n), DRAWS).astype(np.float64))
    low, high = np.quantile(curve.cuts[drawn], [EDGE, 1 - EDGE])
    return Threshold(
        label=label,
        value=float(curve.cuts[place]),
        low=float(low),
        high=float(high),
        f1=float(counts.f1[place]),
        precision=float(counts.precision[place]),
        recall=float(counts.recall[place]),
        spread=max(0.0, float(counts.f1[place] - counts.f1[drawn].mean())),
        items=n,
        positives=curve.positives,
        met=bool(met),
    )


def _read_columns(scores: Scores) -> list[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """Score and truth of the positive class, or of each label.

    Raises:
        RequestError: there are no targets.
    """
    if (two := scores.records.get(BINARY)) is not None:
        return [(two[:, 0], two[:, 2] == 1)]
    labels = scores.records.get(LABELS)
    if labels is None:
        raise RequestError(
            "thresholds are tuned on labelled items, and the data has no targets",
            "give targets, or a number as the threshold",
        )
    truth = labels[:, :, 1] == 1
    lost = np.where(truth, -np.inf, np.inf)
    score = np.where((scores.predictions >= 0)[:, None], read_score(scores), lost)
    return [(score[:, place], truth[:, place]) for place in range(truth.shape[1])]


def _require(label: int, truth: NDArray[np.bool_]) -> None:
    """Refuse to guess.

    Raises:
        MeasurementError: naming both numbers.
    """
    for what, count in (("positive", int(truth.sum())), ("negative", int((~truth).sum()))):
        if count < LEAST_OF_EACH:
            of = "" if label == BINARY_LABEL else f" for label {label}"
            raise MeasurementError(
                f"a threshold cannot be tuned{of} on {count} {what} items out of {len(truth)}: "
                f"at least {LEAST_OF_EACH} are needed",
                "give more with tuning_items, or a number as the threshold",
            )


def _divide(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """A quotient that is 0 over nothing."""
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator > 0)
