"""Which mixed plan a study tries next, when its fastest INT8 form strains the tolerance; pure.

Small errors cost a model its answers in proportion to their size, that is to the square root of the noise: the more
they move a score, the more scores pass a threshold. The constant of that proportion is learned from what the search
items said of the plans tried so far, all together, since one plan alone flips few items. With it, a share of the
tolerance becomes a budget of noise, and the knapsack fills that budget with the most time saved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from assay.core.plan import Candidate
from assay.core.precision import Precision

SHARES = (0.75, 1.0, 0.5)
"""Parts of the tolerance that the bounds of a search's first plans are aimed at: the first is the likeliest to be
certified, the next is faster, the third safer. Further plans close in on the noise between what holds and what does
not."""
CLOSED = 1.05
"""Ratio of noises, between a plan that holds and one that does not, in which no other plan is looked for."""
FARTHEST = 64.0
"""Part of the smallest noise that did not hold below which nothing is looked for."""
NEAR = 1.05
"""INT8 forms within this ratio of the fastest one are as fast, and the one that loses least stands for them."""
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
        error = math.sqrt(self.variance / self.items)
        return self.loss > STRAINED * self.margin or self.bound(items, z) + error > self.margin


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


def pick_bases(seen: Sequence[Seen], exam: Exam) -> tuple[Seen, ...]:
    """The INT8 forms that are worth mixing, the fastest first: one for each runtime where that strains the tolerance.

    A runtime whose INT8 form is no faster than a candidate that strains nothing has nothing to win.

    Args:
        seen: every candidate that ran.
        exam: of the certificates.
    """
    safe = [one.latency_ms for one in seen if not one.strains(exam.items, exam.z)]
    rival = min(safe, default=math.inf)
    bases: list[Seen] = []
    for runtime in dict.fromkeys(one.candidate.runtime for one in seen):
        forms = [one for one in seen if one.candidate.runtime == runtime and one.candidate.plan.scheme is not None]
        fastest = min((one.latency_ms for one in forms), default=math.inf)
        near = [one for one in forms if one.latency_ms <= NEAR * fastest]
        told = all(one.moved is not None for one in near)
        base = min(
            near, key=lambda one: (one.moved if told else one.loss, one.latency_ms, one.candidate.id), default=None
        )
        if base is not None and base.strains(exam.items, exam.z) and base.latency_ms < WORTH * rival:
            bases.append(base)
    return tuple(sorted(bases, key=lambda one: (one.latency_ms, one.candidate.id)))


@dataclass(frozen=True, slots=True)
class Rung:
    """A budget of noise for which a plan was looked for.

    Attributes:
        noise: of the plan that was tried; the budget itself where that led to a plan that was known.
        holds: the plan's expected bound keeps to the tolerance.
    """

    noise: float
    holds: bool


def next_budget(rungs: Sequence[Rung], aim: Callable[[float], float], ceiling: float) -> float | None:
    """The noise that the next plan may have.

    Args:
        rungs: so far.
        aim: share of the tolerance -> the noise at which the bound is expected to take it, by all that is known.
        ceiling: noise of the form in which nothing is kept in floats, which strains the tolerance.

    Returns:
        None where no further plan is worth looking for.
    """
    if len(rungs) < len(SHARES):
        return aim(SHARES[len(rungs)])
    least = min((rung.noise for rung in rungs if not rung.holds), default=ceiling)
    most = max((rung.noise for rung in rungs if rung.holds and rung.noise < least), default=None)
    if most is None:
        lowest = min(rung.noise for rung in rungs)
        return lowest / 2 if lowest > ceiling / FARTHEST**2 and lowest * FARTHEST > least else None
    return math.sqrt(most * least) if least > CLOSED * most else None


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
