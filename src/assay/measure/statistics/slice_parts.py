"""The items of one slice, and what they say of its loss at any confidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from assay.core.certificate import NEVER_ENOUGH
from assay.core.errors import MeasurementError
from assay.core.session import Metric, Scores
from assay.core.tensor import Array
from assay.measure.functionals.table import load_functional
from assay.measure.statistics.betting import bound_mean
from assay.measure.statistics.losses import item_losses, reference_scores
from assay.measure.statistics.paired import compare
from assay.measure.statistics.power import count_least_items
from assay.measure.statistics.relative import confine_reference
from assay.measure.statistics.trinomial import GAMMA_SHARE, bound_loss, compute_p_value, confine_rate
from assay.measure.tasks.agreement import AGREEMENT, is_relative

REMEMBERED = 1 << 16
FINEST_LEVEL = 64
"""Family-wise levels are tried at so many places between the largest and the smallest."""


class Part(Protocol):
    """Items of one slice. Losses are in the metric's own unit, positive is worse."""

    @property
    def n(self) -> int:
        """Number of items."""
        ...

    @property
    def reference(self) -> float:
        """Metric of the reference."""
        ...

    @property
    def variant(self) -> float:
        """Metric of the variant."""
        ...

    @property
    def loss(self) -> float:
        """How much worse the variant is."""
        ...

    def high(self, confidence: float) -> float:
        """Upper bound of the loss at one-sided confidence."""
        ...

    def low(self, confidence: float) -> float:
        """Lower bound of the loss at one-sided confidence."""
        ...

    def p_worse(self, margin: float, error: float, count: int) -> float:
        """P-value of "the loss is at most the margin", as one of ``count`` that share an error rate."""
        ...

    def confine_reference(self, gamma: float) -> tuple[float, float]:
        """Bounds of the reference's metric, each at an error of gamma."""
        ...

    def count_needed(self, margin: float, confidence: float) -> int:
        """Fewest items that could certify the margin even if nothing flips."""
        ...


@dataclass(frozen=True, slots=True)
class FlipPart:
    """Items that are right or wrong: all that counts is how many flipped which way.

    Attributes:
        right: items that the reference gets right, where higher is better; else those that it gets wrong.
        lost: items that got worse.
        won: items that got better.
        sign: 1 where higher is better, else -1.
    """

    n: int
    right: int
    lost: int
    won: int
    sign: int

    @property
    def reference(self) -> float:
        """Share of the items that score."""
        return self.right / self.n

    @property
    def variant(self) -> float:
        """Share of the items that score."""
        return (self.right - self.sign * (self.lost - self.won)) / self.n

    @property
    def loss(self) -> float:
        """Share that got worse beyond the share that got better."""
        return (self.lost - self.won) / self.n

    def high(self, confidence: float) -> float:
        """Exact upper bound."""
        return max(self.loss, bound_flips(self.lost, self.won, self.n, confidence))

    def low(self, confidence: float) -> float:
        """Exact lower bound."""
        return 0.0 - self.mirror().high(confidence)

    def could_pass(self, margin: float, confidence: float) -> bool:
        """Whether the test rejects a loss of the margin, without which the exact upper bound is beyond it."""
        return find_p_value(self.lost, self.won, self.n, margin, 1 - confidence) <= 1 - confidence

    def mirror(self) -> FlipPart:
        """The same items with reference and variant exchanged."""
        return replace(self, right=round(self.variant * self.n), lost=self.won, won=self.lost)

    def bound_roughly(self, confidence: float) -> float:
        """An upper bound that is quick to compute and a little higher, from the exact ones of either kind of flips."""
        error = 1 - confidence
        most_lost, least_won = confine_rate(self.lost, self.n, error)[1], confine_rate(self.won, self.n, error)[0]
        return max(self.loss, most_lost - least_won)

    def p_worse(self, margin: float, error: float, count: int) -> float:
        """Exact p-value; the flip rate is confined at the error of the strictest step."""
        if self.loss <= margin:
            return 1.0
        return find_p_value(self.won, self.lost, self.n, -margin, error / count)

    def confine_reference(self, gamma: float) -> tuple[float, float]:
        """Exact bounds of the share."""
        return confine_rate(self.right, self.n, 2 * gamma)

    def count_needed(self, margin: float, confidence: float) -> int:
        """By the exact test without a flip."""
        return count_exact(margin, confidence)


