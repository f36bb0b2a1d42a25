"""How many items a set has in effect, and what so many can show."""

from __future__ import annotations

import math

import numpy as np

from assay.calibrate.fitness.jackknife import CONFIDENCE
from assay.core.calibration import ItemSketch

UNSEEN = 0.1
"""Largest share of the other set's items that may lie beyond everything a set has shown, at ``CONFIDENCE``."""

ENOUGH = math.ceil(math.log(1 - CONFIDENCE) / math.log(1 - UNSEEN))
"""29: fewest items that bound the share of items beyond their extremes by ``UNSEEN``."""


def count_distinct(sketch: ItemSketch, items: int) -> int:
    """Distinct items of a set, estimated from the share of repeats where the sketch does not hold all of them."""
    repeats = int(sketch.repeats.sum())
    return round(items * len(sketch.hashes) / repeats) if repeats else 0


def count_effective(sketch: ItemSketch, items: int) -> float:
    """Number of equally weighted items that carry as much as these with their repeats (Kish 1965)."""
    if not len(sketch.repeats):
        return 0.0
    weights = sketch.repeats.astype(np.float64)
    evenness = weights.mean() ** 2 / np.square(weights).mean()
    return float(count_distinct(sketch, items) * evenness)


def bound_unseen(items: float) -> float:
    """Share of further items that may lie beyond the extreme of so many, at ``CONFIDENCE`` (Wilks 1941)."""
    return float(1 - (1 - CONFIDENCE) ** (1 / items)) if items > 0 else 1.0
