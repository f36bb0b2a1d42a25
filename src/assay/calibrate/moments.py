"""Observation of the second moments of layer inputs: one pass over some positions of every item.

A layer of ``K`` inputs needs some multiple of ``K`` vectors, however many positions the data holds, so of every item
only as many positions are taken as make up that number over the whole set. They are spread evenly by a sequence of
low discrepancy, and each item continues where the one before it stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import DataError
from assay.core.moments import LayerInput, LayerMoments, Window
from assay.core.session import Dataset, Session
from assay.core.tensor import Array

VECTORS_PER_INPUT = 4
LEAST_VECTORS = 2048
GOLDEN = (math.sqrt(5) - 1) / 2
CHUNK_BYTES = 16 << 20
"""Vectors that are multiplied at once."""


class MomentsBuilder:
    """Accumulates the moments of one layer.

    Args:
        layer: what to observe.
        items: in the whole set, from which the positions taken of each item follow.
    """

    def __init__(self, layer: LayerInput, items: int) -> None:
        self._layer = layer
        self._share = math.ceil(max(LEAST_VECTORS, VECTORS_PER_INPUT * layer.size) / max(1, items))
        self._gram = np.zeros((layer.groups, layer.size, layer.size))
        self._total = np.zeros((layer.groups, layer.size))
        self._count = 0

    def add(self, values: Array, start: int, items: int) -> None:
        """Take in the layer's input on one batch.

        Args:
            values: ``[items, C, ...]`` of a convolution, ``[..., K]`` of a product, float.
            start: index of the first item in the set.
            items: in this batch.

        Raises:
            DataError: the tensor does not have the layer's size.
        """
        layer = self._layer
        axis, wanted = (values.ndim - 1, layer.size) if layer.window is None else (1, self._count_channels())
        if values.ndim < 1 + (layer.window is not None) or values.shape[axis] != wanted:
            shape = list(values.shape)
            raise DataError(f"tensor {layer.tensor!r} of shape {shape} does not fit layer {layer.node!r} ({wanted})")
        plain = np.ascontiguousarray(values, np.float32)
        if layer.window is None:
            rows = plain.reshape(-1, layer.size)
            chosen = spread(start * self._share, self._share * items, len(rows))
            self._add_vectors(rows[chosen][None])
            return
        step = max(1, CHUNK_BYTES // (8 * self._share * layer.size * layer.groups))
        for first in range(0, len(plain), step):
            part = plain[first : first + step]
            self._add_vectors(cut_patches(part, layer.window, layer.groups, self._share, start + first))

    def _count_channels(self) -> int:
        """Channels of the convolution's input."""
        window = self._layer.window
        return self._layer.groups * self._layer.size // (math.prod(window.kernel) if window is not None else 1)

    def _add_vectors(self, vectors: NDArray[np.float32]) -> None:
        """Add ``[G, N, K]`` vectors, those that are not finite left out."""
        finite = np.isfinite(vectors).all(axis=(0, 2))
        vectors = vectors if finite.all() else vectors[:, finite]
        self._gram += vectors.swapaxes(1, 2) @ vectors
        self._total += vectors.sum(axis=1, dtype=np.float64)
        self._count += vectors.shape[1]

    def build(self) -> LayerMoments:
        """Moments of everything added so far."""
        return LayerMoments(self._gram.copy(), self._total.copy(), self._count)


def spread(start: int, count: int, total: int) -> NDArray[np.int64]:
    """``count`` of ``total`` indices, evenly spread, from the ``start``-th term of a golden ratio sequence on.

    All indices in order where there are not more than ``count``.
    """
    if total <= count:
        return np.arange(total)
    places = np.mod(np.arange(start, start + count) * GOLDEN, 1.0) * total
    indices: NDArray[np.int64] = np.minimum(places.astype(np.int64), total - 1)
    return indices


