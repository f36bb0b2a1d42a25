"""When enough items were observed: once half of them would have given ranges that are as good.

Where the excess noise of ranges from n items falls like 1/n, what the second half of the items saved is what all items
to come can still save: comparing with a snapshot of half as many items estimates the remainder, not the last step.

The limits are what a tenth more quantization noise means. Losses of quality follow the noise, so a loss that just
keeps within half a percentage point would grow by a twentieth of a point; a range that is too wide by 4.9 % has a tenth
more rounding noise. The excess noise is mostly that of the few tensors that the earlier ranges clip or suit badly; the
mean movement of the ranges tells whether the others have settled too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from assay.calibrate.selection.settled_range import Outline, measure_noise, settle_range
from assay.core.calibration import Calibration, TensorRange
from assay.core.convergence import Convergence, ConvergencePoint

MORE_NOISE = 0.1
"""Share of the quantization noise that more items may still save."""
MOST_EXCESS_DB = 10 * math.log10(1 + MORE_NOISE)
MOST_RANGE_CHANGE = math.sqrt(1 + MORE_NOISE) - 1
LEAST_ITEMS = 59
"""From here on a kind of items that makes up a twentieth of the data is missing at a chance below a twentieth."""
MOST_ITEMS = 300
FIRST_LOOK = 16
LOOKS_AN_OCTAVE = 2
LEAST_RATIO = 1.75
"""Least number of items over that of the snapshot that they are compared with."""
LOOKS = 2
"""Looks in a row that must stay within the limits."""


@dataclass(frozen=True, slots=True)
class Look:
    """Ranges at one number of items."""

    items: int
    ranges: Mapping[str, TensorRange]


class ConvergenceRule:
    """Takes snapshots of a calibration as it grows and says when to stop.

    The items must come in random order: a rule that has seen one class only cannot know of the others.

    Args:
        minimum: fewest items to stop at.
        maximum: items at which to stop in any case.
        most_excess_db: limit of the excess noise.
        most_range_change: limit of the movement of the ranges, mean over tensors.
    """

    def __init__(
        self,
        minimum: int = LEAST_ITEMS,
        maximum: int = MOST_ITEMS,
        most_excess_db: float = MOST_EXCESS_DB,
        most_range_change: float = MOST_RANGE_CHANGE,
    ) -> None:
        self.maximum = maximum
        self._minimum = min(minimum, maximum)
        self._most_excess_db = most_excess_db
        self._most_range_change = most_range_change
        self._looks: list[Look] = []
        self._points: list[ConvergencePoint] = []
        self._next = FIRST_LOOK

    def wants(self, items: int) -> bool:
        """Whether a snapshot of so many items is due: about 16, 23, 32, 45, 64 and so on."""
        return items >= self._next

    def take(self, snapshot: Calibration) -> bool:
        """Look at the statistics so far.

        Args:
            snapshot: of more items than the last one, and over the same tensors.

        Returns:
            Whether enough items were observed.
        """
        outlines = {name: Outline.of(one) for name, one in snapshot.tensors.items() if one.count}
        look = Look(snapshot.items, {name: settle_range(outline) for name, outline in outlines.items()})
        earlier = [one for one in self._looks if LEAST_RATIO * one.items <= look.items]
        if earlier:
            half = min(earlier, key=lambda one: abs(math.log2(look.items / one.items) - 1))
            self._points.append(compare_looks(half, look, outlines))
        self._looks.append(look)
        self._next = find_next_look(snapshot.items)
        return snapshot.items >= self._minimum and self._is_quiet()

    def conclude(self, items: int) -> Convergence:
        """The trail.

        Args:
            items: observed in all.
        """
        return Convergence(
            points=tuple(self._points),
            converged=items >= self._minimum and self._is_quiet(),
            items=items,
            most_range_change=self._most_range_change,
            most_excess_db=self._most_excess_db,
        )

    def _is_quiet(self) -> bool:
        last = self._points[-LOOKS:]
        return len(last) == LOOKS and all(
            point.excess_noise_db <= self._most_excess_db and point.range_change <= self._most_range_change
            for point in last
        )


def find_next_look(items: int) -> int:
    """Items of the look after ``items``; fixed numbers, so that about half as many were looked at before."""
    passed = math.floor(LOOKS_AN_OCTAVE * math.log2(max(items, 1) / FIRST_LOOK))
    return max(FIRST_LOOK, math.ceil(FIRST_LOOK * 2 ** ((passed + 1) / LOOKS_AN_OCTAVE)))


def compare_looks(earlier: Look, present: Look, outlines: Mapping[str, Outline]) -> ConvergencePoint:
    """What the items since an earlier look changed.

    Args:
        earlier: ranges of fewer items.
        present: ranges of all items seen so far.
        outlines: statistics of all items seen so far.
    """
    changes: list[float] = []
    noises: dict[str, tuple[float, float]] = {}
    for name, outline in outlines.items():
        new = present.ranges[name]
        old = earlier.ranges.get(name, TensorRange(0.0, 0.0))
        if not (new.high > new.low and 0 < outline.signal < math.inf):
            continue
        changes.append(min(1.0, max(abs(new.low - old.low), abs(new.high - old.high)) / (new.high - new.low)))
        noises[name] = _measure_pair(outline, old, new)
    if not noises:
        return ConvergencePoint(present.items, 0.0, 0.0, "")
    before, after = (math.fsum(pair[side] for pair in noises.values()) for side in (0, 1))
    worst = max(noises, key=lambda name: abs(noises[name][0] - noises[name][1]))
    excess = 10 * math.log10(before / after) if before > 0 and after > 0 else 0.0
    return ConvergencePoint(present.items, float(np.mean(changes)), excess, worst)


def _measure_pair(outline: Outline, old: TensorRange, new: TensorRange) -> tuple[float, float]:
    """Noise-to-signal under the old and the new range; a range of nothing loses the whole signal."""
    if old.high <= old.low:
        after = measure_noise(outline, np.array([new.low]), np.array([new.high]))
        return 1.0, float(after[0]) / outline.signal
    both = measure_noise(outline, np.array([old.low, new.low]), np.array([old.high, new.high])) / outline.signal
    return float(both[0]), float(both[1])
