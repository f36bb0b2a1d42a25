"""What a plan that is not built yet is expected to save beside those that are there; pure.

Expected improvement under a constraint that is known by chance only (Gardner et al., Bayesian optimization with
inequality constraints, ICML 2014): a plan that hardly holds may be worth a trial where it is much faster, and a safe
one where nothing else is likely to hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from assay.decide.mixed import PRICE_ERROR, Exam, Toll

NORMAL = NormalDist()
SHARED = 0.5
"""Weight of the case that all plans have their luck in common."""


@dataclass(frozen=True, slots=True)
class Prospect:
    """A plan that may hold.

    Attributes:
        milliseconds: of one call.
        chance: that its certificate holds, 0 to 1.
    """

    milliseconds: float
    chance: float


def find_doubt(error: float, moved: float | None, toll: Toll | None) -> float:
    """Standard error of what ``smooth_loss`` gives.

    Args:
        error: standard error of the loss that was seen.
        moved: how far answers moved.
        toll: of moving; both None where the task does not tell.
    """
    if moved is None or toll is None:
        return error
    priced = PRICE_ERROR * toll.loss * moved
    both = math.hypot(error, priced)
    return error * priced / both if both > 0 else 0.0


def estimate_chance(loss: float, variance: float, error: float, margin: float, exam: Exam) -> float:
    """Chance that a certificate holds: its bound is expected at some height, and falls around it.

    Args:
        loss: expected.
        variance: of one item's loss.
        error: standard error of the loss.
        margin: tolerated loss.
        exam: of the certificates.
    """
    if not math.isfinite(loss):
        return 0.0
    bound = loss + exam.z * math.sqrt(variance / exam.items)
    spread = math.hypot(error, math.sqrt(variance / exam.items))
    if spread <= 0:
        return 1.0 if bound <= margin else 0.0
    return NORMAL.cdf((margin - bound) / spread)


def expect_saving(one: Prospect, others: Sequence[Prospect]) -> float:
    """Milliseconds that a plan is expected to save: by how much it is faster than the fastest other one that holds.

    Certificates answer the same items, so plans hold and fail together to a part. The saving is the mean of what it
    would be were their luck all shared, and were it not shared at all.

    Args:
        one: not among the others.
        others: what there is to choose from; where none of them holds, nothing is saved.
    """
    ordered = sorted(others, key=lambda other: other.milliseconds)
    savings = [max(0.0, other.milliseconds - one.milliseconds) for other in ordered]
    alone, none_so_far = 0.0, 1.0
    shared, reached = 0.0, 0.0
    for other, saving in zip(ordered, savings, strict=True):
        alone += one.chance * none_so_far * other.chance * saving
        none_so_far *= 1 - other.chance
        # With luck in common, whatever is likelier to hold does so whenever this one does.
        both = min(one.chance, other.chance)
        shared += max(0.0, both - reached) * saving
        reached = max(reached, both)
    return SHARED * shared + (1 - SHARED) * alone
