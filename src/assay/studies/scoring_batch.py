"""How many items are scored in a call: as many as their outputs leave memory for."""

from __future__ import annotations

import math

import numpy as np

from assay.core.session import Dataset
from assay.core.tensor import Feeds, Signature, TensorSpec
from assay.data.bucketing import find_bucketed
from assay.data.seeking import take_items

SCORING_BATCH = 32
OUTPUT_BYTES = 256 << 20
"""Of one call: a language model gives a number for every word that it knows, behind every token."""


def find_scoring_batch(signature: Signature, dataset: Dataset) -> int:
    """Items per call, such that the outputs of the longest item so many times take ``OUTPUT_BYTES`` at most.

    Axes of the outputs that no input has are taken as 1: what they hold is not known before the model has run.

    Args:
        signature: of the model.
        dataset: whose items are scored.

    Raises:
        DataError: an item cannot be read.
    """
    batch = take_longest(dataset)
    sizes = read_axes(signature, batch)
    taken = sum(count_bytes(spec, sizes) for spec in signature.outputs) * (count_rows(batch))
    return int(np.clip(OUTPUT_BYTES // max(taken, 1), 1, SCORING_BATCH))


def take_longest(dataset: Dataset) -> Feeds:
    """Feeds of the longest item; of the first one where all are equally long."""
    bucketed = find_bucketed(dataset)
    if bucketed is None:
        return next(iter(dataset.batches(1))).feeds
    place = np.array([int(np.argmax(bucketed.lengths))], np.int64)
    return next(iter(take_items(dataset, place, 1))).feeds


def count_rows(feeds: Feeds) -> int:
    """Rows that one item is."""
    return len(next(iter(feeds.values())))


def read_axes(signature: Signature, feeds: Feeds) -> dict[str, int]:
    """Size of each named axis behind the items, from one item."""
    return {
        axis: size
        for spec in signature.inputs
        if spec.shape is not None and spec.name in feeds
        for axis, size in zip(spec.shape[1:], feeds[spec.name].shape[1:], strict=False)
        if isinstance(axis, str)
    }


def count_bytes(spec: TensorSpec, sizes: dict[str, int]) -> int:
    """Bytes of one row of an output."""
    try:
        width = np.dtype(spec.dtype).itemsize
    except TypeError:
        width = 1
    behind = (spec.shape or ())[1:]
    return width * math.prod(axis if isinstance(axis, int) else sizes.get(axis or "", 1) for axis in behind)
