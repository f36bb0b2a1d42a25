"""How many different items a set has, and what so many can show."""

from __future__ import annotations

import math

from assay.calibrate.fitness.jackknife import CONFIDENCE
from assay.core.calibration import ItemSketch

UNSEEN = 0.1
"""Largest share of further items that may lie beyond everything a set has shown, at ``CONFIDENCE``."""

ENOUGH = math.ceil(math.log(1 - CONFIDENCE) / math.log(1 - UNSEEN))
"""29: fewest different items that bound the share of further ones beyond their extreme by ``UNSEEN``."""


def count_distinct(sketch: ItemSketch, items: int) -> int:
    """Distinct items of a set, estimated from the share of repeats where the sketch does not hold all of them."""
    repeats = int(sketch.repeats.sum())
    return round(items * len(sketch.hashes) / repeats) if repeats else 0


def bound_unseen(items: int) -> float:
    """Share of further items that may lie beyond the extreme of so many, at ``CONFIDENCE``.

    The largest of n items exceeds the quantile q of all with probability ``1 - q^n`` (Wilks 1941).
    """
    return 1 - float((1 - CONFIDENCE) ** (1 / items)) if items else 1.0
