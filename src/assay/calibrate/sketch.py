"""A sample of items that any order of observing and merging leaves the same: those of least content hash.

Bottom-k sampling (Cohen and Kaplan 2007, "Summarizing data using bottom-k sketches"): which items are kept depends on
their content alone, and an item that is kept in the end was never dropped on the way, so that its repeats are exact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from assay.core.calibration import GROUPS, ItemSketch
from assay.core.session import Batch
from assay.core.tensor import Array

MOST_ITEMS = 1024
HASH_BYTES = 8

Entry = tuple[int, int, NDArray[np.float32]]
"""Repeats, first position, features."""


def hash_items(part: Batch) -> NDArray[np.uint64]:
    """64-bit hash of every item's inputs: names, element types, shapes and bytes, ``[n]``.

    An input whose first axis is not the item counts whole for every item.
    """
    hashes = [hashlib.blake2b(digest_size=HASH_BYTES) for _ in range(part.size)]
    for name in sorted(part.feeds):
        values = part.feeds[name]
        itemised = is_itemised(values, part.size)
        for index, digest in enumerate(hashes):
            item = values[index : index + 1] if itemised else values
            digest.update(f"{name}\0{item.dtype}{item.shape[int(itemised) :]}\0".encode())
            digest.update(_view_bytes(item))
    return np.array([int.from_bytes(digest.digest(), "little") for digest in hashes], np.uint64)


def _view_bytes(values: Array) -> memoryview:
    """The bytes of an array, not copied where it lies in one piece; of strings the text."""
    if values.dtype.hasobject:
        return memoryview(repr(values.tolist()).encode())
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data


def is_itemised(values: Array, items: int) -> bool:
    """Whether the first axis of an array can be the item."""
    return values.ndim > 0 and values.shape[0] == items


def group_items(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Group of every item, ``[n]``, from the low bits: the high ones decide what a sketch keeps."""
    return (hashes % np.uint64(GROUPS)).astype(np.int64)


class SketchBuilder:
    """Collects the items of least hash; memory does not grow beyond twice as many as are kept."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._names: tuple[str, ...] = ()
        self._bound = 1 << 8 * HASH_BYTES

    def add(
        self, hashes: NDArray[np.uint64], start: int, names: tuple[str, ...], features: NDArray[np.float32]
    ) -> None:
        """Take in a batch.

        Args:
            hashes: ``[n]``.
            start: position of the first item.
            names: of the features, the same in every call.
            features: ``[n, F]``.
        """
        self._names = names
        for index, key in enumerate(hashes.tolist()):
            if key < self._bound:
                entry = (1, start + index, features[index].copy())
                known = self._entries.get(key)
                self._entries[key] = entry if known is None else join(known, entry)
        if len(self._entries) >= 2 * MOST_ITEMS:
            self._prune()

    def _prune(self) -> None:
        """Keep the items of least hash."""
        kept = sorted(self._entries)[:MOST_ITEMS]
        self._entries = {key: self._entries[key] for key in kept}
        self._bound = kept[-1] + 1

    def build(self, features: Collection[str] | None = None) -> ItemSketch:
        """The sketch of everything added so far, its features in alphabetical order.

        Args:
            features: names of those to keep; all by default.
        """
        order = [index for index in np.argsort(self._names) if features is None or self._names[index] in features]
        names = tuple(self._names[index] for index in order)
        return _compose({key: (r, p, row[order]) for key, (r, p, row) in self._entries.items()}, names)


def join(one: Entry, other: Entry) -> Entry:
    """Two observations of one item: the features of the first position, and of equal ones the lesser bytes."""
    first = min(one, other, key=lambda entry: (entry[1], entry[2].tobytes()))
    return one[0] + other[0], first[1], first[2]


def _compose(entries: Mapping[int, Entry], names: tuple[str, ...]) -> ItemSketch:
    """A sketch of the entries of least hash; a repeat at the bound counts in full."""
    kept = sorted(entries)[:MOST_ITEMS]
    rows = [entries[key] for key in kept]
    features = np.array([row[2] for row in rows], np.float32).reshape(len(rows), len(names))
    return ItemSketch(
        hashes=np.array(kept, np.uint64),
        repeats=np.array([row[0] for row in rows], np.int64),
        positions=np.array([row[1] for row in rows], np.int64),
        names=names,
        features=features,
    )


def merge_sketches(parts: Sequence[ItemSketch]) -> ItemSketch:
    """The sketch of what all parts observed, the same bits in any order and grouping.

    A feature that a part does not know is NaN for its items; a position counts in the data set of its part.
    """
    names = tuple(sorted({name for part in parts for name in part.names}))
    columns = {name: index for index, name in enumerate(names)}
    entries: dict[int, Entry] = {}
    for part in parts:
        features = np.full((len(part.hashes), len(names)), np.nan, np.float32)
        features[:, [columns[name] for name in part.names]] = part.features
        items = zip(part.hashes.tolist(), part.repeats.tolist(), part.positions.tolist(), features, strict=True)
        for key, repeats, position, row in items:
            entry, known = (repeats, position, row), entries.get(key)
            entries[key] = entry if known is None else join(known, entry)
    return _compose(entries, names)
