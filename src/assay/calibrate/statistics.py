"""Streaming statistics of a tensor: one pass, no range needed beforehand, merged without loss.

The atom is the item: what is summed in floats is summed within one item, in an order that depends on its shape
alone, and the sums of items are added exactly. So no order of items, no grouping into batches and no way of merging
shards changes a bit of the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.calibrate.channels import ChannelBuilder, merge_channels
from assay.calibrate.counts import add_counts, copy_counts, make_counts
from assay.calibrate.exact import MOST_SUMS, TOTAL_UNITS, from_float, normalise_limbs, read_limbs, to_float, widen
from assay.calibrate.floats import to_observed
from assay.calibrate.kernels import Kernels, load_kernels
from assay.calibrate.layout import BINS, BLOCK, INFINITY_BIN, LIMBS, SIGN_BIN, TABLES
from assay.core.calibration import COARSE_BINS, GROUPS, ChannelStatistics, TensorStatistics
from assay.core.tensor import Array

__all__ = [
    "BINS",
    "BLOCK",
    "INFINITY_BIN",
    "SIGN_BIN",
    "ItemValues",
    "StatisticsBuilder",
    "count_nonfinite",
    "make_tables",
    "merge",
    "observe_array",
]


PLACES = np.array(TOTAL_UNITS, np.int64)


@dataclass(frozen=True, slots=True)
class ItemValues:
    """What one call gave for each of its items, or for the array as a whole.

    Attributes:
        counts: ``[n, 2] int64``, non-finite values and zeros.
        numbers: ``[n, 4] float64``, sum, sum of squares, least and greatest of the finite values; the last two are
            infinity and minus infinity where there is none.
        size: values of an item.
        itemised: whether the rows are items.
    """

    counts: NDArray[np.int64]
    numbers: NDArray[np.float64]
    size: int
    itemised: bool


def make_tables() -> NDArray[np.uint32]:
    """What the kernels count in; one for each thread."""
    return np.zeros((TABLES, BINS), np.uint32)


class StatisticsBuilder:
    """Accumulates arrays into the statistics of one tensor; memory does not grow with what is added.

    Args:
        axis: of the channels that get statistics of their own, in the whole array; None for none.
        kernels: the hot loops; the fastest that can be had by default.
    """

    def __init__(self, axis: int | None = None, kernels: Kernels | None = None) -> None:
        self._kernels = load_kernels() if kernels is None else kernels
        self._channels = None if axis is None else ChannelBuilder(axis, self._kernels)
        self._tables: NDArray[np.uint32] | None = None
        self._histogram = make_counts(BINS)
        self._groups = make_counts(COARSE_BINS, GROUPS)
        self._low = math.inf
        self._high = -math.inf
        self._limbs = np.zeros((len(TOTAL_UNITS), LIMBS), np.int64)
        self._unsettled = 0
        self._zeros = 0
        self._items = 0
        self._itemised = True

    def add(self, values: Array, groups: NDArray[np.int64] | None = None) -> int:
        """Take in all values of an array of any shape, as float32.

        Args:
            values: floating-point or bfloat16; with ``groups`` the first axis is the item, else the array is one atom.
            groups: ``[n] int64``, the group of each item, 0 to ``GROUPS`` - 1.

        Returns:
            The number of NaN and infinite values in it.

        Raises:
            DataError: it lacks the axis of the channels, or has other channels than the arrays before.
        """
        if self._tables is None:
            self._tables = make_tables()
        return int(self.add_items(values, groups, self._tables).counts[:, 0].sum())

    def add_items(self, values: Array, groups: NDArray[np.int64] | None, tables: NDArray[np.uint32]) -> ItemValues:
        """``add`` with tables of the caller's, for threads; tells of every item.

        Raises:
            DataError: as ``add``.
        """
        array = to_observed(values)
        itemised = groups is not None
        rows = array.reshape(len(array) if itemised else 1, -1) if array.size else array.reshape(0, 0)
        counts, numbers = np.empty((len(rows), 2), np.int64), np.empty((len(rows), 4))
        if not len(rows):
            return ItemValues(counts, numbers, 0, itemised)
        coarse = self._groups if itemised else np.zeros((COARSE_BINS, 1), np.int64)
        chosen = np.zeros(1, np.int64) if groups is None else groups
        self._kernels.observe_items(rows, chosen, self._histogram, coarse, tables, counts, numbers)
        if self._channels is not None:
            self._channels.add(array, itemised=itemised)
        self._add_numbers(counts, numbers)
        self._itemised = self._itemised and itemised
        return ItemValues(counts, numbers, rows.shape[1], itemised)

    def _add_numbers(self, counts: NDArray[np.int64], numbers: NDArray[np.float64]) -> None:
        """Add what the kernels gave of each item."""
        self._kernels.accumulate(numbers, self._limbs, PLACES)
        for (_, zeros), (_, _, low, high) in zip(counts.tolist(), numbers.tolist(), strict=True):
            self._zeros += zeros
            self._items += low <= high
            self._low, self._high = min(self._low, low), max(self._high, high)
        self._unsettled += len(numbers)
        if self._unsettled > MOST_SUMS:
            self._limbs, self._unsettled = widen(normalise_limbs(self._limbs)), 0

    def build(self) -> TensorStatistics:
        """Statistics of everything added so far; ``low`` and ``high`` are 0 where nothing finite was."""
        nonfinite = count_nonfinite(self._histogram)
        count = int(self._histogram.sum()) - nonfinite
        first, second, third, fourth = read_limbs(normalise_limbs(self._limbs))
        return compose(
            histogram=copy_counts(self._histogram),
            limits=(self._low, self._high) if count else (0.0, 0.0),
            counts=(count, self._zeros, nonfinite, self._items if self._itemised else 0),
            sums=(first, second, third, fourth) if self._itemised else (first, second, 0, 0),
            groups=copy_counts(self._groups).T if self._itemised else None,
            channels=self._channels.build() if self._channels is not None else None,
        )


def compose(
    histogram: NDArray[np.int64],
    limits: tuple[float, float],
    counts: tuple[int, int, int, int],
    sums: tuple[int, int, int, int],
    groups: NDArray[np.int64] | None,
    channels: ChannelStatistics | None,
) -> TensorStatistics:
    """Statistics from what is exact in them; ``counts`` are finite values, zeros, non-finite ones and items."""
    total, squares, lows, highs = (to_float(units, unit) for units, unit in zip(sums, TOTAL_UNITS, strict=True))
    return TensorStatistics(
        histogram=histogram,
        low=limits[0],
        high=limits[1],
        count=counts[0],
        total=total,
        total_squares=squares,
        zeros=counts[1],
        nonfinite=counts[2],
        items=counts[3],
        total_low=lows,
        total_high=highs,
        groups=groups,
        channels=channels,
        sums=sums,
    )


def count_nonfinite(histogram: NDArray[np.int64]) -> int:
    """Number of NaN and infinite values in a ``[65536]`` histogram."""
    return int(histogram[INFINITY_BIN:SIGN_BIN].sum() + histogram[SIGN_BIN + INFINITY_BIN :].sum())


def observe_array(values: Array, groups: NDArray[np.int64] | None = None, axis: int | None = None) -> TensorStatistics:
    """Statistics of one array; see ``StatisticsBuilder``."""
    builder = StatisticsBuilder(axis)
    builder.add(values, groups)
    return builder.build()


def exact_sums(part: TensorStatistics) -> tuple[int, int, int, int]:
    """Exact sums, from the floats where only those are known."""
    if part.sums is not None:
        return part.sums
    floats = (part.total, part.total_squares, part.total_low, part.total_high)
    first, second, third, fourth = map(from_float, floats, TOTAL_UNITS)
    return first, second, third, fourth


def merge(parts: Sequence[TensorStatistics]) -> TensorStatistics:
    """Statistics of the union of what the parts observed: the same bits in any order and any grouping.

    Items, groups and channels are kept where every part that observed something has them.

    Raises:
        ValueError: there are no parts.
        DataError: the parts have channels that do not fit each other.
    """
    if not parts:
        raise ValueError("nothing to merge")
    observed = [part for part in parts if part.count]
    filled = [part for part in parts if part.count or part.nonfinite] or list(parts)
    histogram = make_counts(BINS)
    for part in filled:
        add_counts(histogram, part.histogram)
    sums = [sum(column) for column in zip(*map(exact_sums, observed), strict=True)] or [0] * 4
    itemised = all(part.items for part in observed)
    items = sum(part.items for part in observed) if itemised else 0
    return compose(
        histogram=histogram,
        limits=(
            min((part.low for part in observed), default=0.0),
            max((part.high for part in observed), default=0.0),
        ),
        counts=(sum(p.count for p in parts), sum(p.zeros for p in parts), sum(p.nonfinite for p in parts), items),
        sums=(sums[0], sums[1], *((sums[2], sums[3]) if itemised else (0, 0))),
        groups=_merge_groups([part.groups for part in filled]),
        channels=_merge_channels([part.channels for part in filled]),
    )


def _merge_groups(parts: Sequence[NDArray[np.int64] | None]) -> NDArray[np.int64] | None:
    """Sum of the histograms of groups, or None where a part has none."""
    merged = make_counts(COARSE_BINS, GROUPS)
    for part in parts:
        if part is None:
            return None
        add_counts(merged, part.T)
    return merged.T


def _merge_channels(parts: Sequence[ChannelStatistics | None]) -> ChannelStatistics | None:
    """Channels of all parts, or None where a part has none."""
    known = [part for part in parts if part is not None]
    return merge_channels(known) if len(known) == len(parts) else None
