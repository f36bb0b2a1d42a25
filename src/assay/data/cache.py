"""Keeps decoded items in memory, so that many passes over a data set decode it once."""

from __future__ import annotations

from collections.abc import Iterator

from assay.core.session import Batch, Dataset
from assay.data.batching import check_size, rebatch


def remember(dataset: Dataset, limit_bytes: int) -> Dataset:
    """The same data set, whose first whole pass is kept where it takes at most ``limit_bytes``.

    Above the limit every pass streams again. The arrays given out are shared between passes: do not write to them.

    Args:
        dataset: what to remember.
        limit_bytes: most bytes of items and labels to keep.
    """
    return RememberedDataset(dataset, limit_bytes)


class RememberedDataset:
    """A `Dataset` that reads another one once where that fits into memory."""

    def __init__(self, dataset: Dataset, limit_bytes: int) -> None:
        self._dataset = dataset
        self._limit_bytes = limit_bytes
        self._kept: tuple[Batch, ...] | None = None
        self._too_large = False

    @property
    def fingerprint(self) -> str:
        """Content hash of the data set behind."""
        return self._dataset.fingerprint

    @property
    def labelled(self) -> bool:
        """Whether batches carry targets."""
        return self._dataset.labelled

    def __len__(self) -> int:
        """Number of items."""
        return len(self._dataset)

    def batches(self, size: int) -> Iterator[Batch]:
        """All items in order, ``size`` at a time; the last batch may be smaller.

        Raises:
            DataError: an item cannot be read.
        """
        check_size(size)
        if self._kept is not None:
            return rebatch(self._kept, size)
        return self._dataset.batches(size) if self._too_large else self._read_and_keep(size)

    def _read_and_keep(self, size: int) -> Iterator[Batch]:
        kept: list[Batch] = []
        total_bytes = 0
        for batch in self._dataset.batches(size):
            if not self._too_large:
                total_bytes += _count_bytes(batch)
                kept.append(batch)
                if total_bytes > self._limit_bytes:
                    self._too_large = True
                    kept.clear()
            yield batch
        # only a pass that came to its end knows all items
        if not self._too_large:
            self._kept = tuple(kept)


def _count_bytes(batch: Batch) -> int:
    labels = 0 if batch.targets is None else batch.targets.nbytes
    return labels + sum(array.nbytes for array in batch.feeds.values())
