"""How many items a certificate takes, and what the items at hand can tell: sample plans in a study's terms."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

from assay.core.certificate import Design
from assay.core.errors import MeasurementError, RequestError
from assay.core.sample_plan import SamplePlan
from assay.core.trial import Quality
from assay.decide.resolve import is_right_or_wrong
from assay.decide.resolve import plan_items as approximate_by_interval
from assay.measure.statistics.betting_power import (
    compute_betting_power,
    count_least_betting_items,
    plan_items_by_deviation,
)
from assay.measure.statistics.power import (
    MOST_ITEMS,
    compute_agreement_power,
    compute_power,
    count_least_items,
    items_to_resolve,
    plan_items,
)
from assay.measure.tasks.agreement import AGREEMENT
from assay.studies.split import MOST_SEARCH, SEARCH_SHARE

POWER = 0.8
"""Chance of being certified that is planned for, unless another is asked for."""
PLENTY = 2
"""Times as many items as could certify without a flip from which on a study peeks."""


@dataclass(frozen=True, slots=True)
class Supposed:
    """What is supposed of a variant.

    Attributes:
        metric: name of the metric.
        flip_rate: share of items that change sides, both ways together; for scores between 0 and 1 the mean square of
            an item's difference, which is the same thing where scores are 0 or 1.
        loss: true loss, in the metric's own unit.
        bounded: scores are not 0 or 1 only, but anything between.
    """

    metric: str
    flip_rate: float
    loss: float = 0.0
    bounded: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            RequestError: a rate out of range, or a loss that so few flips cannot make.
        """
        if not 0 <= self.flip_rate <= 1:
            raise RequestError(f"a flip rate of {self.flip_rate:g} is out of range", "give a share such as 3%")
        least = self.loss**2 if self.bounded else abs(self.loss)
        if not least <= self.flip_rate + 1e-12:
            message = f"a loss of {self.loss:g} cannot come from a flip rate of {self.flip_rate:g}"
            raise RequestError(message, "give a flip rate of at least the loss")

    @property
    def one_way(self) -> bool:
        """Agreement: its flips all are losses."""
        return self.metric == AGREEMENT.name

    @property
    def rates(self) -> tuple[float, float]:
        """Shares of items that are lost and won."""
        if self.one_way:
            return self.flip_rate, 0.0
        return max(0.0, (self.flip_rate + self.loss) / 2), max(0.0, (self.flip_rate - self.loss) / 2)

    @property
    def deviation(self) -> float:
        """Standard deviation of one item's difference."""
        return math.sqrt(max(0.0, self.flip_rate - self.loss**2))

    @lru_cache(maxsize=32)  # noqa: B019 - of frozen values, and few
    def items(self, margin: float, confidence: float, power: float) -> int | None:
        """Items for one test after all of them; None where no sensible number would do."""
        if self.bounded:
            return plan_items_by_deviation(self.deviation, self.loss, margin, confidence, power)
        return plan_items(*self.rates, margin, confidence, power, one_way=self.one_way)

    def least(self, margin: float, confidence: float) -> int:
        """Items without which one test certifies nothing, even if no item changes."""
        if self.bounded:
            return count_least_betting_items(margin, confidence)
        return count_least_items(margin, confidence, one_way=self.one_way)

    def power(self, n: int, margin: float, confidence: float) -> float:
        """Chance of being certified by one test after n items."""
        if self.bounded:
            return compute_betting_power(self.deviation, self.loss, n, margin, confidence)
        if self.one_way:
            return compute_agreement_power(self.flip_rate, n, margin, confidence)
        return compute_power(*self.rates, n, margin, confidence)


def halve(confidence: float) -> float:
    """The confidence of a test that may spend half of the error rate."""
    return 1 - (1 - confidence) / 2


def least_items(margin: float, confidence: float, design: Design) -> int:
    """Items without which no variant is certified, even if no item flips; ``MOST_ITEMS`` for no margin at all.

    A sequential test has half of the error rate for its last look, so it takes a little more.
    """
    if margin <= 0:
        return MOST_ITEMS
    if margin >= 1:
        return 1
    return count_least_items(margin, confidence if design is Design.FIXED else halve(confidence))


def choose_design(margin: float, confidence: float, items: int) -> Design:
    """Whether so many certification items are peeked at; with few of them all are needed anyway."""
    plenty = PLENTY * least_items(margin, confidence, Design.SEQUENTIAL)
    return Design.SEQUENTIAL if items >= plenty else Design.FIXED


def plan_certificate(
    supposed: Supposed, margin: float, confidence: float, power: float = POWER, available: int | None = None
) -> SamplePlan:
    """Items for the certificate of one variant by one exact test of all of them.

    Args:
        supposed: flips and loss of the variant.
        margin: tolerated loss in the metric's own unit.
        confidence: one-sided.
        power: chance of being certified that is wanted.
        available: items at hand, where they are known.

    Raises:
        MeasurementError: a value is out of range.
    """
    return _make_plan(supposed, margin, confidence, power, available, Design.FIXED)


