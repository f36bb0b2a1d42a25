"""What a guard keeps of a tensor: how each channel varies from item to item, in a few numbers, streamed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from assay.core.tensor import Array

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

LARGEST, SMALLEST, MEAN = 0, 1, 2
"""The three features of an item's channel: over its positions, the largest value, the smallest, and the mean."""
FEATURES = 3
POWERS = 4
STILL = 1e-6
"""A feature that moves by no more than this part of its magnitude stands still."""


@dataclass(slots=True)
class ChannelMoments:
    """Statistics over items of each of ``C`` channels; memory does not grow with the items.

    Attributes:
        items: ``[C]`` items seen.
        broken: ``[C]`` items with a value that is NaN or infinite; the other numbers leave them out.
        values: ``[C]`` values in the other items.
        at_top: ``[C]`` values equal to the largest.
        at_bottom: ``[C]`` values equal to the smallest.
        shift: ``[3, C]`` each feature's first value.
        low: ``[3, C]`` each feature's smallest value over the items; infinite before the first.
        high: ``[3, C]`` each feature's largest.
        sums: ``[4, 3, C]`` sums of the powers 1 to 4 of a feature less its shift.
    """

    items: Floats
    broken: Floats
    values: Floats
    at_top: Floats
    at_bottom: Floats
    shift: Floats
    low: Floats
    high: Floats
    sums: Floats

    @classmethod
    def empty(cls, channels: int) -> Self:
        """Nothing seen yet."""
        items, broken, values, at_top, at_bottom = np.zeros((5, channels))
        shape = (FEATURES, channels)
        nothing = np.full(shape, np.inf)
        return cls(
            items, broken, values, at_top, at_bottom, np.zeros(shape), nothing, -nothing, np.zeros((POWERS, *shape))
        )

    def add(self, values: Array) -> None:
        """Count some items in.

        Args:
            values: ``[n, P, C]`` real numbers, every value of every channel, by item; ``P`` is at least 1.
        """
        sound: Flags = np.asarray(np.isfinite(values).all(axis=1), np.bool_)
        self.items += len(values)
        self.broken += len(values) - sound.sum(axis=0)
        if not sound.any():
            return
        if not sound.all():
            values = np.where(sound[:, None], values, np.zeros(1, values.dtype))
        features = np.stack([values.max(axis=1), values.min(axis=1), values.mean(axis=1, dtype=np.float64)])
        top = np.where(sound, features[LARGEST], -np.inf).max(axis=0)
        bottom = np.where(sound, features[SMALLEST], np.inf).min(axis=0)
        at_top = ((values == top.astype(values.dtype)) & sound[:, None]).sum(axis=(0, 1))
        at_bottom = ((values == bottom.astype(values.dtype)) & sound[:, None]).sum(axis=(0, 1))
        self.at_top = _count_extremes(self.at_top, at_top, top > self.top, top == self.top)
        self.at_bottom = _count_extremes(self.at_bottom, at_bottom, bottom < self.bottom, bottom == self.bottom)
        self._add_features(features, sound, fresh=self.values == 0)
        self.values += sound.sum(axis=0) * values.shape[1]

    def _add_features(self, features: Floats, sound: NDArray[np.bool_], *, fresh: Flags) -> None:
        """Count features ``[3, n, C]`` of the sound items in; ``fresh`` are the channels without a value so far."""
        first = np.take_along_axis(features, sound.argmax(axis=0)[None, None], axis=1)[:, 0]
        self.shift = np.where(fresh & sound.any(axis=0), first, self.shift)
        self.low = np.minimum(self.low, np.where(sound, features, np.inf).min(axis=1))
        self.high = np.maximum(self.high, np.where(sound, features, -np.inf).max(axis=1))
        distance = np.where(sound, features, self.shift[:, None]) - self.shift[:, None]
        power = np.ones_like(distance)
        with np.errstate(over="ignore", invalid="ignore"):  # beyond 1e77 ``live`` tells nothing of the spread
            for row in range(POWERS):
                power = power * distance
                self.sums[row] += power.sum(axis=1)

    @property
    def still(self) -> Flags:
        """``[C]`` whether every feature stands still over the sound items, of which there is at least one."""
        return np.asarray(~self._moving.any(axis=0) & (self.values > 0))

    @property
    def _moving(self) -> Flags:
        """``[3, C]`` whether a feature differs between items."""
        return np.asarray(self.high - self.low > STILL * np.maximum(np.abs(self.high), np.abs(self.low)))

    @property
    def live(self) -> Floats:
        """``[C]`` how many items the variation is spread over, of the feature with the most: ``n / kurtosis``.

        Of ``k`` equal spikes among many items this is about ``k``, of a normal distribution a third of the items.
        """
        count = np.maximum(self.items - self.broken, 1)
        with np.errstate(all="ignore"):
            one, two, three, four = self.sums / count
            second = two - one**2
            fourth = four - 4 * one * three + 6 * one**2 * two - 3 * one**4
            spread = count * second**2 / fourth
        return np.asarray(np.where(self._moving & np.isfinite(spread), spread, 0.0).max(axis=0).clip(0, count))

    @property
    def deviation(self) -> Floats:
        """``[3, C]`` standard deviation of every feature over the sound items; 0 for those that stand still."""
        with np.errstate(all="ignore"):
            one, two = self.sums[:2] / np.maximum(self.items - self.broken, 1)
            deviation = np.sqrt(np.maximum(two - one**2, 0))
        return np.asarray(np.where(self._moving, deviation, 0.0))

    @property
    def top(self) -> Floats:
        """``[C]`` the largest value; minus infinity where there is none."""
        top: Floats = self.high[LARGEST]
        return top

    @property
    def bottom(self) -> Floats:
        """``[C]`` the smallest value; infinity where there is none."""
        bottom: Floats = self.low[SMALLEST]
        return bottom

    @property
    def reach(self) -> Floats:
        """``[C]`` largest less smallest value; 0 where there is none."""
        return np.where(self.values > 0, self.top - self.bottom, 0.0)

    @property
    def mean(self) -> Floats:
        """``[C]`` mean value of the sound items."""
        mean: Floats = self.shift[MEAN] + self.sums[0, MEAN] / np.maximum(self.items - self.broken, 1)
        return mean

    def pack(self) -> Floats:
        """All of it as one array ``[26, C]``."""
        counts = np.stack([self.items, self.broken, self.values, self.at_top, self.at_bottom])
        return np.concatenate([counts, self.shift, self.low, self.high, self.sums.reshape(-1, counts.shape[1])])

    @classmethod
    def unpack(cls, table: Floats) -> Self:
        """From the packed form."""
        shift, low, high, powers = np.split(table[5:], [FEATURES, 2 * FEATURES, 3 * FEATURES])
        sums = powers.reshape(POWERS, FEATURES, -1)
        items, broken, values, at_top, at_bottom = table[:5]
        return cls(items, broken, values, at_top, at_bottom, shift, low, high, sums)


def _count_extremes(known: Floats, fresh: NDArray[np.int64], beyond: Flags, equal: Flags) -> Floats:
    """Values at an extreme: the fresh ones alone where they lie beyond the known, both where they are equal."""
    return np.asarray(np.where(beyond, fresh, known + np.where(equal, fresh, 0)), np.float64)
