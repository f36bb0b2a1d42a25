"""Outputs of several calls put together: rows of items behind each other, what has no rows one entry per call.

Outputs of an open size that is not that of the items come with offsets, as the variable-size lists of Apache Arrow do
("Arrow Columnar Format", variable-size list layout): entry i lies from ``offsets[i]`` to ``offsets[i + 1]``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from assay.core.tensor import Array, Outputs, Signature, TensorSpec


def join_calls(
    calls: Sequence[Outputs], sizes: Sequence[int], signature: Signature, order: NDArray[np.int64] | None = None
) -> dict[str, Array]:
    """Outputs of calls as those of one.

    An output with a row for every item keeps its rows, ``[n, ...]``. One of a fixed size, such as a mean over the
    call or a transposed table, gets an axis of the calls in front, ``[calls, ...]``. One of an open size that is not
    that of the items, such as the boxes that were found, lies behind each other, and ``find_offsets`` tells what is
    whose. Calls of one item each are put in the order of the items; what belongs to calls of several stays as it comes.

    Args:
        calls: outputs by name, of at least one call.
        sizes: items of each call.
        signature: of the model; outputs that it does not name are taken as rows.
        order: ``[n]``, place of every item among the calls' rows; as they come where it is None.
    """
    specs = {spec.name: spec for spec in signature.outputs}
    joined: dict[str, Array] = {}
    calls, order = order_calls(calls, sizes, order)
    for name in calls[0]:
        parts = [call[name] for call in calls]
        rows = has_rows(parts, sizes)
        if not rows and is_whole(parts[0], specs.get(name)):
            parts = [part[np.newaxis] for part in parts]
        whole = join_rows(parts)
        joined[name] = whole[order] if rows and order is not None else whole
    return joined


def order_calls(
    calls: Sequence[Outputs], sizes: Sequence[int], order: NDArray[np.int64] | None
) -> tuple[Sequence[Outputs], NDArray[np.int64] | None]:
    """Calls in the order of the items where each has one item, and what is left to put in order."""
    if order is None or any(size != 1 for size in sizes):
        return calls, order
    return [calls[place] for place in order], None


def find_offsets(
    calls: Sequence[Outputs], sizes: Sequence[int], signature: Signature, order: NDArray[np.int64] | None = None
) -> dict[str, NDArray[np.int64]]:
    """Where the rows of each call begin, of the outputs of an open size that is not that of the items.

    Args:
        calls: outputs by name, of at least one call.
        sizes: items of each call.
        signature: of the model.
        order: as in ``join_calls``.

    Returns:
        ``[calls + 1]`` by output: rows ``offsets[i]`` to ``offsets[i + 1]`` are those of call i, which is item i where
        each call has one.
    """
    specs = {spec.name: spec for spec in signature.outputs}
    calls, _ = order_calls(calls, sizes, order)
    offsets = {}
    for name in calls[0]:
        parts = [call[name] for call in calls]
        if not has_rows(parts, sizes) and not is_whole(parts[0], specs.get(name)):
            offsets[name] = np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)
    return offsets


def has_rows(parts: Sequence[Array], sizes: Sequence[int]) -> bool:
    """Whether an output has a row for every item of each call."""
    return all(part.ndim > 0 and len(part) == size for part, size in zip(parts, sizes, strict=True))


def is_whole(part: Array, spec: TensorSpec | None) -> bool:
    """Whether an output is of a fixed size, or a single number, and so belongs to its call as a whole."""
    return part.ndim == 0 or (spec is not None and bool(spec.shape) and isinstance((spec.shape or (None,))[0], int))


def join_rows(parts: Sequence[Array]) -> Array:
    """An output of all calls, ``[n, ...]``; what is shorter because its items are is filled up with zeros."""
    if len({part.shape[1:] for part in parts}) == 1 or len({part.ndim for part in parts}) > 1:
        return np.concatenate(parts)
    widest = np.max([part.shape[1:] for part in parts], axis=0)
    filled = [
        np.pad(part, [(0, 0), *((0, wide - own) for wide, own in zip(widest, part.shape[1:], strict=True))])
        for part in parts
    ]
    return np.concatenate(filled)
