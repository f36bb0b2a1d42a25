"""A data set whose items differ in length, in batches of one length each, whatever their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from assay.core.session import Batch, Dataset
from assay.data.batching import check_size
from assay.data.grouping import group_items
from assay.data.lengths import Lengths, key_shapes, measure_length
from assay.data.seeking import take_items
from assay.data.wrapping import WrappingDataset


class BucketedDataset(WrappingDataset):
    """A `Dataset` whose batches hold items of one shape, each saying the places of its items.

    A batch is given as soon as enough items of a shape were read; what is left of each shape comes last, the shortest
    first. So every item is in a batch of its own shape, the batches are the same on every pass, and at most one batch
    of each shape is in memory.

    Args:
        dataset: gives single items, each in the shape that it is run in.
        rule: by which they were brought to that shape.
        names: inputs whose first axis is the length of an item.
        count_cut: tells how many of the items read so far were cut.

    """

    def __init__(
        self, dataset: Dataset, rule: Lengths, names: tuple[str, ...], count_cut: Callable[[], int] = int
    ) -> None:
        super().__init__(dataset)
        self._rule = rule
        self._names = names
        self._count_cut = count_cut

    @property
    def rule(self) -> Lengths:
        """By which items were brought to their lengths."""
        return self._rule

    def batches(self, size: int) -> Iterator[Batch]:
        """All items, at most ``size`` of one shape at a time.

        Raises:
            DataError: an item cannot be read, naming the file and the item.
        """
        check_size(size)
        return group_items(self._dataset.batches(1), size)

    def take(self, items: NDArray[np.int64], size: int) -> Iterator[Batch]:
        """Items at strictly rising indices; their places count within ``items``.

        Raises:
            DataError: an item cannot be read, naming the file and the item.
        """
        check_size(size)
        return group_items(take_items(self._dataset, items, 1), size)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """``[n] int64``: the length that each item is run in; the first question reads all items once."""
        return self._survey[0]

    @property
    def kinds(self) -> NDArray[np.int64]:
        """``[n] int64``: which of the different shapes each item has, the shortest first."""
        return self._survey[1]

    @cached_property
    def _survey(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        found = [(measure_length(one.feeds, self._names), key_shapes(one.feeds)) for one in self._dataset.batches(1)]
        kinds = {kind: index for index, kind in enumerate(sorted(set(found)))}
        lengths = np.array([length for length, _ in found], np.int64)
        return lengths, np.array([kinds[one] for one in found], np.int64)

    def over(self, wrap: Callable[[Dataset], Dataset]) -> BucketedDataset:
        """The same batches, of single items that come through something else, such as a memory."""
        return BucketedDataset(wrap(self._dataset), self._rule, self._names, self._count_cut)

    def count_cut(self) -> int:
        """Items that were too long and were cut; the first question reads all items once."""
        return self._count_cut() if self.lengths.size else 0

    @property
    def single(self) -> Dataset:
        """The data set behind, whose items come one at a time."""
        return self._dataset


def find_bucketed(dataset: Dataset) -> BucketedDataset | None:
    """The data set as one whose items differ in length; None for all others."""
    return dataset if isinstance(dataset, BucketedDataset) else None
