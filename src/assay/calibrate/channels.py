"""Streaming statistics of every channel of a tensor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from assay.calibrate.exact import CHANNEL_UNITS, MOST_SUMS, normalise_limbs, round_limbs, split_floats, widen
from assay.calibrate.floats import F32, Halves
from assay.calibrate.kernels import Kernels
from assay.calibrate.layout import LIMBS, MAGNITUDE
from assay.core.calibration import ChannelStatistics
from assay.core.errors import DataError

FIRST_KEYS = (np.iinfo(np.int32).max, np.iinfo(np.int32).min)


def view_channels(values: F32 | Halves, axis: int, *, itemised: bool) -> F32 | Halves:
    """A C-contiguous array as ``[n, outer, C, inner]``; ``n`` is 1 where its first axis is not the item.

    Raises:
        DataError: the array has no such axis.
    """
    first = int(itemised)
    position = axis + values.ndim if axis < 0 else axis
    if not first <= position < values.ndim:
        raise DataError(f"an array of shape {list(values.shape)} has no channels along axis {axis}")
    items = values.shape[0] if itemised else 1
    outer, inner = int(np.prod(values.shape[first:position])), int(np.prod(values.shape[position + 1 :]))
    return values.reshape(items, outer, values.shape[position], inner)


def sum_channels(kernels: Kernels, values: F32 | Halves) -> NDArray[np.float64]:
    """Sums of each item's finite values and of their squares, ``[n, 2, C]``, of ``[n, outer, C, inner]``."""
    low, high = (np.full(values.shape[2], key, np.int32) for key in FIRST_KEYS)
    sums = np.empty((values.shape[0], 2, values.shape[2]))
    kernels.observe_channels(values, low, high, np.zeros(values.shape[2], np.int64), sums)
    return sums


class ChannelBuilder:
    """Accumulates arrays into the statistics of every channel.

    Args:
        axis: of the channels, in the whole array.
        kernels: the hot loops.
    """

    def __init__(self, axis: int, kernels: Kernels) -> None:
        self._axis = axis
        self._kernels = kernels
        self._low, self._high = np.zeros(0, np.int32), np.zeros(0, np.int32)
        self._count = np.zeros(0, np.int64)
        self._limbs = np.zeros((2, 0, LIMBS), np.int64)
        self._unsettled = 0

    def add(self, values: F32 | Halves, *, itemised: bool) -> None:
        """Take in a C-contiguous array.

        Raises:
            DataError: it has no such axis, or another number of channels than those before.
        """
        parts = view_channels(values, self._axis, itemised=itemised)
        items, _, channels, _ = parts.shape
        if not self._count.size:
            self._low, self._high = (np.full(channels, key, np.int32) for key in FIRST_KEYS)
            self._count = np.zeros(channels, np.int64)
            self._limbs = np.zeros((2, channels, LIMBS), np.int64)
        elif channels != self._count.size:
            raise DataError(f"{channels} channels along axis {self._axis}, {self._count.size} before")
        sums = np.empty((items, 2, channels))
        self._kernels.observe_channels(parts, self._low, self._high, self._count, sums)
        units = np.repeat(np.array(CHANNEL_UNITS, np.int64), channels)
        self._kernels.accumulate(sums.reshape(items, -1), self._limbs.reshape(-1, LIMBS), units)
        self._unsettled += items
        if self._unsettled > MOST_SUMS:
            self._limbs = widen(normalise_limbs(self._limbs))
            self._unsettled = 0

    def build(self) -> ChannelStatistics:
        """Statistics of everything added so far."""
        seen = self._count > 0
        return compose_channels(
            self._axis,
            np.where(seen, read_keys(self._low), 0.0),
            np.where(seen, read_keys(self._high), 0.0),
            self._count.copy(),
            normalise_limbs(self._limbs),
        )


def read_keys(keys: NDArray[np.int32]) -> NDArray[np.float64]:
    """The numbers of keys, which sort like them; -0.0 becomes 0.0, and what is no number 0 too."""
    values = (keys ^ ((keys >> 31) & MAGNITUDE)).view(np.float32)
    return np.where(np.isfinite(values), values, 0).astype(np.float64) + 0.0


def compose_channels(
    axis: int,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    count: NDArray[np.int64],
    sums: NDArray[np.uint32],
) -> ChannelStatistics:
    """Statistics from exact sums ``[2, C, L]``."""
    total, squares = (round_limbs(digits, unit) for digits, unit in zip(sums, CHANNEL_UNITS, strict=True))
    return ChannelStatistics(axis, low, high, total, squares, count, sums)


def merge_channels(parts: Sequence[ChannelStatistics]) -> ChannelStatistics:
    """Statistics of what all parts observed, the same bits in any order and grouping.

    Raises:
        DataError: the parts have other channels.
    """
    filled = [part for part in parts if part.count.size] or list(parts[:1])
    axis, channels = filled[0].axis, filled[0].count.size
    for part in filled:
        if (part.axis, part.count.size) != (axis, channels):
            message = f"{part.count.size} channels along axis {part.axis} do not merge with {channels} along {axis}"
            raise DataError(message, "merge statistics of one model only")
    low, high = np.zeros(channels), np.zeros(channels)
    count = np.zeros(channels, np.int64)
    limbs = np.zeros((2, channels, LIMBS), np.int64)
    for part in filled:
        seen, both = part.count > 0, (part.count > 0) & (count > 0)
        low = np.where(both, np.minimum(low, part.low), np.where(seen, part.low, low))
        high = np.where(both, np.maximum(high, part.high), np.where(seen, part.high, high))
        count += part.count
        limbs += widen(exact_sums(part))
    return compose_channels(axis, low, high, count, normalise_limbs(limbs))


def exact_sums(part: ChannelStatistics) -> NDArray[np.uint32]:
    """Exact sums ``[2, C, L]``, from the floats where only those are known."""
    if part.sums is not None:
        return part.sums
    totals = zip((part.total, part.total_squares), CHANNEL_UNITS, strict=True)
    return np.stack([split_floats(values, unit) for values, unit in totals])
