"""Feeds of exactly one call, filled up where there are too few items."""

from __future__ import annotations

import numpy as np

from assay.core.session import Dataset
from assay.core.tensor import Feeds


def count_feeds(feeds: Feeds) -> int:
    """Items on the first axis."""
    return len(next(iter(feeds.values())))


def fill_up(feeds: Feeds, size: int) -> Feeds:
    """Feeds of exactly ``size`` items: the given ones, repeated in turn where they are fewer."""
    count = count_feeds(feeds)
    if count == size:
        return feeds
    index = np.arange(size) % count
    return {name: np.ascontiguousarray(array[index]) for name, array in feeds.items()}


def take_sample(dataset: Dataset, size: int) -> Feeds:
    """Feeds of one call from the first items of a data set."""
    return fill_up(next(iter(dataset.batches(size))).feeds, size)
