"""Parts of a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import RequestError
from assay.core.session import Batch, Dataset
from assay.core.tensor import Array
from assay.data.batching import check_size
from assay.data.grouping import find_rule
from assay.data.lengths import Lengths
from assay.data.seeking import is_seekable, read_columns, take_items


def first(dataset: Dataset, n: int) -> Dataset:
    """The first ``n`` items, or all where there are fewer.

    Raises:
        RequestError: ``n`` is below 1.
    """
    if n < 1:
        raise RequestError(f"{n} items are asked for", "give 1 or more")
    return dataset if n >= len(dataset) else Subset(dataset, range(n))


def every(dataset: Dataset, indices: Sequence[int]) -> Dataset:
    """The items at ``indices``, in the data set's order, numbered anew from 0; others are not read where that can be.

    Raises:
        RequestError: the indices do not rise strictly, or one is out of range.
    """
    return Subset(dataset, indices)


class Subset:
    """A `Dataset` of some items of another one; reads only them where it can, and never further than the last.

    Raises:
        RequestError: the indices do not rise strictly, or one is out of range.
    """

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        chosen = np.asarray(indices, dtype=np.int64)
        if chosen.size == 0 or chosen[0] < 0 or chosen[-1] >= len(dataset) or bool((np.diff(chosen) <= 0).any()):
            message = f"a subset of {len(dataset)} items needs rising indices from 0 to {len(dataset) - 1}"
            raise RequestError(message)
        self._dataset = dataset
        self._indices: NDArray[np.int64] = chosen

    @property
    def fingerprint(self) -> str:
        """Hash of the data set behind and the chosen indices."""
        return hashlib.sha256(self._dataset.fingerprint.encode() + self._indices.tobytes()).hexdigest()

    @property
    def rule(self) -> Lengths | None:
        """As the data set behind."""
        return find_rule(self._dataset)

    @property
    def labelled(self) -> bool:
        """Whether batches carry targets."""
        return self._dataset.labelled

    def __len__(self) -> int:
        """Number of items."""
        return len(self._indices)

    def batches(self, size: int) -> Iterator[Batch]:
        """All items in order, ``size`` at a time; the last batch may be smaller.

        Raises:
            DataError: an item cannot be read.
        """
        check_size(size)
        return take_items(self._dataset, self._indices, size)

    @property
    def seekable(self) -> bool:
        """As the data set behind."""
        return is_seekable(self._dataset)

    def take(self, items: NDArray[np.int64], size: int) -> Iterator[Batch]:
        """Some of the items, at strictly rising places in this part, ``size`` at a time.

        Raises:
            DataError: an item cannot be read.
        """
        check_size(size)
        return take_items(self._dataset, self._indices[items], size)

    def read_columns(self) -> Mapping[str, Array]:
        """The columns of these items.

        Raises:
            DataError: they cannot be read.
        """
        return {name: values[self._indices] for name, values in read_columns(self._dataset).items()}
