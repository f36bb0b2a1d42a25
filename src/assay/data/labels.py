"""All labels of a data set, without its items where its source can tell them apart."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from assay.core.session import Dataset
from assay.core.tensor import Array


@runtime_checkable
class Labels(Protocol):
    """What a `Dataset` may have beside its streams."""

    def read_labels(self) -> Array | None:
        """The stored labels of all items, ``[n, ...]``; None where there are none, or they differ in shape.

        Raises:
            DataError: they cannot be read.
        """
        ...


def read_labels(dataset: Dataset) -> Array | None:
    """The stored labels of all items, ``[n, ...]``; None where there are none, or they cannot be told apart.

    Raises:
        DataError: they cannot be read.
    """
    return dataset.read_labels() if isinstance(dataset, Labels) else None
