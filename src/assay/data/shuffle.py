"""A random part of a data set in random order, although data sets stream in one order only."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import IO, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import DataError
from assay.core.session import Batch, Dataset
from assay.core.tensor import Array
from assay.data.batching import Item, check_size, collate, number_items, slice_batch
from assay.data.bucketing import BucketedDataset
from assay.data.grouping import find_rule, group_items
from assay.data.lengths import Lengths
from assay.data.subset import every


class Stored(NamedTuple):
    """Where an array of one item lies in the file."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


class ShuffledDataset:
    """A `Dataset` of ``n`` random items of another one in random order; a context manager.

    The first pass reads the other data set once, in its own order, into a temporary file; every pass then reads the
    file in the random order. So memory does not grow with the items, and whatever order they are stored in, the first
    k of them are a random sample.

    Args:
        dataset: what to choose from.
        n: items to choose (>= 1); all where there are fewer.
        rng: draws the items and their order.
    """

    def __init__(self, dataset: Dataset, n: int, rng: np.random.Generator) -> None:
        check_size(n)
        self._order: NDArray[np.int64] = rng.permutation(len(dataset))[:n]
        self._dataset = dataset
        self._rule = find_rule(dataset)
        single = dataset.single if isinstance(dataset, BucketedDataset) else dataset
        self._source = every(single, np.sort(self._order).tolist())
        self._places = np.argsort(np.argsort(self._order))
        self._file: IO[bytes] | None = None
        self._rows = 1
        self._feeds: list[dict[str, Stored]] = []
        self._targets: list[Stored] = []
        self._columns: list[dict[str, Array]] = []

    @property
    def order(self) -> NDArray[np.int64]:
        """``[n] int64``, indices in the other data set in the order of the batches."""
        return self._order.copy()

    @property
    def fingerprint(self) -> str:
        """Hash of the data set behind and the order."""
        return hashlib.sha256(self._dataset.fingerprint.encode() + b"shuffled" + self._order.tobytes()).hexdigest()

    @property
    def rule(self) -> Lengths | None:
        """As the data set behind."""
        return self._rule

    @property
    def labelled(self) -> bool:
        """Whether batches carry targets."""
        return self._dataset.labelled

    def __len__(self) -> int:
        """Number of items."""
        return len(self._order)

    def choose_first(self, n: int) -> Dataset:
        """The first ``n`` items of the random order, in the order of the other data set."""
        return every(self._dataset, np.sort(self._order[:n]).tolist())

    def batches(self, size: int) -> Iterator[Batch]:
        """All items in random order, ``size`` at a time; the last batch may be smaller.

        Items of different lengths come in batches of one length, each given as soon as it is full.

        Raises:
            DataError: an item cannot be read, or the temporary folder is full.
        """
        check_size(size)
        together = size if self._rule is None else 1
        if self._file is None:
            self._file = self._keep(together)
        batches = collate(self._read(self._file), together, lambda place: f"item {self._order[place]}")
        numbered = number_items(batches, self._order)
        return numbered if self._rule is None else group_items(numbered, size)

    def close(self) -> None:
        """Remove the temporary file; a later pass would write it anew."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self._feeds, self._targets, self._columns = [], [], []

    def __enter__(self) -> Self:
        """Enter the context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _keep(self, size: int) -> IO[bytes]:
        """Write the chosen items to a file, in the order in which they come."""
        file = tempfile.TemporaryFile(prefix="assay-shuffled-")  # noqa: SIM115 - closed with the data set
        try:
            for batch in self._source.batches(size):
                for row in range(batch.size):
                    item = slice_batch(batch, row, row + 1)
                    self._rows = item.rows
                    own = item.feeds if item.rows > 1 else {name: array[0] for name, array in item.feeds.items()}
                    self._feeds.append({name: _write(file, array) for name, array in own.items()})
                    self._columns.append({name: array[0].copy() for name, array in item.columns.items()})
                    if item.targets is not None:
                        self._targets.append(_write(file, item.targets[0]))
        except OSError as err:
            file.close()
            message = f"{len(self)} items cannot be kept in {tempfile.gettempdir()}: {err.strerror}"
            raise DataError(message, "free some room there, or name another folder in TMPDIR") from err
        except BaseException:
            file.close()
            raise
        return file

    def _read(self, file: IO[bytes]) -> Iterator[Item]:
        for place in self._places.tolist():
            feeds = {name: _read(file, stored) for name, stored in self._feeds[place].items()}
            target = _read(file, self._targets[place]) if self._targets else None
            yield Item(feeds=feeds, target=target, columns=self._columns[place], rows=self._rows)


def shuffle(dataset: Dataset, n: int, rng: np.random.Generator) -> ShuffledDataset:
    """``n`` random items of a data set in random order; close it, or use it as a context manager."""
    return ShuffledDataset(dataset, n, rng)


def _write(file: IO[bytes], array: Array) -> Stored:
    values = np.ascontiguousarray(array)
    offset = file.tell()
    file.write(values.tobytes())
    return Stored(offset, array.shape, values.dtype)


def _read(file: IO[bytes], stored: Stored) -> Array:
    file.seek(stored.offset)
    count = int(np.prod(stored.shape, dtype=np.int64))
    content = file.read(count * stored.dtype.itemsize)
    return np.frombuffer(content, stored.dtype).reshape(stored.shape)
