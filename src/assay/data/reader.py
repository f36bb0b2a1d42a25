"""The seam between a file format and the data set made of it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from assay.core.session import Batch
from assay.core.tensor import Array, Signature
from assay.data.lengths import Lengths
from assay.data.source import DataSource


class Reader(Protocol):
    """Stored items in a fixed order, before preprocessing."""

    @property
    def labelled(self) -> bool:
        """Whether batches carry targets."""
        ...

    @property
    def encoded(self) -> str:
        """Name of the model input that was decoded from images (``[n, H, W, C] uint8``), or empty."""
        ...

    def __len__(self) -> int:
        """Number of items (>= 1)."""
        ...

    def digest(self) -> str:
        """SHA-256 over the content, independent of where it lies, in hexadecimal."""
        ...

    def locate(self, item: int) -> str:
        """Where an item lies, in words, for messages."""
        ...

    def read(self, size: int) -> Generator[Batch, None, None]:
        """All items in order, ``size`` at a time.

        Raises:
            DataError: an item cannot be read.
        """
        ...

    @property
    def seekable(self) -> bool:
        """Whether `read_at` leaves out what lies between the items; else it reads all up to the last of them."""
        ...

    def read_at(self, items: NDArray[np.int64], size: int) -> Generator[Batch, None, None]:
        """The items at strictly rising indices, ``size`` at a time, numbered anew from 0.

        Raises:
            DataError: an item cannot be read.
        """
        ...

    def read_columns(self) -> Mapping[str, Array]:
        """The declared columns of all items, each ``[n]``, without reading inputs where that can be.

        Raises:
            DataError: they cannot be read.
        """
        ...

    def read_labels(self) -> Array | None:
        """The labels of all items, ``[n, ...]``, without reading inputs where that can be; None where there are none.

        None, too, of labels that differ in shape: what is wrong with those shows when the items are read.

        Raises:
            DataError: they cannot be read.
        """
        ...


@runtime_checkable
class Measured(Protocol):
    """A reader whose items differ in length, and that knows how they become batches."""

    def find_lengths(self, declared: Lengths | None) -> Lengths | None:
        """What is declared, and beside it what the reader knows; None where all items are equally long."""
        ...


@runtime_checkable
class Cutting(Protocol):
    """A reader that cuts items that are too long."""

    def count_cut(self) -> int:
        """Items read so far that were cut."""
        ...


class OpenReader(Protocol):
    """Opens a file format, checking all that can be checked without reading the items."""

    def __call__(self, source: DataSource, signature: Signature) -> Reader:
        """Open.

        Raises:
            DataError: the file cannot be read, or does not hold what the model needs.
            RequestError: the declaration does not fit the format.
        """
        ...
