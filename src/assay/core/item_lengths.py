"""The lengths of the items of a study's evaluation data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ItemLengths:
    """How items of different lengths were run.

    Attributes:
        buckets: lengths that items were filled up to; empty where each was run in its own.
        counts: length as run, and the items that were run in it, the shortest first.
        cut: items that were longer than the longest allowed, and were cut.
        seed: of the order in which calls were drawn.
        calls: different calls that latency was measured with.
    """

    buckets: tuple[int, ...]
    counts: tuple[tuple[int, int], ...]
    cut: int
    seed: int
    calls: int
