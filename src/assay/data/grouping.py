"""Single items of different lengths as batches of one shape each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np

from assay.core.session import Batch, Dataset
from assay.data.batching import index_items, join_batches
from assay.data.lengths import Lengths, key_shapes


@runtime_checkable
class Ragged(Protocol):
    """What a `Dataset` has whose items may differ in length."""

    @property
    def rule(self) -> Lengths | None:
        """How items of different lengths become batches; None where all are equally long."""
        ...


def find_rule(dataset: Dataset) -> Lengths | None:
    """How the items of any data set become batches, where they differ in length; else None.

    Batches of more than one item of such a data set do not keep its order: each says the places of its items.
    """
    return dataset.rule if isinstance(dataset, Ragged) else None


def group_items(items: Iterable[Batch], size: int) -> Iterator[Batch]:
    """Batches of one item each as batches of one shape each, at most ``size`` items in one.

    A batch is given as soon as it is full; what is left of each shape comes last, the shortest first.
    """
    waiting: dict[tuple[tuple[int, ...], ...], list[Batch]] = {}
    for item in items:
        key = key_shapes(item.feeds)
        held = waiting.setdefault(key, [])
        held.append(item)
        if len(held) == size:
            yield _join(waiting.pop(key))
    for key in sorted(waiting):
        yield _join(waiting[key])


def _join(parts: list[Batch]) -> Batch:
    known = [replace(part, items=index_items(part)) for part in parts]
    places = np.array([part.start for part in parts], np.int64)
    return replace(join_batches(known, parts[0].start), places=places)
