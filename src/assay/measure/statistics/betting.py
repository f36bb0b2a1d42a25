"""Lower confidence bound of a mean of bounded numbers, without any approximation."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SEED = 20240101
LARGEST_BET = 0.8
"""Bets stay below this over the candidate mean, so that no single number can take all the wealth."""
HALVINGS = 30


def bound_mean(values: NDArray[np.float64], confidence: float) -> float:
    """Lower bound of the mean of independent numbers in [0, 1], valid at every sample size.

    A gambler bets that the mean is above m; were it m or less, the wealth would exceed ``1 / (1 - confidence)`` at
    any time with probability ``1 - confidence`` at most. The bound is the largest m at which the wealth does so. Bets
    are the predictable plug-in ones for a fixed sample size (Waudby-Smith and Ramdas, Estimating means of bounded
    random variables by betting, JRSS B 86, 2024, section 4). They depend on the order of the numbers, which must not
    depend on the numbers: it is a fixed permutation, so that equal input gives an equal bound.

    Args:
        values: ``[n]``, each in [0, 1], n >= 1.
        confidence: one-sided.
    """
    count = len(values)
    shuffled = values[np.random.default_rng(SEED).permutation(count)]
    goal = -math.log1p(-confidence)
    bets = _size_bets(shuffled, goal)
    low, high = 0.0, float(np.mean(values))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _find_peak(shuffled, bets, middle) >= goal:
            low = middle
        else:
            high = middle
    return low


def exceeds(values: NDArray[np.float64], mean: float, confidence: float) -> NDArray[np.bool_]:
    """Whether `bound_mean` reaches a mean, for many samples at once.

    Args:
        values: ``[samples..., n]``, each in [0, 1], n >= 1.
        mean: in [0, 1].
        confidence: one-sided.
    """
    shuffled = values[..., np.random.default_rng(SEED).permutation(values.shape[-1])]
    goal = -math.log1p(-confidence)
    reached: NDArray[np.bool_] = _find_peak(shuffled, _size_bets(shuffled, goal), mean) >= goal
    return reached


def bound_difference(differences: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Both bounds of the mean of numbers in [-1, 1], each at one-sided confidence.

    Args:
        differences: ``[n]``, n >= 1.
        confidence: one-sided.
    """
    low = 2 * bound_mean((1 + differences) / 2, confidence) - 1
    high = 1 - 2 * bound_mean((1 - differences) / 2, confidence)
    return low, high


def _size_bets(values: NDArray[np.float64], goal: float) -> NDArray[np.float64]:
    """Bets ``sqrt(2 goal / (n v))`` with the variance v estimated from the earlier numbers only."""
    count = values.shape[-1]
    steps = np.arange(1, count + 1)
    means = (0.5 + np.cumsum(values, axis=-1)) / (steps + 1)
    variances = (0.25 + np.cumsum((values - means) ** 2, axis=-1)) / (steps + 1)
    earlier = np.concatenate([np.full((*values.shape[:-1], 1), 0.25), variances[..., :-1]], axis=-1)
    bets: NDArray[np.float64] = np.sqrt(2 * goal / (count * earlier))
    return bets


def _find_peak(values: NDArray[np.float64], bets: NDArray[np.float64], mean: float) -> NDArray[np.float64]:
    """Largest logarithm of the wealth at a candidate mean."""
    if mean <= 0:
        return np.full(values.shape[:-1], np.inf)
    bounded = np.minimum(bets, LARGEST_BET / mean)
    peak: NDArray[np.float64] = np.cumsum(np.log1p(bounded * (values - mean)), axis=-1).max(axis=-1)
    return peak
