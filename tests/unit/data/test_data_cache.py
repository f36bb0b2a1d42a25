from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from assay.core.errors import RequestError
from assay.core.session import Batch
from assay.data.cache import BLOCK_BYTES, remember
from assay.data.subset import every, first


class Counted:
    """Ten items that count how often they are read."""

    fingerprint = "f"
    labelled = True

    def __init__(self) -> None:
        self.read = 0

    def __len__(self) -> int:
        return 10

    def batches(self, size: int) -> Iterator[Batch]:
        for start in range(0, 10, size):
            values = np.arange(start, min(10, start + size))
            self.read += len(values)
            yield Batch(feeds={"x": values.astype(np.float32)}, targets=values, start=start)


def values(batches: Iterator[Batch]) -> list[list[int]]:
    return [batch.feeds["x"].astype(int).tolist() for batch in batches]


ITEM_BYTES = 4 + 8


def test_the_first_whole_pass_is_kept() -> None:
    counted = Counted()
    dataset = remember(counted, 10 * ITEM_BYTES + 3 * BLOCK_BYTES)
    assert values(dataset.batches(4)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert values(dataset.batches(3)) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert values(dataset.batches(100)) == [list(range(10))]
    assert counted.read == 10


def test_starts_and_targets_follow() -> None:
    dataset = remember(Counted(), 10_000)
    list(dataset.batches(4))
    again = list(dataset.batches(3))
    assert [batch.start for batch in again] == [0, 3, 6, 9]
    assert [batch.targets.tolist() for batch in again if batch.targets is not None][1] == [3, 4, 5]


def test_above_the_limit_every_pass_streams() -> None:
    counted = Counted()
    dataset = remember(counted, 10 * ITEM_BYTES + 3 * BLOCK_BYTES - 1)
    for _ in range(3):
        assert values(dataset.batches(4))[2] == [8, 9]
    assert counted.read == 30


def test_a_pass_that_stops_early_is_not_kept() -> None:
    counted = Counted()
    dataset = remember(counted, 10_000)
    next(iter(dataset.batches(4)))
    assert values(dataset.batches(5)) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert counted.read == 14


def test_it_is_the_same_data_set() -> None:
    dataset = remember(Counted(), 10_000)
    assert (dataset.fingerprint, dataset.labelled, len(dataset)) == ("f", True, 10)


def test_first_reads_no_further_than_needed() -> None:
    counted = Counted()
    subset = first(counted, 3)
    assert values(subset.batches(2)) == [[0, 1], [2]]
    assert len(subset) == 3
    assert counted.read == 4
    assert subset.fingerprint != first(counted, 4).fingerprint


def test_first_of_fewer_items_is_the_data_set_itself() -> None:
    counted = Counted()
    assert first(counted, 10) is counted
    assert first(counted, 99) is counted


def test_every_picks_items_and_numbers_them_anew() -> None:
    subset = every(Counted(), [1, 4, 5, 9])
    batches = list(subset.batches(3))
    assert values(iter(batches)) == [[1, 4, 5], [9]]
    assert [batch.start for batch in batches] == [0, 3]
    assert batches[1].targets is not None
    assert batches[1].targets.tolist() == [9]


@pytest.mark.parametrize("indices", [[], [1, 1], [2, 1], [-1, 3], [3, 10]])
def test_indices_must_rise_within_the_items(indices: Sequence[int]) -> None:
    with pytest.raises(RequestError, match="rising indices from 0 to 9"):
        every(Counted(), indices)


def test_first_needs_a_number() -> None:
    with pytest.raises(RequestError, match="0 items are asked for"):
        first(Counted(), 0)


def test_impossible_batch_sizes() -> None:
    for dataset in (remember(Counted(), 100), first(Counted(), 3)):
        with pytest.raises(RequestError, match="batch size is 0"):
            dataset.batches(0)
