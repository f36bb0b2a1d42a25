"""Keeps decoded items in memory, so that many passes over a data set, or over parts of it, decode each item once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from assay.core.session import Batch, Dataset
from assay.data.batching import check_size, index_items, join_batches, pick_rows, slice_batch
from assay.data.bucketing import BucketedDataset
from assay.data.seeking import is_seekable, take_items
from assay.data.wrapping import WrappingDataset

BLOCK_BYTES = 1024
"""What a kept batch takes beside its arrays; it counts, since batches of one item can be many."""
_NOWHERE = -1


def remember(dataset: Dataset, limit_bytes: int) -> Dataset:
    """The same data set, whose items are kept as they are read, as many as take at most ``limit_bytes``.

    Items that are not kept are read again whenever they are asked for. The arrays given out are shared between passes:
    do not write to them.

    Args:
        dataset: what to remember.
        limit_bytes: most bytes of items, labels and columns to keep.
    """
    if isinstance(dataset, BucketedDataset):
        return dataset.over(lambda single: RememberedDataset(single, limit_bytes))
    return RememberedDataset(dataset, limit_bytes)


class RememberedDataset(WrappingDataset):
    """A `Dataset` that reads each item of another one once, where that fits into memory."""

    def __init__(self, dataset: Dataset, limit_bytes: int) -> None:
        super().__init__(dataset)
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._blocks: list[Batch] = []

    def batches(self, size: int) -> Iterator[Batch]:
        """All items in order, ``size`` at a time; the last batch may be smaller.

        Raises:
            DataError: an item cannot be read.
        """
        check_size(size)
        return self.take(np.arange(len(self), dtype=np.int64), size)

    def take(self, items: NDArray[np.int64], size: int) -> Iterator[Batch]:
        """Items at strictly rising indices, ``size`` at a time, numbered anew from 0; reads those that are not kept.

        Raises:
            DataError: an item cannot be read.
        """
        check_size(size)
        missing = self._block_of[items] == _NOWHERE
        read = _Supply(self._read(items[missing], size))
        for low in range(0, len(items), size):
            part = slice(low, low + size)
            absent = np.flatnonzero(missing[part])
            fresh = read.draw(absent.size) if absent.size else None
            yield self._assemble(items[part], absent, fresh, low)

    @cached_property
    def _block_of(self) -> NDArray[np.int32]:
        """In which block each item is kept."""
        return np.full(len(self), _NOWHERE, dtype=np.int32)

    @cached_property
    def _row_of(self) -> NDArray[np.int32]:
        """In which row of its block each item is kept."""
        return np.zeros(len(self), dtype=np.int32)

    def _read(self, items: NDArray[np.int64], size: int) -> Iterator[Batch]:
        """Items of the data set behind, each kept on its way; where it only streams, also those passed over."""
        if not items.size:
            return
        if is_seekable(self._dataset):
            for batch in take_items(self._dataset, items, size):
                self._keep(items[batch.start : batch.start + batch.size], batch)
                yield batch
            return
        for batch in self._dataset.batches(size):
            indices = batch.start + np.arange(batch.size, dtype=np.int64)
            self._keep(indices, batch)
            low, high = np.searchsorted(items, [batch.start, batch.start + batch.size])
            if high - low == batch.size:
                yield batch
            elif high > low:
                yield pick_rows(batch, items[low:high] - batch.start, int(low))
            if high == len(items):
                return

    def _keep(self, indices: NDArray[np.int64], batch: Batch) -> None:
        new = np.flatnonzero(self._block_of[indices] == _NOWHERE)
        if not new.size:
            return
        block = replace(batch, items=index_items(batch)) if new.size == batch.size else pick_rows(batch, new, 0)
        held_bytes = _count_bytes(block)
        if self._held_bytes + held_bytes > self._limit_bytes:
            return
        self._held_bytes += held_bytes
        self._block_of[indices[new]] = len(self._blocks)
        self._row_of[indices[new]] = np.arange(new.size)
        self._blocks.append(block)

    def _assemble(self, items: NDArray[np.int64], absent: NDArray[np.intp], fresh: Batch | None, start: int) -> Batch:
        """One batch of kept items and freshly read ones, which go to the places ``absent``."""
        if fresh is not None and absent.size == len(items):
            return replace(fresh, start=start, items=index_items(fresh))
        blocks, rows = self._block_of[items], self._row_of[items].astype(np.intp)
        present: NDArray[np.intp] = np.setdiff1d(np.arange(len(items)), absent)
        if fresh is None and (blocks == blocks[0]).all() and (np.diff(rows) == 1).all():
            return replace(slice_batch(self._blocks[blocks[0]], int(rows[0]), int(rows[-1]) + 1), start=start)
        places, parts = [], []
        for number in np.unique(blocks[present]).tolist():
            chosen = present[blocks[present] == number]
            places.append(chosen)
            parts.append(pick_rows(self._blocks[number], rows[chosen], 0))
        if fresh is not None:
            places.append(absent)
            parts.append(fresh)
        return pick_rows(join_batches(parts, start), np.argsort(np.concatenate(places)), start)


class _Supply:
    """Items of a stream, as many at a time as are asked for."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self._rest: Batch | None = None

    def draw(self, count: int) -> Batch:
        """The next ``count`` items."""
        parts: list[Batch] = []
        while count:
            batch = self._rest or next(self._batches)
            drawn = min(count, batch.size)
            parts.append(slice_batch(batch, 0, drawn))
            self._rest = slice_batch(batch, drawn, batch.size) if drawn < batch.size else None
            count -= drawn
        return join_batches([replace(part, items=index_items(part)) for part in parts], 0)


def _count_bytes(batch: Batch) -> int:
    labels = BLOCK_BYTES if batch.targets is None else BLOCK_BYTES + batch.targets.nbytes
    columns = sum(array.nbytes for array in batch.columns.values())
    return labels + columns + sum(array.nbytes for array in batch.feeds.values())