@dataclass(frozen=True, slots=True)
class LossPart:
    """Items with scores between 0 and 1.

    Attributes:
        scores: ``[n]`` of the reference.
        losses: ``[n]``, each in [-1, 1].
        sign: 1 where higher is better, else -1.
    """

    scores: NDArray[np.float64]
    losses: NDArray[np.float64]
    sign: int

    @property
    def n(self) -> int:
        """Number of items."""
        return len(self.losses)

    @property
    def reference(self) -> float:
        """Mean score."""
        return float(self.scores.mean())

    @property
    def variant(self) -> float:
        """Mean score."""
        return self.reference - self.sign * self.loss

    @property
    def loss(self) -> float:
        """Mean loss."""
        return float(self.losses.mean())

    def high(self, confidence: float) -> float:
        """Upper bound by betting."""
        return max(self.loss, 1 - 2 * bound_mean((1 - self.losses) / 2, confidence))

    def low(self, confidence: float) -> float:
        """Lower bound by betting."""
        return min(self.loss, 2 * bound_mean((1 + self.losses) / 2, confidence) - 1)

    def p_worse(self, margin: float, error: float, count: int) -> float:
        """The smallest level at which betting proves it."""
        return find_level(self.low, margin, error, count)

    def confine_reference(self, gamma: float) -> tuple[float, float]:
        """Bounds by betting."""
        return confine_reference(self.scores, gamma)

    def count_needed(self, margin: float, confidence: float) -> int:
        """From items without a loss, whose bound shrinks about as 1/n."""
        return scale_items(self.n, bound_unchanged(self.n, confidence), margin)


@dataclass(frozen=True)
class ComparedPart:
    """Items of agreement, or of a metric that is no mean of item scores: what `compare` says of them.

    Its bounds raise MeasurementError where the metric's method refuses so few items.
    """

    metric: Metric
    before: Scores
    after: Scores

    @property
    def n(self) -> int:
        """Number of items."""
        return len(self.before)

    @cached_property
    def reference(self) -> float:
        """Metric of the reference."""
        return self._value(self.before)

    @cached_property
    def variant(self) -> float:
        """Metric of the variant."""
        return self._value(self.after)

    @property
    def loss(self) -> float:
        """How much worse the variant is."""
        gain = self.variant - self.reference
        return (0.0 - gain) if self.metric.higher_is_better else gain

    def high(self, confidence: float) -> float:
        """Upper bound of the loss."""
        return self._bound(self.after, confidence)[1]

    def low(self, confidence: float) -> float:
        """Lower bound of the loss."""
        return self._bound(self.after, confidence)[0]

    def p_worse(self, margin: float, error: float, count: int) -> float:
        """The smallest level at which the bound proves it."""
        return find_level(self.low, margin, error, count)

    def confine_reference(self, gamma: float) -> tuple[float, float]:
        """The value itself: known of agreement, and of a functional in the limit of many items."""
        del gamma
        return abs(self.reference), abs(self.reference)

    def count_needed(self, margin: float, confidence: float) -> int:
        """From the reference against itself, whose bound shrinks about as 1/n."""
        if not self.metric.functional and 0 < margin < 1:
            return count_least_items(margin, confidence, one_way=True)
        return scale_items(self.n, self._bound(self.before, confidence)[1], margin)

    def _value(self, scores: Scores) -> float:
        if self.metric.functional:
            return load_functional(self.metric.functional).value(scores.records[self.metric.record])
        return 1 - float(item_losses(self.metric, self.before, scores).mean())

    def _bound(self, after: Scores, confidence: float) -> tuple[float, float]:
        quality = compare(self.metric, self.before, after, confidence)
        low, high = quality.low, quality.high
        return (0.0 - high, 0.0 - low) if quality.higher_is_better else (low, high)


