"""Exact bound on a paired difference of proportions.

Of n items, ``lost`` went from right to wrong and ``won`` from wrong to right: a trinomial with probabilities
``p_lost``, ``p_won`` and the rest. Asked is an upper bound of the loss ``p_lost - p_won`` that holds at its confidence
for every n, also where no item flipped at all.

The bound inverts an unconditional exact test. For a supposed loss d the observation's p-value is the probability of
what speaks at least as clearly for a smaller loss, at its largest over the unknown flip rate
``r = p_lost + p_won``. The rate is confined to its Clopper-Pearson interval at confidence ``1 - gamma``, and gamma is
added to the p-value (Berger and Boos, P values maximized over a confidence set for the nuisance parameter, JASA 89,
1994). "More clearly" is by the studentised difference, whose probabilities hardly depend on r, so that little is lost
by the maximum (after Suissa and Shuster, The 2 x 2 matched-pairs trial, Biometrics 47, 1991, and Tango, Equivalence
test and confidence interval for the difference in proportions for the paired-sample design, Stat. Med. 17, 1998)::

    T = (lost - won - n d) / sqrt(n (v - d^2)),  v = max(f, |d|) + f / 2,  f = (lost + won) / n

The ``f / 2`` makes a pair of flips that cancel speak less clearly than no flip at all; so n items without a flip bound
the loss by 3.0 / n at 95%, as they bound a plain proportion.

Given the number of flips D, which is Bin(n, r), lost is Bin(D, (r + d) / (2 r)), and ``T <= t`` is ``lost <= k(D)``:
one binomial distribution function per D, summed over the D that matter; what is left out is added to the p-value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy import special

GAMMA_SHARE = 0.02
"""Share of the allowed error that goes into confining the flip rate."""
TAIL_SD, TAIL_FLIPS = 6.5, 14.0
TAIL_MASS = 2e-9
"""More than a binomial holds beyond ``TAIL_SD`` standard deviations and ``TAIL_FLIPS``, by Bernstein's inequality."""
WORK = 4_000
"""Terms per p-value, divided between the flip counts summed and the flip rates tried."""
FEWEST_RATES, MOST_RATES = 5, 41
"""Few rates do where flips are many: there the p-value hardly depends on the rate."""
STEP_SE = 0.25
REACH_STEPS = 1
HALVINGS = 7
"""The bound is found to 1/128 of a quarter of a standard error, and rounded outwards."""
MOST_LISTED = 1_000_000
"""Logarithms of factorials are listed up to this one."""
SCAN_SE = 0.02
SCAN_ITEMS, FEWEST_SCANS, MOST_SCANS = 20_000, 1, 16
"""Beyond the bound found, losses are tried at this spacing, the fewer the more items there are."""


def bound_loss(lost: int, won: int, n: int, confidence: float) -> float:
    """Upper bound of ``p_lost - p_won`` at one-sided ``confidence``; within [-1, 1].

    Args:
        lost: items that flipped one way.
        won: items that flipped the other way.
        n: items (>= 1).
        confidence: one-sided, between 0 and 1.
    """
    bound = _invert(lost, won, n, confidence)
    if lost + won == n - 1:
        # One more item won must not look worse: only where it makes every item flip could it.
        bound = max(bound, _invert(lost, won + 1, n, confidence))
    return bound


