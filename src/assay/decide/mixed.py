"""Which mixed plan a study tries next, when its fastest INT8 form strains the tolerance; pure.

Small errors cost a model its answers in proportion to their size, that is to the square root of the noise: the more
they move a score, the more scores pass a threshold. The constant of that proportion is learned from what the search
items said of the plans tried so far, all together, since one plan alone flips few items. With it, a share of the
tolerance becomes a budget of noise, and the knapsack fills that budget with the most time saved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from assay.core.mixing import Mix, MixedSearch
from assay.core.plan import Candidate
from assay.core.precision import Precision

PRICE_ERROR = 0.15
"""Relative difference, from plan to plan, of what a movement of the answers costs."""
FARTHEST = 2.0
"""A simulation and what is built of it are taken to differ in their losses by this ratio at most."""
NEAR = 1.05
"""INT8 forms within this ratio of the fastest one are as fast, and the one that loses least stands for them."""
BETTER = 0.75
"""A form is mixed beside another one of its runtime where it loses less than this part of what that one loses."""
WORTH = 0.99
"""A mixed plan is tried where its predicted time is below this part of the rival's."""
STRAINED = 0.5
"""Share of the tolerance from which a loss leaves too little room for its bound."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the search items said of a candidate that ran.

    Attributes:
        latency_ms: of one call.
        loss: of the metric; positive is worse.
        variance: of one item's loss; nothing where the metric's interval is not known.
        margin: tolerated loss.
        items: that this was seen on (>= 1).
        moved: how far its answers moved, mean over the items: finer than the loss, of which few items have any; None
            where the task does not tell.
    """

    candidate: Candidate
    latency_ms: float
    loss: float
    variance: float
    margin: float
    items: int
    moved: float | None = None

    @property
    def error(self) -> float:
        """Standard error of the loss."""
        return math.sqrt(self.variance / self.items)

    def bound(self, items: int, z: float) -> float:
        """Upper bound of the loss that so many other items would be expected to give.

        Args:
            items: for certifying (>= 1).
            z: quantile of the normal distribution at the one-sided confidence.
        """
        return self.loss + z * math.sqrt(self.variance / items)

    def strains(self, items: int, z: float) -> bool:
        """Whether the certificate is far from sure.

        The loss takes half of the tolerance, or its bound would pass it were the true loss one standard error above
        what was seen.
        """
        return self.loss > STRAINED * self.margin or self.bound(items, z) + self.error > self.margin


@dataclass(frozen=True, slots=True)
class Exam:
    """How much there is to certify with.

    Attributes:
        items: for certifying.
        z: quantile of the normal distribution at the one-sided confidence.
    """

    items: int
    z: float


@dataclass(frozen=True, slots=True)
class Point:
    """A plan's noise with what it cost.

    Attributes:
        noise: relative power of the error of the outputs.
    """

    noise: float
    seen: Seen


@dataclass(frozen=True, slots=True)
class Toll:
    """What it costs that answers move, for each unit by which they do.

    Attributes:
        loss: of the metric.
        variance: of one item's loss.
    """

    loss: float
    variance: float

    @classmethod
    def of(cls, seen: Sequence[Seen]) -> Toll | None:
        """Learned from all candidates; None where the task does not tell how far answers moved."""
        known = [one for one in seen if one.moved]
        if not known:
            return None
        moved = sum(one.moved or 0.0 for one in known)
        return cls(max(0.0, sum(one.loss for one in known) / moved), sum(one.variance for one in known) / moved)


def smooth_loss(loss: float, error: float, moved: float | None, toll: Toll | None) -> float:
    """What was lost and what so much movement costs, each weighed by how well it is known.

    Of few items, hardly any loses, and the plan that lost least of many was lucky. How far answers moved is known from
    every item; what that costs differs from plan to plan by some 15%.

    Args:
        loss: as seen.
        error: standard error of the loss.
        moved: how far answers moved.
        toll: of moving.
    """
    if moved is None or toll is None:
        return loss
    expected = toll.loss * moved
    trust = (PRICE_ERROR * expected) ** 2
    weight = trust / (trust + error**2) if trust + error**2 > 0 else 1.0
    return weight * loss + (1 - weight) * expected


