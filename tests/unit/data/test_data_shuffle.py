from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from assay.core.errors import DataError, RequestError
from assay.core.session import Batch
from assay.data.shuffle import ShuffledDataset, shuffle


class Rows:
    """Items whose values tell their index; counts the batches that were read."""

    fingerprint = "rows"

    def __init__(self, n: int, *, labelled: bool = True, growing: bool = False) -> None:
        self._n = n
        self._growing = growing
        self.labelled = labelled
        self.read = 0

    def __len__(self) -> int:
        return self._n

    def batches(self, size: int) -> Iterator[Batch]:
        if self._growing:
            size = 1
        for start in range(0, self._n, size):
            self.read += 1
            rows = np.arange(start, min(start + size, self._n))
            width = start + 1 if self._growing else 3
            x = np.repeat(rows, width).reshape(len(rows), width).astype(np.float32)
            feeds = {"x": x, "ids": np.stack([rows, rows], axis=1)}
            yield Batch(feeds, rows.astype(np.int64) * 10 if self.labelled else None, start)


def list_items(dataset: ShuffledDataset, size: int) -> list[int]:
    return [int(row) for batch in dataset.batches(size) for row in batch.feeds["x"][:, 0]]


def test_items_come_in_the_random_order_with_their_labels() -> None:
    with shuffle(Rows(50), 20, np.random.default_rng(0)) as mixed:
        batches = list(mixed.batches(8))
        assert [(batch.start, batch.size) for batch in batches] == [(0, 8), (8, 8), (16, 4)]
        seen = np.concatenate([batch.feeds["x"][:, 0] for batch in batches]).astype(np.int64)
        np.testing.assert_array_equal(seen, mixed.order)
        np.testing.assert_array_equal(np.concatenate([batch.feeds["ids"][:, 1] for batch in batches]), seen)
        np.testing.assert_array_equal(np.concatenate([np.asarray(batch.targets) for batch in batches]), seen * 10)
        assert len(set(seen.tolist())) == len(mixed) == 20
        assert sorted(seen.tolist()) != seen.tolist()


def test_every_pass_and_every_batch_size_gives_the_same_order() -> None:
    with shuffle(Rows(30), 30, np.random.default_rng(1)) as mixed:
        assert list_items(mixed, 7) == list_items(mixed, 1) == mixed.order.tolist()


def test_the_data_set_behind_is_read_once() -> None:
    rows = Rows(40)
    with shuffle(rows, 40, np.random.default_rng(2)) as mixed:
        for _ in range(3):
            list_items(mixed, 10)
    assert rows.read == 4


def test_two_passes_at_once_do_not_disturb_each_other() -> None:
    with shuffle(Rows(12), 12, np.random.default_rng(3)) as mixed:
        first, second = mixed.batches(3), mixed.batches(4)
        next(first)
        next(second)
        rest = [int(row) for batch in first for row in batch.feeds["x"][:, 0]]
        assert rest == mixed.order[3:].tolist()


def test_every_item_is_as_likely_to_come_first() -> None:
    rng = np.random.default_rng(4)
    counts = np.bincount([shuffle(Rows(4), 2, rng).order[0] for _ in range(2000)], minlength=4)
    assert counts.min() > 420


def test_the_first_items_can_be_taken_in_their_own_order() -> None:
    mixed = shuffle(Rows(50), 20, np.random.default_rng(5))
    chosen = mixed.choose_first(6)
    rows = [int(row) for batch in chosen.batches(4) for row in batch.feeds["x"][:, 0]]
    assert rows == sorted(mixed.order[:6].tolist())


def test_unlabelled_items_stay_unlabelled() -> None:
    with shuffle(Rows(5, labelled=False), 5, np.random.default_rng(0)) as mixed:
        assert not mixed.labelled
        assert all(batch.targets is None for batch in mixed.batches(2))


def test_items_of_different_shapes_come_one_at_a_time() -> None:
    with shuffle(Rows(6, growing=True), 6, np.random.default_rng(0)) as mixed:
        widths = [batch.feeds["x"].shape[1] for batch in mixed.batches(1)]
        assert widths == [index + 1 for index in mixed.order]
        with pytest.raises(DataError, match="bring items to one shape"):
            list(mixed.batches(2))


def test_fingerprints_tell_orders_apart() -> None:
    prints = {shuffle(Rows(9), n, np.random.default_rng(seed)).fingerprint for n in (5, 9) for seed in (0, 1)}
    assert len(prints) == 4
    assert shuffle(Rows(9), 5, np.random.default_rng(0)).fingerprint in prints


def test_no_items_are_refused() -> None:
    with pytest.raises(RequestError):
        shuffle(Rows(9), 0, np.random.default_rng(0))


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("the system has no full device")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: full.open("wb", buffering=0))
    with pytest.raises(DataError, match=r"9 items cannot be kept in .*No space left"):
        list(shuffle(Rows(9), 9, np.random.default_rng(0)).batches(3))