def _invert(lost: int, won: int, n: int, confidence: float) -> float:
    """The largest loss that the test does not reject."""
    alpha = 1 - confidence
    gamma = alpha * GAMMA_SHARE
    rates = confine_rate(lost + won, n, gamma)

    def rejects(loss: float) -> bool:
        return compute_p_value(lost, won, n, loss, rates, gamma) <= alpha

    observed = (lost - won) / n
    # A standard error that does not vanish without flips: as if one flip had gone each way.
    error = math.sqrt((lost + won + 2) / n - observed**2) / math.sqrt(n)
    step = STEP_SE * error
    high = min(1.0, observed + NormalDist().inv_cdf(max(confidence, 0.5)) * error + REACH_STEPS * step)
    while high < 1 and not rejects(high):
        high = min(1.0, high + REACH_STEPS * step)
    low = max(-1.0, high - step)
    while low > -1 and rejects(low):
        low, high = max(-1.0, low - step), low
    bound = root = _halve(rejects, low, high)
    # The p-value is not quite monotone, the less so the fewer items: a larger loss may again not be rejected.
    for number in range(1, int(np.clip(SCAN_ITEMS / n, FEWEST_SCANS, MOST_SCANS)) + 1):
        beyond = root + number * SCAN_SE * error
        if beyond < 1 and not rejects(beyond):
            bound = _halve(rejects, beyond, min(1.0, beyond + SCAN_SE * error))
    return bound


def _halve(rejects: Callable[[float], bool], low: float, high: float) -> float:
    """Where the test begins to reject between two losses, rounded to the larger side."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if rejects(middle):
            high = middle
        else:
            low = middle
    return high


def confine_rate(flips: int, n: int, gamma: float) -> tuple[float, float]:
    """Two-sided interval of the flip rate at confidence ``1 - gamma`` (Clopper and Pearson, Biometrika 26, 1934)."""
    low = float(special.betaincinv(flips, n - flips + 1, gamma / 2)) if flips > 0 else 0.0
    high = float(special.betaincinv(flips + 1, n - flips, 1 - gamma / 2)) if flips < n else 1.0
    return low, high


def compute_p_value(lost: float, won: float, n: int, loss: float, rates: tuple[float, float], gamma: float) -> float:
    """P-value of "the loss is at least ``loss``", at most 1.

    Args:
        lost: items that flipped one way.
        won: items that flipped the other way.
        n: items.
        loss: supposed ``p_lost - p_won``.
        rates: interval of the flip rate.
        gamma: probability that the flip rate lies outside; it is added.
    """
    least, most = max(rates[0], abs(loss)), rates[1]
    if least > most:
        return gamma  # no flip rate in the interval allows such a loss
    terms = min(n + 1.0, 2 * float(_spread(n, np.array(most))))
    tried = int(np.clip(WORK / terms, FEWEST_RATES, MOST_RATES))
    clearness = _studentise(np.array([lost - won], float), np.array([lost + won], float), n, loss)[0]
    largest = _sum_probabilities(n, loss, _space_rates(least, most, tried), clearness).max()
    return min(1.0, float(largest) + gamma + TAIL_MASS)


def _space_rates(least: float, most: float, count: int) -> NDArray[np.float64]:
    """Flip rates to try: even in the square root, in which a binomial's spread is even."""
    return np.clip(np.linspace(math.sqrt(least), math.sqrt(most), count) ** 2, least, most)


def _studentise(
    difference: NDArray[np.float64], flips: NDArray[np.float64], n: int, loss: float
) -> NDArray[np.float64]:
    """The statistic T; a vanishing denominator makes it 0 or infinite, as its numerator says."""
    numerator = difference - n * loss
    deviation = _deviate(flips, n, loss)
    infinite = np.where(np.abs(numerator) <= 1e-9 * n, 0.0, np.copysign(np.inf, numerator))
    return np.divide(numerator, deviation, out=infinite, where=deviation > 0)


def _deviate(flips: NDArray[np.float64], n: int, loss: float) -> NDArray[np.float64]:
    """Standard deviation of ``lost - won`` at the supposed loss, given the flips."""
    variance = np.maximum(np.maximum(flips, n * abs(loss)) + flips / 2 - n * loss**2, 0.0)
    deviation: NDArray[np.float64] = np.sqrt(variance)
    return deviation


