"""Some items of a data set without reading those between them, where that can be done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from assay.core.session import Batch, Dataset
from assay.data.batching import pick_items, rebatch


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


def take_items(dataset: Dataset, items: NDArray[np.int64], size: int) -> Iterator[Batch]:
    """Items of any data set at strictly rising indices, ``size`` at a time, numbered anew from 0.

    Reads only them where the data set is `Seekable`, else what lies before the last of them too.

    Raises:
        DataError: an item cannot be read.
    """
    if isinstance(dataset, Seekable):
        return dataset.take(items, size)
    return rebatch(pick_items(dataset.batches(size), items), size)


def is_seekable(dataset: Dataset) -> bool:
    """Whether some items cost less than all that lie before the last of them."""
    return isinstance(dataset, Seekable) and dataset.seekable
