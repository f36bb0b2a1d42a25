"""The Pareto front of quality against an objective."""

from __future__ import annotations

from collections.abc import Mapping


def find_front(points: Mapping[str, tuple[float, float]]) -> tuple[str, ...]:
    """Names that no other name beats: at least as good in both numbers and better in one.

    Args:
        points: name -> (loss, cost), both better when lower.

    Returns:
        Names by rising cost, then by name.
    """
    front = [
        name
        for name, mine in points.items()
        if not any(theirs != mine and theirs[0] <= mine[0] and theirs[1] <= mine[1] for theirs in points.values())
    ]
    return tuple(sorted(front, key=lambda name: (points[name][1], name)))
