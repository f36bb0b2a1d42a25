"""The calls that latency is measured with, where items differ in length: drawn from the data's own lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.core.item_lengths import ItemLengths
from assay.core.session import Batch, Dataset
from assay.core.tensor import Feeds
from assay.data.bucketing import BucketedDataset, find_bucketed
from assay.data.subset import every
from assay.studies.sample import fill_up

MOST_CALLS = 256
LEAST_CALLS = 32
MOST_BYTES = 64 << 20
"""Of all calls together; above the least, calls with large inputs are fewer."""
SEED = 0
"""Of the order of the calls and of the items in them: the same in every study, so that it can be repeated."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Calls as they come, each of items of one length.

    Attributes:
        calls: in the order in which they are sent, again and again.
        lengths: ``[calls]``, of the items of each.
        shares: length -> share of the items of the data that have it.
    """

    calls: tuple[Feeds, ...]
    lengths: tuple[int, ...]
    shares: Mapping[int, float]

    @property
    def typical(self) -> Feeds:
        """A call of the median length."""
        ranked = sorted(range(len(self.calls)), key=lambda index: self.lengths[index])
        return self.calls[ranked[len(ranked) // 2]]

    def measure(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Length of the items of each timed call, ``[rounds * calls] int64``, from which calls they were."""
        found: NDArray[np.int64] = np.array(self.lengths, np.int64)[order.reshape(-1)]
        return found


def draw_traffic(dataset: Dataset, size: int) -> Traffic | None:
    """Calls of ``size`` rows each; None where all items are equally long, so that any call is like another.

    A call holds items of one length, as a server would put them together, and the calls of each length are as
    frequent as its items in the data. Within a length items are drawn at random.

    Args:
        dataset: a whole data set.
        size: rows of a call.
    """
    bucketed = find_bucketed(dataset)
    if bucketed is None or np.unique(bucketed.kinds).size == 1:
        return None
    rng = np.random.default_rng(SEED)
    first = next(iter(bucketed.batches(1)))
    items = -(-size // first.rows)
    largest = sum(array.nbytes for array in first.feeds.values()) / first.rows * size
    largest *= float(bucketed.lengths.max() / bucketed.lengths[0])
    count = int(np.clip(MOST_BYTES // max(1, largest), LEAST_CALLS, MOST_CALLS))
    chosen = [_draw_items(bucketed, kind, items, rng) for kind in _draw_kinds(bucketed.kinds, count, rng)]
    read = _read_items(bucketed, np.unique(np.concatenate(chosen)))
    calls = tuple(fill_up(_join([read[item] for item in call.tolist()], size), size) for call in chosen)
    lengths = tuple(int(bucketed.lengths[call[0]]) for call in chosen)
    values, counts = np.unique(bucketed.lengths, return_counts=True)
    shares = {int(value): float(count) / len(bucketed) for value, count in zip(values, counts, strict=True)}
    return Traffic(calls, lengths, shares)


def state_lengths(dataset: Dataset, traffic: Traffic) -> ItemLengths | None:
    """What the record says of items of different lengths."""
    bucketed = find_bucketed(dataset)
    if bucketed is None:
        return None
    values, counts = np.unique(bucketed.lengths, return_counts=True)
    return ItemLengths(
        buckets=bucketed.rule.buckets,
        counts=tuple(zip(values.tolist(), counts.tolist(), strict=True)),
        cut=bucketed.count_cut(),
        seed=SEED,
        calls=len(traffic.calls),
    )


def _draw_kinds(kinds: NDArray[np.int64], count: int, rng: np.random.Generator) -> list[int]:
    """The kind of each call, in random order: each as often as its items are, to within one call."""
    places = (np.arange(count) + 0.5) / count * len(kinds)
    drawn = np.sort(kinds)[places.astype(np.int64)]
    found: list[int] = rng.permutation(drawn).tolist()
    return found


def _draw_items(bucketed: BucketedDataset, kind: int, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Different items of a kind, as many as there are up to ``size``."""
    own = np.flatnonzero(bucketed.kinds == kind)
    found: NDArray[np.int64] = rng.permutation(own)[:size].astype(np.int64)
    return found


def _read_items(bucketed: BucketedDataset, items: NDArray[np.int64]) -> Mapping[int, Batch]:
    batches = every(bucketed, items.tolist()).batches(1)
    return dict(zip(items.tolist(), batches, strict=True))


def _join(parts: Sequence[Batch], size: int) -> Feeds:
    """The feeds of some items as one call of at most ``size`` rows."""
    names = parts[0].feeds
    return {name: np.concatenate([part.feeds[name] for part in parts])[:size] for name in names}