def pick_bases(seen: Sequence[Seen], exam: Exam, done: Sequence[MixedSearch] = ()) -> tuple[Seen, ...]:
    """The INT8 forms that are worth mixing, the fastest first: one for each runtime where that strains the tolerance.

    A runtime whose INT8 form is no faster than a candidate that strains nothing has nothing to win.

    Args:
        seen: every candidate that ran.
        exam: of the certificates.
        done: searches so far: another form of the same runtime must be faster or lose much less.
    """
    safe = [one.latency_ms for one in seen if not one.strains(exam.items, exam.z)]
    rival = min(safe, default=math.inf)
    toll = Toll.of(seen)
    begun, plans = {search.base for search in done}, {plan.trial for search in done for plan in search.plans}
    whole = [one for one in seen if one.candidate.plan.scheme is not None and one.candidate.id not in plans]
    bases: list[Seen] = []
    for runtime in dict.fromkeys(one.candidate.runtime for one in seen):
        forms = [one for one in whole if one.candidate.runtime == runtime]
        fastest = min((one.latency_ms for one in forms), default=math.inf)
        losses = {one.candidate.id: smooth_loss(one.loss, one.error, one.moved, toll) for one in forms}
        near = [one for one in forms if one.latency_ms <= NEAR * fastest]
        base = min(near, key=lambda one: (losses[one.candidate.id], one.latency_ms, one.candidate.id), default=None)
        if base is None or not base.strains(exam.items, exam.z) or base.latency_ms >= WORTH * rival:
            continue
        earlier = [one for one in forms if one.candidate.id in begun]
        if all(
            one.latency_ms > NEAR * base.latency_ms or losses[base.candidate.id] < BETTER * losses[one.candidate.id]
            for one in earlier
        ):
            bases.append(base)
    return tuple(sorted(bases, key=lambda one: (one.latency_ms, one.candidate.id)))


@dataclass(frozen=True, slots=True)
class Draft:
    """A mixed plan that was simulated on search items, and not built.

    Attributes:
        milliseconds: of one call, predicted.
        noise: relative power of the error of the outputs.
        loss: of the metric; positive is worse.
        variance: of one item's loss.
        error: standard error of the loss that what is built of it would have.
    """

    mix: Mix
    candidate: Candidate
    milliseconds: float
    noise: float
    loss: float
    variance: float
    error: float = 0.0

    def bound(self, exam: Exam) -> float:
        """Upper bound of the loss that the items of the certificates would be expected to give."""
        return self.loss + exam.z * math.sqrt(self.variance / exam.items)


def find_factor(pairs: Sequence[tuple[Seen, Draft]], exam: Exam) -> float:
    """How much more the bounds of built plans take than those of their drafts.

    Args:
        pairs: plans with their drafts.
        exam: of the certificates.
    """
    drafted = sum(max(0.0, draft.bound(exam)) for _, draft in pairs)
    built = sum(max(0.0, seen.bound(exam.items, exam.z)) for seen, _ in pairs)
    return min(FARTHEST, max(1 / FARTHEST, built / drafted)) if drafted > 0 and built > 0 else 1.0


def find_budget(points: Sequence[Point], seen: Sequence[Seen], exam: Exam, tolerated: float) -> float:
    """The most noise at which the expected bound of the loss keeps to what is tolerated.

    Where the task tells how far answers moved, that stands between the noise and the loss: how far a noise moves them
    is learned from the plans whose noise is known, what a movement costs from all candidates.

    Args:
        points: plans that were tried and whose noise is known.
        seen: every candidate that ran.
        exam: of the certificates.
        tolerated: loss that the bound may reach.

    Returns:
        Infinite where nothing that was tried lost anything.
    """
    sizes = sum(math.sqrt(point.noise) for point in points)
    if sizes <= 0:
        return math.inf
    known = [one for one in seen if one.moved]
    moved = sum(point.seen.moved or 0.0 for point in points)
    if moved > 0 and known:
        reach = moved / sizes
        sources: Sequence[Seen] = known
        whole = sum(one.moved or 0.0 for one in known) / reach
    else:
        sources, whole = [point.seen for point in points], sizes
    slope = max(0.0, sum(one.loss for one in sources) / whole)
    spread = exam.z * math.sqrt(max(0.0, sum(one.variance for one in sources)) / whole / exam.items)
    # slope * t + spread * sqrt(t) = tolerated, for t the square root of the noise
    if slope > 0:
        root = (math.sqrt(spread**2 + 4 * slope * tolerated) - spread) / (2 * slope)
    else:
        root = tolerated / spread if spread > 0 else math.inf
    return root**4


def count_kept(mix: Sequence[Precision]) -> int:
    """Groups that a mix leaves in floats."""
    return sum(precision is not Precision.INT8 for precision in mix)
