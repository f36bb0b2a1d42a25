"""How many independent samples the waits of a queue are worth.

A queue that runs empty forgets its past: its busy periods are independent of each other and of one distribution
(regenerative simulation; Crane and Iglehart, Operations Research 23, 1975). Waits within a period are not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST_CYCLES = 20
"""With fewer busy periods their spread is not known: each then counts as one sample."""

BLOCKS = 50
LEVELS = (0.95, 0.9, 0.8)
BEYOND_CHANCE = 2.33
"""Standard errors of a correlation beyond which it is held to be one, 1% on one side."""


def find_cycles(arrived: NDArray[np.int64], finished: NDArray[np.int64]) -> NDArray[np.int64]:
    """The busy period of each query, ``[n] int64`` from 0: a new one begins where a query finds all answered.

    Args:
        arrived: ``[n]``, ascending.
        finished: ``[n]``.
    """
    before = np.maximum.accumulate(finished)
    begins = np.concatenate([[False], arrived[1:] >= before[:-1]])
    periods: NDArray[np.int64] = np.cumsum(begins).astype(np.int64)
    return periods


def split_blocks(n: int) -> NDArray[np.int64]:
    """The block of each of n samples, ``[n] int64``: as good as independent of each other where blocks are long."""
    blocks: NDArray[np.int64] = np.arange(n, dtype=np.int64) * min(n, BLOCKS) // n
    return blocks


def count_worth(waits: NDArray[np.float64], quantile: float, cycles: NDArray[np.int64]) -> int:
    """Independent samples that a quantile of a queue's waits is known as well as from.

    A few waits beyond p99 say little of how they come together, so the fewest count that are found at it or at any of
    ``LEVELS`` below it.

    Args:
        waits: ``[n]``.
        quantile: in question.
        cycles: ``[n]``, the busy period of each.
    """
    levels = {quantile, *(level for level in LEVELS if level < quantile)}
    return min(count_by_cycles(waits > np.quantile(waits, level), cycles) for level in levels)


def count_by_cycles(hits: NDArray[np.bool_], cycles: NDArray[np.int64]) -> int:
    """Independent samples that the share of hits is known as well as from: n over the design effect.

    The share is a ratio of sums over periods, so its variance is that of their residuals (Cochran, Sampling
    Techniques, 3rd ed. 1977, section 9A.3).

    Args:
        hits: ``[n]``, such as which waits are beyond a quantile.
        cycles: ``[n]``, the busy period of each.
    """
    n, share = hits.size, float(hits.mean())
    count = int(cycles[-1]) + 1
    if count < LEAST_CYCLES:
        return count
    if not 0 < share < 1:
        return n
    residuals = np.bincount(cycles, weights=hits - share)
    spread = float(residuals @ residuals) * count / (count - 1)
    neighbours = float(residuals[1:] @ residuals[:-1])
    # Periods are independent unless something outside the queue, such as a neighbour on the machine, lasts longer.
    if neighbours > BEYOND_CHANCE * spread / np.sqrt(count):
        spread += 2 * neighbours
    effect = spread / (n * share * (1 - share))
    return max(1, round(n / max(effect, 1.0)))
