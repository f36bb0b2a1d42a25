"""Some items, or the columns alone, of a data set without reading the rest, where that can be done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from assay.core.session import Batch, Dataset
from assay.core.tensor import Array
from assay.data.batching import gather_columns, pick_items, rebatch
from assay.data.grouping import find_rule, group_items

_AT_ONCE = 256
"""Items per batch where only their columns are wanted."""


@runtime_checkable
class Seekable(Protocol):
    """What a `Dataset` may have beside its streams."""

    @property
    def seekable(self) -> bool:
        """Whether `take` costs about what the taken items cost; else it streams."""
        ...

    def take(self, items: NDArray[np.int64], size: int) -> Iterator[Batch]:
        """Some items, ``size`` at a time, numbered anew from 0; each batch says which items it holds.

        Args:
            items: strictly rising indices.
            size: items per batch; the last batch may be smaller.

        Raises:
            DataError: an item cannot be read, naming the file and the item by its index in the whole data.
        """
        ...

    def read_columns(self) -> Mapping[str, Array]:
        """The declared columns of all items, each ``[n]``, without reading inputs where that can be.

        Raises:
            DataError: they cannot be read.
        """
        ...


def take_items(dataset: Dataset, items: NDArray[np.int64], size: int) -> Iterator[Batch]:
    """Items of any data set at strictly rising indices, ``size`` at a time, numbered anew from 0.

    Reads only them where the data set is `Seekable`, else what lies before the last of them too.

    Raises:
        DataError: an item cannot be read.
    """
    if isinstance(dataset, Seekable):
        return dataset.take(items, size)
    if find_rule(dataset) is not None:
        return group_items(pick_items(dataset.batches(1), items), size)
    return rebatch(pick_items(dataset.batches(size), items), size)


def is_seekable(dataset: Dataset) -> bool:
    """Whether some items cost less than all that lie before the last of them."""
    return isinstance(dataset, Seekable) and dataset.seekable


def read_columns(dataset: Dataset) -> Mapping[str, Array]:
    """The columns of all items of any data set, each ``[n]``: those that its source declares.

    Raises:
        DataError: they cannot be read.
    """
    if isinstance(dataset, Seekable):
        return dataset.read_columns()
    return gather_columns(dataset.batches(_AT_ONCE if find_rule(dataset) is None else 1))