def _spread(n: int, rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far from their mean flips are counted."""
    spread: NDArray[np.float64] = TAIL_SD * np.sqrt(n * rate * (1 - rate)) + TAIL_FLIPS
    return spread


def _sum_probabilities(n: int, loss: float, rates: NDArray[np.float64], clearness: float) -> NDArray[np.float64]:
    """P(T <= clearness) at each flip rate, ``[rates]``."""
    rate = rates[:, None]
    spread = _spread(n, rate)
    first = np.maximum(0, np.floor(n * rate - spread))
    last = np.minimum(n, np.ceil(n * rate + spread))
    listed = first + np.arange(int((last - first).max()) + 1, dtype=np.float64)  # [rates, flips]
    flips: NDArray[np.float64] = np.minimum(listed, last)
    share = np.divide(rate + loss, 2 * rate, out=np.full_like(rate, 0.5), where=rate > 0).clip(0, 1)
    deviation = _deviate(flips, n, loss)
    # Without a deviation T is 0 or infinite, and lost - won = n d gives the 0.
    at_zero = math.inf if clearness == math.inf else min(0.0, np.sign(clearness))
    with np.errstate(invalid="ignore"):
        allowed = n * loss + np.where(deviation > 0, clearness * deviation, at_zero)
    # lost - won = 2 lost - D <= allowed; the observed outcome itself must not fall to rounding.
    most_lost = np.floor((flips + allowed) / 2 + 1e-9 * n**0.5)
    most_lost = np.clip(most_lost, -1, flips)
    terms = _binomial_mass(flips, n, rate) * _binomial_cumulative(most_lost, flips, share)
    total: NDArray[np.float64] = np.where(listed <= last, terms, 0.0).sum(axis=1)
    return total


def _binomial_mass(k: NDArray[np.float64], n: int, p: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(Bin(n, p) = k)."""
    if n <= MOST_LISTED:
        factorials, wins = _log_factorials(n.bit_length()), k.astype(np.int64)
        log_choose = factorials[n] - factorials[wins] - factorials[n - wins]
    else:
        log_choose = -special.betaln(n - k + 1, k + 1) - math.log1p(n)
    mass: NDArray[np.float64] = np.exp(log_choose + special.xlogy(k, p) + special.xlog1py(n - k, -p))
    return mass


def _binomial_cumulative(k: NDArray[np.float64], n: NDArray[np.float64], p: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(Bin(n, p) <= k) for whole k in -1..n, ``[rates, flips]``; along a row n counts up until it stays, p is one.

    From one n to the next, ``F(n + 1, k) = F(n, k) - p f(n, k)`` and ``F(n, k + 1) = F(n, k) + f(n, k + 1)``: sums of
    the mass f, where k rises by 0 or 1 as it does but for the fewest flips, are many times as fast as the function.
    """
    grown, raised = np.diff(n, axis=1), np.diff(k, axis=1)
    if n.max() > MOST_LISTED or ((raised < 0) | (raised > grown)).any():
        values = special.bdtr(np.clip(k, 0, n), n.astype(np.int64), p)
        return np.where(k < 0, 0.0, np.where(k >= n, 1.0, values))
    factorials = _log_factorials(int(n.max()).bit_length())
    wins, trials = np.maximum(k, 0).astype(np.int64), n.astype(np.int64)
    log_choose = factorials[trials] - factorials[wins] - factorials[trials - wins]
    mass = np.where(k < 0, 0.0, np.exp(log_choose + special.xlogy(wins, p) + special.xlog1py(trials - wins, -p)))
    cumulative = np.empty_like(mass)
    cumulative[:, 0] = np.where(k[:, 0] < 0, 0.0, special.bdtr(wins[:, 0].astype(np.float64), trials[:, 0], p[:, 0]))
    cumulative[:, 1:] = raised * mass[:, 1:] - grown * p * mass[:, :-1]
    summed: NDArray[np.float64] = np.cumsum(cumulative, axis=1).clip(0, 1)
    return summed


@cache
def _log_factorials(bits: int) -> NDArray[np.float64]:
    """Logarithms of 0! to ``(2^bits - 1)!``."""
    factorials: NDArray[np.float64] = special.gammaln(np.arange(1, 2**bits + 1, dtype=np.float64))
    return factorials
