"""Items into batches, and batches into batches of another size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import DataError, RequestError
from assay.core.session import Batch
from assay.core.tensor import Array, Feeds
from assay.data.validation import Locate

Rows: TypeAlias = list[Array]


@dataclass(frozen=True, slots=True)
class Item:
    """One item: model inputs by name without the item axis, its label ``[...]`` or None, and its columns.

    Where an item is several rows of the inputs, ``rows`` is their number and the first axis of every input.
    """

    feeds: Feeds
    target: Array | None
    columns: Mapping[str, Array] = field(default_factory=dict)
    rows: int = 1


def check_size(size: int) -> None:
    """Refuse an impossible batch size.

    Raises:
        RequestError: the size is below 1.
    """
    if size < 1:
        raise RequestError(f"the batch size is {size}", "give 1 or more")


def collate(items: Iterable[Item], size: int, locate: Locate) -> Iterator[Batch]:
    """Stack items, ``size`` at a time; the last batch may be smaller.

    Raises:
        DataError: items of one batch differ in names, shapes or types, or some lack a label.
    """
    held: list[Item] = []
    start = 0
    for item in items:
        held.append(item)
        if len(held) == size:
            yield _stack(held, start, locate)
            start += size
            held = []
    if held:
        yield _stack(held, start, locate)


def slice_batch(batch: Batch, low: int, high: int) -> Batch:
    """Items ``low`` to ``high`` (exclusive) of a batch, counted from its start, as views."""
    return _choose(batch, slice(low, high), batch.start + low, None if batch.items is None else batch.items[low:high])


def pick_rows(batch: Batch, rows: NDArray[np.intp], start: int) -> Batch:
    """Some items of a batch as a batch of its own that starts at ``start``; copies, and says which items they are."""
    return _choose(batch, rows, start, index_items(batch)[rows])


def index_items(batch: Batch) -> NDArray[np.int64]:
    """Index of each item of a batch in the whole data, ``[n] int64``."""
    return batch.start + np.arange(batch.size, dtype=np.int64) if batch.items is None else batch.items


def pick_items(batches: Iterable[Batch], wanted: NDArray[np.int64]) -> Iterator[Batch]:
    """The items at rising places of a stream, numbered anew from 0; reads no further than the last of them."""
    if not wanted.size:
        return
    for batch in batches:
        low, high = np.searchsorted(wanted, [batch.start, batch.start + batch.size])
        if high > low:
            yield pick_rows(batch, wanted[low:high] - batch.start, int(low))
        if high == len(wanted):
            return


def gather_columns(batches: Iterable[Batch]) -> dict[str, Array]:
    """The columns of all items, each ``[n]``."""
    parts = [batch.columns for batch in batches]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def join_labels(parts: Sequence[Array]) -> Array | None:
    """Labels of consecutive items, each ``[k, ...]``, as one array; None where there are none, or shapes differ."""
    return np.concatenate(parts) if len({part.shape[1:] for part in parts}) == 1 else None


def number_items(batches: Iterable[Batch], items: NDArray[np.int64]) -> Iterator[Batch]:
    """The same batches, which say which items of the whole data they hold: ``items`` in their order."""
    for batch in batches:
        yield replace(batch, items=items[batch.start : batch.start + batch.size])


def rebatch(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    """The same items, ``size`` at a time, numbered from the first one; copies only where a batch spans two.

    Raises:
        DataError: items that fall into one batch differ in shape.
    """
    parts: list[Batch] = []
    held = 0
    start = 0
    for batch in batches:
        low = 0
        while low < batch.size:
            high = min(batch.size, low + size - held)
            parts.append(slice_batch(batch, low, high))
            held += high - low
            low = high
            if held == size:
                yield join_batches(parts, start)
                start += held
                parts, held = [], 0
    if parts:
        yield join_batches(parts, start)


def _stack(items: list[Item], start: int, locate: Locate) -> Batch:
    first = items[0]
    for offset, item in enumerate(items):
        where = locate(start + offset)
        if item.feeds.keys() != first.feeds.keys():
            message = f"{where} has the inputs {sorted(item.feeds)}, {locate(start)} has {sorted(first.feeds)}"
            raise DataError(message, "give every item the same inputs")
        if (item.target is None) is not (first.target is None):
            raise DataError(f"{where} and {locate(start)}: one has a label, the other none", "label all items or none")
    feeds = {name: stack_rows(name, [item.feeds[name] for item in items], start, locate) for name in first.feeds}
    labels: Rows = [item.target for item in items if item.target is not None]
    targets = stack_rows("target", labels, start, locate) if labels else None
    columns = {
        name: stack_column(name, [item.columns[name] for item in items], start, locate) for name in first.columns
    }
    if first.rows > 1:
        feeds = {name: array.reshape(-1, *array.shape[2:]) for name, array in feeds.items()}
    return Batch(feeds=feeds, targets=targets, start=start, columns=columns, rows=first.rows)


def stack_column(name: str, values: Rows, start: int, locate: Locate) -> Array:
    """What a column says of some items, ``[n]``; texts may differ in length.

    Raises:
        DataError: one says a text and another a number, naming both.
    """
    for offset, value in enumerate(values):
        if (value.dtype.kind == "U") is not (values[0].dtype.kind == "U"):
            message = (
                f"column {name!r} is {value.dtype} in {locate(start + offset)}, {values[0].dtype} in {locate(start)}"
            )
            raise DataError(message, "give texts or numbers, not both")
    return np.stack(values)


def stack_rows(name: str, rows: Rows, start: int, locate: Locate) -> Array:
    """Arrays of one shape and type, stacked to ``[n, ...]``.

    Args:
        name: the input, for messages.
        rows: one array per item.
        start: index of the first item.
        locate: for messages.

    Raises:
        DataError: an item differs from the first one, naming both.
    """
    for offset, row in enumerate(rows):
        if row.shape != rows[0].shape or row.dtype != rows[0].dtype:
            message = (
                f"{name!r} is {row.dtype} {list(row.shape)} in {locate(start + offset)} and "
                f"{rows[0].dtype} {list(rows[0].shape)} in {locate(start)}"
            )
            raise DataError(message, "bring items to one shape and type (crop, pad), or use batches of 1")
    return np.stack(rows)


def join_batches(parts: list[Batch], start: int) -> Batch:
    """Batches one after the other as a single one that starts at ``start``.

    Raises:
        DataError: their items differ in shape.
    """
    if len(parts) == 1:
        return replace(parts[0], start=start)
    feeds = {name: _concatenate(name, [part.feeds[name] for part in parts], start) for name in parts[0].feeds}
    labels: Rows = [part.targets for part in parts if part.targets is not None]
    targets = _concatenate("target", labels, start) if labels else None
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
    known = any(part.items is not None for part in parts)
    items = np.concatenate([index_items(part) for part in parts]) if known else None
    return Batch(feeds=feeds, targets=targets, start=start, columns=columns, items=items, rows=parts[0].rows)


def _choose(batch: Batch, rows: slice | NDArray[np.intp], start: int, items: NDArray[np.int64] | None) -> Batch:
    wide = rows if batch.rows == 1 else _widen(rows, batch.size, batch.rows)
    feeds = {name: array[wide] for name, array in batch.feeds.items()}
    columns = {name: array[rows] for name, array in batch.columns.items()}
    targets = None if batch.targets is None else batch.targets[rows]
    return Batch(feeds=feeds, targets=targets, start=start, columns=columns, items=items, rows=batch.rows)


def _widen(chosen: slice | NDArray[np.intp], size: int, rows: int) -> NDArray[np.intp]:
    """Rows of the feeds that belong to some items."""
    items: NDArray[np.intp] = np.arange(size)[chosen] if isinstance(chosen, slice) else chosen
    return (items[:, np.newaxis] * rows + np.arange(rows)).reshape(-1)


def _concatenate(name: str, rows: Rows, start: int) -> Array:
    if len({array.shape[1:] for array in rows}) > 1:
        message = f"{name!r} has items of different shapes in the batch that starts at item {start}"
        raise DataError(message, "bring items to one shape (crop, pad), or use batches of 1")
    return np.concatenate(rows)