def divide(metric: Metric, reference: Scores, variant: Scores, column: Array) -> Iterator[tuple[str, Part]]:
    """The slices of a column: what they are called, and their items.

    Args:
        metric: that is compared.
        reference: of the FP32 model.
        variant: of the same items in the same order.
        column: ``[n]`` numbers or texts.

    Raises:
        RequestError: the metric was not scored.
        MeasurementError: a score is outside [0, 1].
    """
    values, place = np.unique(column, return_inverse=True)
    names = [name_value(value) for value in values]
    order = np.argsort(place, kind="stable").astype(np.int64)
    rows = np.split(order, np.cumsum(np.bincount(place))[:-1])
    if metric.functional or metric.name == AGREEMENT.name:
        for name, own in zip(names, rows, strict=True):
            yield name, ComparedPart(metric, reference.select(own), variant.select(own))
        return
    before, losses = reference_scores(metric, reference), item_losses(metric, reference, variant)
    if not ((before >= 0) & (before <= 1) & (np.abs(losses) <= 1)).all():
        message = f"metric {metric.name!r} has scores outside [0, 1], which cannot be certified in slices"
        raise MeasurementError(message, "an interval that holds at every sample size needs bounded scores")
    sign = 1 if metric.higher_is_better else -1
    if not is_relative(metric) and _is_binary(before) and _is_binary(reference_scores(metric, variant)):
        yield from zip(names, _count_flips(place, before, losses, sign), strict=True)
        return
    for name, own in zip(names, rows, strict=True):
        yield name, LossPart(before[own], losses[own], sign)


def name_value(value: np.generic) -> str:
    """A slice in words."""
    return f"{float(value):g}" if isinstance(value, np.floating) else str(value)


def _count_flips(
    place: NDArray[np.intp], before: NDArray[np.float64], losses: NDArray[np.float64], sign: int
) -> Iterator[FlipPart]:
    counts = (np.bincount(place), *(np.bincount(place, one) for one in (before, losses > 0, losses < 0)))
    for n, right, lost, won in zip(*counts, strict=True):
        yield FlipPart(int(n), int(right), int(lost), int(won), sign)


def _is_binary(values: NDArray[np.float64]) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def find_level(low: Callable[[float], float], margin: float, error: float, count: int) -> float:
    """The smallest of some levels between ``error / count`` and ``error`` at which a bound exceeds the margin; else 1.

    Args:
        low: confidence -> lower bound.
        margin: to be exceeded.
        error: largest level.
        count: of tests that share it.
    """
    if low(1 - error) <= margin:
        return 1.0
    levels = np.geomspace(error / count, error, min(count, FINEST_LEVEL))
    first, last = 0, len(levels) - 1
    while first < last:
        middle = (first + last) // 2
        first, last = (first, middle) if low(1 - float(levels[middle])) > margin else (middle + 1, last)
    return float(levels[last])


def scale_items(n: int, unchanged: float, margin: float) -> int:
    """Items that bound an unchanged metric by the margin, from what n of them bound it by."""
    if margin <= 0:
        return NEVER_ENOUGH
    return min(NEVER_ENOUGH, max(1, math.ceil(n * unchanged / margin - 1e-9)))


@lru_cache(REMEMBERED)
def bound_unchanged(n: int, confidence: float) -> float:
    """Upper bound of the loss of n items that lose nothing, by betting."""
    return 1 - 2 * bound_mean(np.full(n, 0.5), confidence)


@lru_cache(REMEMBERED)
def bound_flips(lost: int, won: int, n: int, confidence: float) -> float:
    """The exact bound of `bound_loss`, remembered: a thousand slices have few different counts."""
    return bound_loss(lost, won, n, confidence)


@lru_cache(REMEMBERED)
def find_p_value(lost: int, won: int, n: int, loss: float, error: float) -> float:
    """Exact p-value of "the loss is at least so large", with the flip rate confined for a test at ``error``."""
    gamma = error * GAMMA_SHARE
    return compute_p_value(lost, won, n, loss, confine_rate(lost + won, n, gamma), gamma)


@lru_cache(REMEMBERED)
def count_exact(margin: float, confidence: float) -> int:
    """Fewest items that the exact test certifies without a flip."""
    if margin <= 0:
        return NEVER_ENOUGH
    return 1 if margin >= 1 else count_least_items(margin, confidence)