def cut_patches(
    values: NDArray[np.float32], window: Window, groups: int, share: int, start: int
) -> NDArray[np.float32]:
    """Input vectors of a convolution at some output positions of every item.

    Args:
        values: ``[n, C, *spatial]``.
        window: of the convolution.
        groups: of the convolution, ``G``.
        share: positions taken of every item.
        start: index of the first item.

    Returns:
        ``[G, n * positions, C / G * taps]``; channels outermost in the last axis, as in the convolution's weight.
    """
    items, channels, *spatial = values.shape
    places = [window.locate(axis, length) for axis, length in enumerate(spatial)]
    total = math.prod(len(place) for place in places)
    chosen = np.stack([spread((start + item) * share, share, total) for item in range(items)])
    flat = np.zeros((*chosen.shape, 1), np.int64)
    inside = np.ones(flat.shape, np.bool_)
    for axis, index in enumerate(np.unravel_index(chosen, [len(place) for place in places])):
        reads = places[axis][index]  # [n, P, taps of this axis]
        fits = (reads >= 0) & (reads < spatial[axis])
        flat = (flat[..., None] * spatial[axis] + np.where(fits, reads, 0)[:, :, None, :]).reshape(*chosen.shape, -1)
        inside = (inside[..., None] & fits[:, :, None, :]).reshape(*chosen.shape, -1)
    plane = values.reshape(items, channels, -1)
    taken = np.take_along_axis(plane, flat.reshape(items, 1, -1), axis=2).reshape(items, channels, *flat.shape[1:])
    taken = np.where(inside[:, None], taken, np.float32(0))  # [n, C, P, T]
    grouped = taken.reshape(items, groups, channels // groups, *flat.shape[1:]).transpose(1, 0, 3, 2, 4)
    return grouped.reshape(groups, items * chosen.shape[1], -1)


def observe_moments(
    session: Session,
    dataset: Dataset,
    layers: Sequence[LayerInput],
    batch: int,
    on_batch: Callable[[int], None] | None = None,
) -> Mapping[str, LayerMoments]:
    """Moments of the inputs of some layers over a data set, at constant memory.

    Args:
        session: the FP32 model with the layers' input tensors among its inputs and outputs.
        dataset: what to run it on.
        layers: what to observe; those that read the same vectors share their moments.
        batch: items per call (>= 1).
        on_batch: told the number of items observed so far, after every call.

    Returns:
        Node name -> moments.

    Raises:
        DataError: the set is empty, or a tensor is missing or does not fit its layer.
        RunFailed: the runtime refused the feeds or failed.
    """
    builders = {identify(layer): MomentsBuilder(layer, len(dataset)) for layer in layers}
    items = 0
    for part in dataset.batches(batch):
        observed = {**session.run(part.feeds), **part.feeds}
        for (tensor, *_), builder in builders.items():
            if tensor not in observed:
                raise DataError(f"tensor {tensor!r} cannot be observed: it is neither an input nor an output")
            builder.add(observed[tensor], part.start, part.size)
        items += part.size
        if on_batch is not None:
            on_batch(items)
    if not items:
        raise DataError("the calibration set holds no items", "give at least one; some hundreds are usual")
    built = {key: builder.build() for key, builder in builders.items()}
    return {layer.node: built[identify(layer)] for layer in layers}


def identify(layer: LayerInput) -> tuple[str, int, int, Window | None]:
    """What tells layers apart that read different vectors."""
    return layer.tensor, layer.size, layer.groups, layer.window


def merge_moments(parts: Sequence[LayerMoments]) -> LayerMoments:
    """Moments of the union of what the parts observed of one layer.

    Raises:
        ValueError: there are no parts.
    """
    if not parts:
        raise ValueError("nothing to merge")
    grams, totals = [part.gram for part in parts], [part.total for part in parts]
    return LayerMoments(np.sum(grams, axis=0), np.sum(totals, axis=0), sum(part.count for part in parts))
