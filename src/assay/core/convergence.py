"""How the ranges settled while items were observed: the trail behind the number of items that were enough."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConvergencePoint:
    """One look at the statistics while they grew, against those of about half as many items.

    Attributes:
        items: observed so far.
        range_change: how far the limits of the ranges moved, over the present range, mean over tensors.
        excess_noise_db: quantization noise-to-signal on everything seen so far under the ranges of about half the
            items, over that under the present ranges, both summed over tensors, in dB.
        worst_tensor: the one whose noise-to-signal the items since then changed most.
    """

    items: int
    range_change: float
    excess_noise_db: float
    worst_tensor: str


@dataclass(frozen=True, slots=True)
class Convergence:
    """Whether enough items were observed.

    Attributes:
        points: in the order of observation; empty where there were too few items for a comparison.
        converged: the last looks stayed within the limits; otherwise the items or their maximum came first.
        items: observed in all.
        most_range_change: limit of each point's ``range_change``.
        most_excess_db: limit of each point's ``excess_noise_db``.
    """

    points: tuple[ConvergencePoint, ...]
    converged: bool
    items: int
    most_range_change: float
    most_excess_db: float
