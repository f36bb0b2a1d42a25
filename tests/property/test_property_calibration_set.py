"""What a calibration set is called depends on its items alone."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from assay.core.session import Batch
from assay.data.set_items import ItemsWriter, WrittenItems, survey_items

DTYPES = st.sampled_from(["float32", "float64", "float16", "int64", "uint8", "bool"])


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Items of one to three inputs, with labels or without."""
    count = draw(st.integers(1, 6))
    names = draw(st.lists(st.sampled_from(["a", "b", "x/y", "ids"]), min_size=1, max_size=3, unique=True))
    feeds = {}
    for name in names:
        shape = draw(array_shapes(min_dims=0, max_dims=2, max_side=3)) if draw(st.booleans()) else ()
        feeds[name] = draw(arrays(draw(DTYPES), (count, *shape)))
    targets = draw(st.none() | arrays("int64", (count,)))
    return Batch(feeds, targets, 0)


def write(batch: Batch, step: int, folder: Path) -> WrittenItems:
    with ItemsWriter(folder, "target") as writer:
        for low in range(0, batch.size, step):
            feeds = {name: array[low : low + step] for name, array in batch.feeds.items()}
            writer.add(Batch(feeds, None if batch.targets is None else batch.targets[low : low + step], low))
        return writer.finish(folder / "items.npz")


@given(batches(), st.integers(1, 6), st.integers(1, 6))
def test_the_address_is_of_the_items_alone(batch: Batch, step: int, other_step: int) -> None:
    turned = Batch(
        {name: np.asfortranarray(batch.feeds[name]) for name in reversed(batch.feeds)}, batch.targets, batch.start + 3
    )
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        written = write(batch, step, Path(one))
        assert write(turned, other_step, Path(other)).address == written.address
        stored = Path(other, "stored.npz")
        with zipfile.ZipFile(Path(one, "items.npz")) as packed, zipfile.ZipFile(stored, "w") as loose:
            for name in reversed(packed.namelist()):
                loose.writestr(name, packed.read(name))
        with np.load(stored) as archive:
            again = Batch({name: archive[name] for name in batch.feeds}, None, 0)
            if batch.targets is not None:
                again = Batch(again.feeds, archive["target"], 0)
        assert survey_items([again])[0] == written.address


@given(batches(), st.data())
def test_the_address_tells_other_items_apart(batch: Batch, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(batch.feeds)))
    row = data.draw(st.integers(0, batch.size - 1))
    if not batch.feeds[name][row].nbytes:
        return
    changed = batch.feeds[name].copy()
    content = (
        changed.view(np.uint8).reshape(batch.size, -1) if changed.ndim > 1 else changed.reshape(-1, 1).view(np.uint8)
    )
    content[row, data.draw(st.integers(0, content.shape[1] - 1))] ^= 1
    other = Batch({**batch.feeds, name: changed}, batch.targets, 0)
    before, hashes = survey_items([batch])
    after, others = survey_items([other])
    assert before != after
    assert [one == two for one, two in zip(hashes, others, strict=True)] == [
        index != row for index in range(batch.size)
    ]
    if batch.targets is not None:
        assert survey_items([Batch(batch.feeds, None, 0)])[0] != before
        assert survey_items([Batch(batch.feeds, batch.targets ^ 1, 0)])[1] == hashes


@given(batches(), st.integers(1, 6))
def test_items_come_back_bit_for_bit(batch: Batch, step: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        written = write(batch, step, Path(name))
        with np.load(Path(name, "items.npz"), allow_pickle=False) as archive:
            for key, array in batch.feeds.items():
                assert archive[key].dtype == array.dtype
                assert archive[key].tobytes() == array.tobytes()
            if batch.targets is not None:
                np.testing.assert_array_equal(archive["target"], batch.targets)
    backwards = {key: array[::-1] for key, array in batch.feeds.items()}
    other, hashes = survey_items([Batch(backwards, None if batch.targets is None else batch.targets[::-1], 0)])
    if len(set(hashes)) > 1 and hashes != hashes[::-1]:
        assert other != written.address