def plan_study(
    total_items: int | None,
    supposed: Supposed,
    margin: float,
    confidence: float,
    power: float = POWER,
    *,
    several: bool = True,
) -> SamplePlan:
    """Certification items of a study, which peeks where it has plenty of items.

    The power promised is that of the exact test at the end, at half of the error rate; what earlier looks certify comes
    on top. ``count_study_items`` turns the certification items into evaluation items.

    Args:
        total_items: evaluation items at hand, where they are known.
        supposed: flips and loss of a variant.
        margin: tolerated loss in the metric's own unit.
        confidence: one-sided.
        power: chance of being certified that is wanted.
        several: candidates are chosen among, which takes search items.

    Raises:
        MeasurementError: a value is out of range.
    """
    available = None if total_items is None else total_items - count_search_items(total_items, several=several)
    once = _make_plan(supposed, margin, confidence, power, available, Design.FIXED)
    if margin <= 0 or margin >= 1:
        return once
    wanted = once.items if available is None else available
    if wanted is not None and choose_design(margin, confidence, wanted) is Design.FIXED:
        return once
    return _make_plan(supposed, margin, confidence, power, available, Design.SEQUENTIAL)


def count_search_items(total_items: int, *, several: bool = True) -> int:
    """How many evaluation items a study searches on; none where there is nothing to choose."""
    return max(1, min(MOST_SEARCH, round(total_items * SEARCH_SHARE))) if several else 0


def count_study_items(certification_items: int, *, several: bool = True) -> int:
    """Fewest evaluation items that leave so many for the certification."""
    total = certification_items
    while total - count_search_items(total, several=several) < certification_items:
        short = certification_items - total + count_search_items(total, several=several)
        total += max(1, short)
    return total


def plan_quality(quality: Quality, margin: float, confidence: float, power: float = POWER) -> int | None:
    """Items after which the last test of a study would probably decide, were the flips what they were here.

    For right/wrong metrics by the exact test, with half a flip added each way, since none seen is not none at all; a
    gain counts as none. For others by the width of the interval.

    Args:
        quality: as measured on the items at hand.
        margin: tolerated loss in the metric's own unit.
        confidence: one-sided.
        power: chance that so many items decide.

    Returns:
        More items than were measured, or None where no sensible number would decide.
    """
    if quality.asymptotic or quality.n < 1 or not is_right_or_wrong(quality) or not 0 < margin < 1:
        return approximate_by_interval(quality, margin, confidence, power)
    lost, won = (quality.flips_lost + 0.5) / (quality.n + 1), (quality.flips_won + 0.5) / (quality.n + 1)
    if won > lost:
        lost = won = (lost + won) / 2
    needed = items_to_resolve(lost, won, margin, halve(confidence), power)
    return None if needed is None else max(needed, quality.n + 1)


def refuse_unresolvable(plan: SamplePlan, *, accepted: bool) -> None:
    """Refuse a tolerance that the certification items at hand cannot resolve, whatever they show.

    Raises:
        MeasurementError: they are fewer than could certify without a single flip; names the number that would do.
    """
    if accepted or plan.available is None or plan.available >= plan.least_items:
        return
    if plan.margin <= 0:
        message = f"no number of items can certify that {plan.metric} loses nothing at all"
        raise MeasurementError(message, "tolerate a loss, such as 0.5pp")
    enough = count_study_items(plan.least_items)
    message = (
        f"{plan.available:,} certification items cannot resolve a loss of {100 * plan.margin:g} pp in {plan.metric} at "
        f"{100 * plan.confidence:g}% confidence: even if none of them flips, {plan.least_items:,} are needed"
    )
    if plan.items is not None and plan.flip_rate > 0:
        likely = f"; {count_study_items(plan.items):,} where {100 * plan.flip_rate:g}% flip"
    else:
        likely = ""
    hint = (
        f"give {enough:,} evaluation items or more{likely}; or a larger tolerance; or accept it (--accept-unresolvable)"
    )
    raise MeasurementError(message, hint)


def _make_plan(
    supposed: Supposed, margin: float, confidence: float, power: float, available: int | None, design: Design
) -> SamplePlan:
    """The plan of one design: of a sequential one, that of its last test."""
    level = confidence if design is Design.FIXED else halve(confidence)
    chance: Callable[[int], float] = partial(supposed.power, margin=margin, confidence=level)
    if margin <= 0:
        items, reached = None, power
        chance = _never
    elif margin >= 1:
        items, reached = 1, 1.0
        chance = _always
    else:
        items = supposed.items(margin, level, power)
        reached = power if items is None else chance(items)
    return SamplePlan(
        metric=supposed.metric,
        margin=margin,
        confidence=confidence,
        power=reached,
        flip_rate=supposed.flip_rate,
        loss=supposed.loss,
        items=items,
        least_items=supposed.least(margin, level) if 0 < margin < 1 else least_items(margin, confidence, design),
        available=available,
        power_available=None if available is None else chance(available) if available > 0 else 0.0,
        design=design,
    )


def _never(_items: int) -> float:
    return 0.0


def _always(_items: int) -> float:
    return 1.0
