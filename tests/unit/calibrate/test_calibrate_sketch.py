import hashlib

import numpy as np
import pytest

from assay.calibrate import sketch as module
from assay.calibrate.features import find_channels
from assay.calibrate.observe import Observation
from assay.calibrate.sketch import SketchBuilder, group_items, hash_items, merge_sketches
from assay.core.session import Batch
from assay.core.tensor import Array

RNG = np.random.default_rng(3)


def batch(values: Array, start: int = 0, **others: Array) -> Batch:
    return Batch({"x": values, **others}, None, start)


def test_the_hash_is_of_the_content_not_of_the_place() -> None:
    values = RNG.normal(size=(4, 3)).astype(np.float32)
    hashes = hash_items(batch(values))
    np.testing.assert_array_equal(hash_items(batch(values[::-1], 7)), hashes[::-1])
    digest = hashlib.blake2b(b"x\0float32(3,)\0" + values[0].tobytes(), digest_size=8).digest()
    assert hashes[0] == int.from_bytes(digest, "little")


def test_another_shape_type_or_second_input_is_another_item() -> None:
    zeros = np.zeros((1, 4), np.float32)
    parts = [
        batch(zeros),
        batch(zeros.reshape(1, 2, 2)),
        batch(zeros.astype(np.int32)),
        batch(zeros, mask=np.array([True])),
        batch(zeros, mask=np.array([False])),
        batch(zeros, name=np.array(["a"], object)),
        batch(zeros, name=np.array(["b"], object)),
    ]
    assert len({int(hash_items(part)[0]) for part in parts}) == len(parts)


def test_groups_are_even() -> None:
    hashes = hash_items(batch(np.arange(3200, dtype=np.int64)))
    counts = np.bincount(group_items(hashes), minlength=16)
    assert counts.min() > 140
    assert len(counts) == 16


def test_the_items_of_least_hash_are_kept_with_all_their_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ITEMS", 5)
    hashes = RNG.permutation(np.repeat(np.arange(1, 41, dtype=np.uint64), 3))
    builder = SketchBuilder()
    for index, key in enumerate(hashes):
        builder.add(np.array([key]), index, ("f",), np.float32([[key]]))
    sketch = builder.build()
    assert sketch.hashes.tolist() == [1, 2, 3, 4, 5]
    assert sketch.repeats.tolist() == [3] * 5
    assert sketch.positions.tolist() == [int(np.flatnonzero(hashes == key)[0]) for key in sketch.hashes]
    assert sketch.features[:, 0].tolist() == [1, 2, 3, 4, 5]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ITEMS", 8)
    builder = SketchBuilder()
    builder.add(np.arange(1000, 0, -1).astype(np.uint64), 0, ("f",), np.zeros((1000, 1), np.float32))
    builder.add(np.arange(2000, 1000, -1).astype(np.uint64), 0, ("f",), np.zeros((1000, 1), np.float32))
    assert builder.build().hashes.tolist() == list(range(1, 9))
    assert builder.build().hashes.dtype == np.uint64


def test_features_of_parts_with_other_names_are_kept_side_by_side() -> None:
    one, other = SketchBuilder(), SketchBuilder()
    one.add(np.uint64([4, 9]), 0, ("b", "a"), np.float32([[1, 2], [3, 4]]))
    other.add(np.uint64([4, 7]), 5, ("c",), np.float32([[5], [6]]))
    merged = merge_sketches([one.build(), other.build()])
    assert (merged.names, merged.hashes.tolist(), merged.repeats.tolist()) == (("a", "b", "c"), [4, 7, 9], [2, 1, 1])
    np.testing.assert_array_equal(merged.features, [[2, 1, np.nan], [np.nan, np.nan, 6], [4, 3, np.nan]])


def test_features_are_those_of_each_item() -> None:
    values = RNG.normal(size=(5, 3, 4, 4)).astype(np.float32)
    inner = RNG.normal(size=(5, 10)).astype(np.float32)
    inner[2] = np.nan
    inner[3, 0] = np.inf
    observation = Observation(["x", "inner", "scalar"], ["x"])
    observation.add(batch(values), {"inner": inner, "scalar": np.float32(2)})
    sketch = observation.build("").sketch
    assert sketch is not None
    kinds = ("high", "low", "mean", "rms")
    assert sketch.names == (
        *(f"inner:{kind}" for kind in kinds),
        "x:high",
        "x:low",
        "x:mean",
        *(f"x:mean[{index}]" for index in range(3)),
        "x:rms",
        *(f"x:rms[{index}]" for index in range(3)),
    )
    for position, row in zip(sketch.positions, sketch.features, strict=True):
        own, item = dict(zip(sketch.names, row.tolist(), strict=True)), values[position].astype(np.float64)
        finite = inner[position][np.isfinite(inner[position])].astype(np.float64)
        assert own["x:high"] == item.max()
        assert own["x:mean"] == pytest.approx(item.mean(), abs=1e-6)
        assert own["x:rms[1]"] == pytest.approx(np.sqrt(np.square(item[1]).mean()), rel=1e-6)
        assert own["x:mean[2]"] == pytest.approx(item[2].mean(), abs=1e-6)
        if position == 2:
            assert np.isnan([own[f"inner:{kind}"] for kind in kinds]).all()
        else:
            assert own["inner:rms"] == pytest.approx(np.sqrt(np.square(finite).mean()), rel=1e-6)
            assert own["inner:low"] == finite.min()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 3, 8, 8), (1, 3)),
        ((5, 8, 8, 3), (1, 8)),
        ((5, 32, 32, 3), (3, 3)),
        ((5, 12), (1, 12)),
        ((5, 1, 28, 28), None),
        ((5,), None),
        ((4, 3, 8, 8), None),
    ],
)
def test_channels_of_an_input(shape: tuple[int, ...], expected: tuple[int, int] | None) -> None:
    assert find_channels(np.zeros(shape, np.float32), 5) == expected


def test_integers_have_no_channels() -> None:
    assert find_channels(np.zeros((5, 3), np.int64), 5) is None
