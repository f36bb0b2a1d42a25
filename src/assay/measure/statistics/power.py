"""The chance that the exact paired test certifies a variant, and how many items give a chance that is wanted.

Certified is a variant of which the exact test (`trinomial`) rejects a loss of the margin or more. Given D flips, which
are Bin(n, r) for a flip rate r, it does so for at most k(D) flips the wrong way, and those are Bin(D, lost / r). So the
power is a sum of binomial probabilities over D, without any simulation. k(D) follows from the value of the test's
statistic at which it begins to certify; that value hardly depends on D, and is found at all D where they are few, else
at some of them and interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy import special

from assay.core.errors import MeasurementError
from assay.measure.statistics.trinomial import GAMMA_SHARE, compute_p_value, confine_rate

MOST_ITEMS = 10_000_000
"""Beyond this, more items are no answer."""
REACH_SD, REACH_FLIPS = 4.5, 4.0
"""Flips further from their mean than this have less than 1e-4 of the probability."""
MOST_SOLVED = 40
"""Flip counts up to which every one is solved; above it, ``KNOTS`` of them."""
KNOTS = 16
STEP_SD = 0.04
SETTLED_SD = 0.002
"""The critical value is found to this share of a standard deviation where it is interpolated."""
MANY_FLIPS = 20
"""From so many expected flips on, the sawtooth takes at most 1.5 points of the power."""
TEETH, PER_TOOTH = 2, 12
"""A sawtooth is followed over so many teeth beyond a number of items, at so many places in each."""
BEYOND = 1e-7
"""Beyond the margin: at a margin of whole items the test has ties that no loss beyond it has."""
LEAST_TOOTH = 1e-3
"""Margins below this have teeth so long that flips are many before one is passed."""
LEAST_GAP = 0.05
"""A loss nearer to the margin than this share of it is about the margin."""

PowerOf = Callable[[int], float]


def count_least_items(margin: float, confidence: float, *, one_way: bool = False) -> int:
    """Fewest items that bound a loss by the margin when not one of them flips.

    No flip in n items still allows a loss of ``1 - (1 - confidence)^(1/n)`` (the rule of three at 95%; Hanley and
    Lippman-Hand, JAMA 249, 1983), and a little more by the exact paired test, whose flip rate is unknown.

    Args:
        margin: tolerated loss, as a fraction.
        confidence: one-sided.
        one_way: the metric is agreement, whose flips all are losses.

    Raises:
        MeasurementError: the margin is not between 0 and 1, or the confidence is none.
    """
    _check(0.0, 0.0, margin, confidence)
    n = math.ceil(math.log1p(-confidence) / math.log1p(-margin))
    while not one_way and not _certifies(0, 0, n, margin, confidence):
        n += 1
    return n


def compute_power(lost_rate: float, won_rate: float, n: int, margin: float, confidence: float) -> float:
    """Chance that n items certify a variant with these flip rates; exact, for one look after all of them.

    Args:
        lost_rate: share of items that flip from right to wrong.
        won_rate: share of items that flip from wrong to right.
        n: items (>= 1).
        margin: tolerated loss, as a fraction; below 0 for a gain that is to be proven.
        confidence: one-sided.

    Raises:
        MeasurementError: a rate is no rate, the margin is not between -1 and 1, or the confidence is none.
    """
    _check(lost_rate, won_rate, margin, confidence, least=-1)
    rate = lost_rate + won_rate
    reach = REACH_SD * math.sqrt(n * rate * (1 - rate)) + REACH_FLIPS
    first, last = max(0, math.floor(n * rate - reach)), min(n, math.ceil(n * rate + reach))
    if rate == 0:
        last = 0
    flips = np.arange(first, last + 1)
    most_lost = _find_most_lost(flips, n, margin, confidence)
    log_choose = special.gammaln(n + 1) - special.gammaln(flips + 1) - special.gammaln(n - flips + 1)
    mass = np.exp(log_choose + special.xlogy(flips, rate) + special.xlog1py(n - flips, -rate))
    share = lost_rate / rate if rate > 0 else 0.0
    below = special.bdtr(np.clip(most_lost, 0, flips).astype(np.float64), flips, share)
    return float(np.clip(np.sum(mass * np.where(most_lost < 0, 0.0, below)), 0.0, 1.0))


def compute_agreement_power(rate: float, n: int, margin: float, confidence: float) -> float:
    """Chance that n items certify agreement, whose flips all are losses: an exact binomial test.

    Args:
        rate: share of items on which the two disagree.
        n: items (>= 1).
        margin: tolerated share.
        confidence: one-sided.

    Raises:
        MeasurementError: a value is out of range.
    """
    _check(rate, 0.0, margin, confidence)
    counts = np.arange(math.ceil(n * margin) + 1)
    passed = np.flatnonzero(special.bdtr(counts.astype(np.float64), n, margin) <= 1 - confidence)
    return float(special.bdtr(float(passed[-1]), n, rate)) if passed.size else 0.0


def plan_items(
    lost_rate: float, won_rate: float, margin: float, confidence: float, power: float = 0.8, *, one_way: bool = False
) -> int | None:
    """Fewest items from which on a variant with these flip rates is certified with the power wanted.

    The power of an exact test is a sawtooth in n: with few flips, one item more can take some of it away. So the number
    is the one after the last n, over the next teeth, at which the power falls short; it may exceed what was wanted.
    With many flips (``MANY_FLIPS``) it is the first at which the power is reached.

    Args:
        lost_rate: share of items that flip from right to wrong.
        won_rate: share of items that flip from wrong to right.
        margin: tolerated loss, as a fraction.
        confidence: one-sided.
        power: chance of being certified.
        one_way: the metric is agreement, whose flips all are losses.

    Returns:
        None where the loss is not below the margin, or no sensible number would do.

    Raises:
        MeasurementError: a value is out of range.
    """
    _check(lost_rate, won_rate, margin, confidence, least=-1)
    if not 0 < power < 1:
        raise MeasurementError(f"power {power} is not between 0 and 1", "give a value such as 0.8")
    gap = margin - (lost_rate - won_rate)
    deviation = math.sqrt(max(0.0, lost_rate + won_rate - (lost_rate - won_rate) ** 2))
    guess = approximate_items(deviation, gap, confidence, power)
    if guess is None:
        return None

    @cache
    def power_of(n: int) -> float:
        if one_way:
            return compute_agreement_power(lost_rate + won_rate, n, margin, confidence)
        return compute_power(lost_rate, won_rate, n, margin, confidence)

    least = count_least_items(margin, confidence, one_way=one_way) if margin > 0 else 1
    found = _find_crossing(power_of, least, max(least, guess), power)
    if found is None or found * (lost_rate + won_rate) >= MANY_FLIPS:
        return found
    return _clear_teeth(power_of, found, power, math.ceil(1 / max(abs(margin), LEAST_TOOTH)))


def items_to_resolve(
    lost_rate: float, won_rate: float, margin: float, confidence: float, power: float = 0.8
) -> int | None:
    """How many items would let the exact test decide, were these the true flip rates.

    A loss below the margin is decided when its upper bound is; a loss above it, when its lower bound is.

    Args:
        lost_rate: share of items that flip from right to wrong.
        won_rate: share of items that flip from wrong to right.
        margin: tolerated loss, as a fraction.
        confidence: one-sided.
        power: chance that the test decides.

    Returns:
        None where the loss is about the margin, so that no sensible number decides.

    Raises:
        MeasurementError: a rate is no rate, or a confidence or power not between 0 and 1.
    """
    _check(lost_rate, won_rate, margin, confidence, least=-1)
    gap = margin - (lost_rate - won_rate)
    if abs(gap) <= LEAST_GAP * abs(margin) or gap == 0:
        return None
    if gap < 0:
        # Deciding that a loss exceeds the margin is deciding that the gain falls short of it.
        lost_rate, won_rate, margin = won_rate, lost_rate, -margin
    return plan_items(lost_rate, won_rate, margin, confidence, power)


def approximate_items(deviation: float, gap: float, confidence: float, power: float) -> int | None:
    """Items by the normal approximation: ``((z_confidence + z_power) deviation / gap)^2``, at least 1.

    (Connor, Sample size for testing differences in proportions for the paired-sample design, Biometrics 43, 1987.)
    None where the gap is not positive, or no sensible number would do.
    """
    if gap <= 0:
        return None
    normal = NormalDist()
    quantiles = max(0.0, normal.inv_cdf(confidence) + normal.inv_cdf(power))
    needed = (quantiles * deviation / gap) ** 2
    return max(1, math.ceil(needed)) if needed <= MOST_ITEMS else None


def find_smallest_margin(n: int, flip_rate: float, confidence: float, power: float = 0.8) -> float | None:
    """Smallest margin that n items certify with the power wanted, of a variant that flips both ways alike.

    Args:
        n: items (>= 1).
        flip_rate: share of items that flip, both ways together.
        confidence: one-sided.
        power: chance of being certified.

    Returns:
        The margin to a part in a thousand, rounded up; None where n items certify no margin below 1.

    Raises:
        MeasurementError: a value is out of range.
    """

    def suffices(margin: float) -> bool:
        return compute_power(flip_rate / 2, flip_rate / 2, n, margin, confidence) >= power

    low, high = 0.0, min(0.999, 3 / n + 2 * math.sqrt(flip_rate / n))
    while not suffices(high):
        if high >= 0.999:  # noqa: PLR2004 - the last margin tried
            return None
        low, high = high, min(0.999, high * 1.5)
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def _check(lost_rate: float, won_rate: float, margin: float, confidence: float, least: int = 0) -> None:
    """Refuse what is no rate, no margin between ``least`` and 1, or no confidence."""
    if not (lost_rate >= 0 and won_rate >= 0 and lost_rate + won_rate <= 1):
        raise MeasurementError(f"flip rates {lost_rate} and {won_rate} are out of range", "give shares of the items")
    if not least < margin < 1:
        raise MeasurementError(f"margin {margin} is not between {least} and 1", "give a share such as 0.005")
    if not 0 < confidence < 1:
        raise MeasurementError(f"confidence {confidence} is not between 0 and 1", "give a value such as 0.95")


def _certifies(lost: float, flips: int, n: int, margin: float, confidence: float) -> bool:
    """Whether the exact test rejects every loss beyond the margin."""
    alpha = 1 - confidence
    gamma = alpha * GAMMA_SHARE
    return compute_p_value(lost, flips - lost, n, margin + BEYOND, confine_rate(flips, n, gamma), gamma) <= alpha


def _find_most_lost(flips: NDArray[np.int64], n: int, margin: float, confidence: float) -> NDArray[np.int64]:
    """Most lost flips that are certified, for each number of flips; -1 where not even none is."""
    if len(flips) <= MOST_SOLVED:
        solved, settled = flips, 0.5
    else:
        places = np.linspace(0, len(flips) - 1, KNOTS).round().astype(np.int64)
        solved, settled = flips[places], 0.0
    critical = -NormalDist().inv_cdf(confidence)
    values = np.empty(len(solved))
    for index, count in enumerate(solved.tolist()):
        spread = float(_spread(np.array(count), n, margin))
        tolerance = settled or SETTLED_SD * spread
        lost = _find_edge(int(count), n, margin, confidence, (count + n * margin + critical * spread) / 2, tolerance)
        values[index] = lost
        if 0 <= lost < count:
            critical = (2 * lost - count - n * margin) / spread
    if settled:
        return np.minimum(np.floor(values), flips).astype(np.int64)
    scale = (2 * values - solved - n * margin) / _spread(solved, n, margin)
    between = np.interp(flips, solved, scale)
    edge = (flips + n * margin + between * _spread(flips, n, margin)) / 2
    return np.clip(np.floor(edge), -1, flips).astype(np.int64)


def _spread(flips: NDArray[np.int64], n: int, margin: float) -> NDArray[np.float64]:
    """Standard deviation of ``lost - won`` at the margin, as the test has it."""
    size = abs(margin)
    variance = np.maximum(flips, n * size) + flips / 2 - n * size**2
    spread: NDArray[np.float64] = np.sqrt(np.maximum(variance, 1e-12 + n * size * (1 - size)))
    return spread


def _find_edge(flips: int, n: int, margin: float, confidence: float, guess: float, tolerance: float) -> float:
    """The number of lost flips, whole or not, up to which the test certifies; below 0 where it never does."""
    whole = tolerance >= 0.5  # noqa: PLR2004 - whole numbers are wanted
    step = 1.0 if whole else max(0.5, STEP_SD * float(_spread(np.array(flips), n, margin)))
    # Where every loss is certified the edge lies beyond the flips; one that is interpolated must not be cut there.
    most = flips if whole else flips + 4 * float(_spread(np.array(flips), n, margin))
    low = min(max(0.0, math.floor(guess) if whole else guess), most)
    while low > 0 and not _certifies(low, flips, n, margin, confidence):
        low = max(0.0, low - step)
    if low <= 0 and not _certifies(0, flips, n, margin, confidence):
        return -1.0
    high = low + step
    while high <= most and _certifies(high, flips, n, margin, confidence):
        low, high = high, high + step
    while high - low > max(tolerance, 1.0 if whole else 0.0):
        middle = (low + high) / 2
        low, high = (middle, high) if _certifies(middle, flips, n, margin, confidence) else (low, middle)
    return low


def _find_crossing(power_of: PowerOf, least: int, guess: int, wanted: float) -> int | None:
    """A number of items at which the power passes what is wanted, as if it rose with them."""
    normal = NormalDist()

    def excess(n: float) -> float:
        reached = min(max(power_of(math.floor(n)), 1e-9), 1 - 1e-9)
        return normal.inv_cdf(reached) - normal.inv_cdf(wanted)

    if excess(least) >= 0:
        return least
    low, high = least, guess
    while high <= low or excess(high) < 0:
        low, high = max(low, high), math.ceil(max(low, high) * 1.05) + 1
        if high > MOST_ITEMS:
            return None
    below = math.floor(high * 0.9)
    if below > low and excess(below) < 0:
        low = below
    while high - low > 1:
        # Nearly straight in n between two close numbers, so a chord finds the place in a few steps; kept off the ends.
        chord = low - excess(low) * (high - low) / (excess(high) - excess(low))
        margin = max(1, (high - low) // 16)
        middle = min(max(round(chord), low + margin), high - margin)
        low, high = (low, middle) if excess(middle) >= 0 else (middle, high)
    return high


def _clear_teeth(power_of: PowerOf, start: int, wanted: float, tooth: int) -> int | None:
    """The number of items after the last one, over the next teeth, whose power falls short."""
    step = max(1, tooth // PER_TOOTH)
    while start <= MOST_ITEMS:
        short = [n for n in range(start, start + TEETH * tooth + 1, step) if power_of(n) < wanted]
        if not short:
            return start
        low, high = short[-1], short[-1] + step
        while power_of(high) < wanted:
            low, high = high, high + step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if power_of(middle) >= wanted else (middle, high)
        start = high
    return None
