"""A data set around another one: all that it tells as the one behind does."""

from __future__ import annotations

from collections.abc import Mapping

from assay.core.session import Dataset
from assay.core.tensor import Array
from assay.data.labels import read_labels
from assay.data.seeking import is_seekable, read_columns
from assay.data.telling import tell_item


class WrappingDataset:
    """Of the same items in the same order; whoever builds on it adds the batches.

    Args:
        dataset: the data set behind.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    @property
    def fingerprint(self) -> str:
        """Content hash of the data set behind: what is around it does not change what is in it."""
        return self._dataset.fingerprint

    @property
    def labelled(self) -> bool:
        """Whether batches carry targets."""
        return self._dataset.labelled

    @property
    def seekable(self) -> bool:
        """As the data set behind."""
        return is_seekable(self._dataset)

    def __len__(self) -> int:
        """Number of items."""
        return len(self._dataset)

    def read_columns(self) -> Mapping[str, Array]:
        """The columns of all items.

        Raises:
            DataError: they cannot be read.
        """
        return read_columns(self._dataset)

    def read_labels(self) -> Array | None:
        """The stored labels of all items.

        Raises:
            DataError: they cannot be read.
        """
        return read_labels(self._dataset)

    def tell(self, item: int) -> str:
        """An item as a person reads it; empty where the data have no words for it."""
        return tell_item(self._dataset, item)
