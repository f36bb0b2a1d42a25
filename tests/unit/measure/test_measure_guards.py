"""Guards on outputs: what must fire, what must stay silent, and that batches make no difference."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from measure_samples import ArrayDataset, FunctionSession
from numpy.typing import NDArray

from assay.core.fault import Fault, FaultKind
from assay.core.tensor import Array
from assay.measure.guards import MOST_CHANNELS, GuardSummary, OutputGuard, find_faults
from assay.measure.quality import score_dataset
from assay.measure.tasks.classification import Classification

Floats = NDArray[np.float32]
ITEMS = 300


def watch(values: Array, batch: int = 32) -> GuardSummary:
    guard = OutputGuard()
    for start in range(0, len(values), batch):
        part = values[start : start + batch]
        guard.add({"y": part}, len(part))
    return guard.summarise()


def compare(before: Array, after: Array) -> tuple[Fault, ...]:
    return find_faults(watch(before), watch(after))


def draw(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def quantize(values: Floats, steps: int = 255, clip: float = 1.0) -> Floats:
    """Rounded as a runtime with one scale for the tensor does it, its range cut to ``clip`` of what it reaches."""
    low, high = min(0.0, float(values.min())) * clip, max(0.0, float(values.max())) * clip
    scale = (high - low) / steps
    return np.asarray(np.clip(np.rint(values / scale), np.rint(low / scale), np.rint(high / scale)) * scale, np.float32)


def put(values: Floats, place: tuple[object, ...], value: float) -> Floats:
    changed = values.copy()
    changed[place] = value
    return changed


@pytest.mark.parametrize("shape", [(ITEMS, 10), (ITEMS, 40, 10), (ITEMS, 10, 5, 6)])
@pytest.mark.parametrize(("value", "kind"), [(0.0, FaultKind.ALL_ZERO), (7.0, FaultKind.CONSTANT)])
def test_a_dead_channel_is_named(shape: tuple[int, ...], value: float, kind: FaultKind) -> None:
    healthy = draw(*shape)
    axis = 1 if len(shape) == 4 else len(shape) - 1
    place: list[object] = [slice(None)] * len(shape)
    place[axis] = 3
    (fault,) = compare(healthy, put(healthy, tuple(place), value))
    assert (fault.kind, fault.tensor, fault.axis, fault.channels, fault.of) == (kind, "y", axis, (3,), 10)
    assert fault.items == ITEMS
    assert "channel 3 of 10" in fault.words
    assert f"all of {ITEMS}" in fault.words


@pytest.mark.parametrize("shape", [(ITEMS,), (ITEMS, 10), (ITEMS, 40, 10)])
def test_a_dead_output_is_told_as_a_whole(shape: tuple[int, ...]) -> None:
    (fault,) = compare(draw(*shape), np.zeros(shape, np.float32))
    assert (fault.kind, fault.whole) == (FaultKind.ALL_ZERO, True)


def test_an_output_that_differs_by_place_alone_is_constant() -> None:
    """A grid of boxes that no picture moves."""
    healthy = draw(ITEMS, 40, 4)
    (fault,) = compare(healthy, np.broadcast_to(healthy[:1], healthy.shape))
    assert (fault.kind, fault.whole) == (FaultKind.CONSTANT, True)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_no_number_is_enough(value: float) -> None:
    healthy = draw(ITEMS, 10)
    (fault,) = compare(healthy, put(healthy, (5, 2), value))
    assert (fault.kind, fault.channels, fault.items) == (FaultKind.NONFINITE, (2,), 1)
    assert not compare(put(healthy, (9, 2), value), put(healthy, (5, 2), value))
    assert not compare(put(healthy, (5, 2), value), healthy)


def test_nothing_but_nan_is_told_as_that_alone() -> None:
    (fault,) = compare(draw(ITEMS, 10), np.full((ITEMS, 10), np.nan, np.float32))
    assert (fault.kind, fault.whole, fault.items) == (FaultKind.NONFINITE, True, ITEMS)


def stop_above(values: Floats) -> Floats:
    return np.minimum(values, 0.3)


def stop_below(values: Floats) -> Floats:
    return np.maximum(values, 0)


def push_up(values: Floats) -> Floats:
    return np.where(values > -0.5, values.max(), values)


def stop_both(values: Floats) -> Floats:
    return np.clip(values, -0.8, 0.8)


@pytest.mark.parametrize("spoil", [stop_above, stop_below, stop_both, push_up])
def test_a_rail_that_the_reference_does_not_know_is_saturation(spoil: Callable[[Floats], Floats]) -> None:
    healthy = draw(ITEMS, 10)
    (fault,) = compare(healthy, spoil(healthy))
    assert (fault.kind, fault.whole) == (FaultKind.SATURATED, True)
    spoiled = healthy.copy()
    spoiled[:, 4] = spoil(healthy)[:, 4]
    (fault,) = compare(healthy, spoiled)
    assert (fault.kind, fault.channels) == (FaultKind.SATURATED, (4,))


def test_a_channel_that_hardly_varies_is_as_good_as_constant() -> None:
    healthy = draw(ITEMS, 10)
    faint = healthy.copy()
    faint[:, 4] = 3 + 0.05 * healthy[:, 4]
    (fault,) = compare(healthy, faint)
    assert (fault.kind, fault.channels) == (FaultKind.CONSTANT, (4,))
    assert "hardly varies over" in fault.words
    faint[:, 4] = 3 + 0.2 * healthy[:, 4]
    assert not compare(healthy, faint)


def test_scores_lost_beside_large_boxes_are_dead() -> None:
    """Boxes of hundreds of pixels and scores within 1 in one tensor with one scale: the scores all round to zero."""
    rng = np.random.default_rng(1)
    boxes = rng.uniform(0, 640, (ITEMS, 20, 4))
    for classes in (1, 20):
        scores = rng.beta(0.2, 3, (ITEMS, 20, classes))
        healthy = np.concatenate([boxes, scores], axis=2).astype(np.float32)
        (fault,) = compare(healthy, quantize(healthy))
        assert (fault.kind, fault.axis) == (FaultKind.ALL_ZERO, 2)
        assert set(fault.channels) <= set(range(4, 4 + classes))
        assert fault.channels


def softmax(values: Floats) -> Floats:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def draw_logits(rng: np.random.Generator, items: int) -> Floats:
    return np.asarray(rng.normal(0, rng.uniform(0.2, 6), (items, 12)) + rng.normal(0, 3, 12), np.float32)


def draw_probabilities(rng: np.random.Generator, items: int) -> Floats:
    return softmax(np.asarray(rng.normal(0, 4, (items, 200)) + rng.normal(0, 4, 200), np.float32))


def draw_sparse(rng: np.random.Generator, items: int) -> Floats:
    return np.asarray(np.maximum(rng.normal(rng.uniform(-4, 1, 64), 1, (items, 64)), 0), np.float32)


def draw_heavy(rng: np.random.Generator, items: int) -> Floats:
    return np.asarray(rng.standard_t(3, (items, 16)) * np.exp(rng.normal(0, 0.7, 16)), np.float32)


def draw_maps(rng: np.random.Generator, items: int) -> Floats:
    return np.asarray(rng.normal(rng.normal(0, 1, (1, 6, 1, 1)), 1, (items, 6, 5, 5)), np.float32)


def draw_detections(rng: np.random.Generator, items: int) -> Floats:
    """Scores of 30 classes in 25 cells, most classes rare."""
    shown = rng.random((items, 25, 30)) < rng.uniform(0, 0.02, 30)
    return np.asarray(np.where(shown, rng.uniform(0.1, 1, shown.shape), rng.beta(0.1, 30, shown.shape)), np.float32)


KINDS = [draw_logits, draw_probabilities, draw_sparse, draw_heavy, draw_maps, draw_detections]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("items", [5, 60, 400])
def test_healthy_variants_never_fire(kind: Callable[[np.random.Generator, int], Floats], items: int) -> None:
    """Noise of inner layers, a biased channel, clipping and rounding to 8 bits with one scale for the tensor."""
    for seed in range(25):
        rng = np.random.default_rng(seed)
        healthy = kind(rng, items)
        reach = float(healthy.max() - healthy.min())
        assert not compare(healthy, healthy)
        assert not compare(healthy, quantize(healthy))
        assert not compare(healthy, quantize(healthy, clip=0.9 if kind is not draw_probabilities else 1.0))
        noisy = healthy + rng.normal(0, 0.01 * reach, healthy.shape)
        noisy += rng.normal(0, 0.005 * reach, healthy.shape[1:])
        bounded = np.maximum(noisy, 0) if healthy.min() >= 0 else noisy
        assert not compare(healthy, np.asarray(bounded, np.float32))


def test_few_items_prove_nothing_dead() -> None:
    healthy = draw(12, 10)
    assert not compare(healthy, np.zeros_like(healthy))
    assert compare(draw(60, 10), np.zeros((60, 10), np.float32))


def test_what_is_dead_in_the_reference_too_is_no_fault() -> None:
    healthy = put(draw(ITEMS, 10), (slice(None), 3), 0.0)
    assert not compare(healthy, healthy * 1.01)
    assert not compare(healthy, put(healthy, (slice(None), 3), 2.0))


def test_a_constant_that_the_reference_has_may_not_become_zero() -> None:
    healthy = put(draw(ITEMS, 10), (slice(None), 3), 2.0)
    (fault,) = compare(healthy, put(healthy, (slice(None), 3), 0.0))
    assert (fault.kind, fault.channels) == (FaultKind.ALL_ZERO, (3,))


def test_a_reference_that_moves_on_a_handful_of_items_proves_nothing() -> None:
    healthy = draw(ITEMS, 10)
    healthy[:, 3] = 0
    healthy[:5, 3] = 3
    assert not compare(healthy, put(healthy, (slice(None), 3), 0.0))


def test_labels_have_no_rails_but_may_be_dead() -> None:
    labels = np.random.default_rng(0).integers(0, 10, ITEMS)
    assert not compare(labels, np.minimum(labels, 6))
    (fault,) = compare(labels, np.full_like(labels, 4))
    assert fault.kind is FaultKind.CONSTANT
    assert "(4)" in fault.words


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_other_floats_are_watched(dtype: str) -> None:
    import ml_dtypes  # noqa: PLC0415 - registers bfloat16, for this test alone

    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    healthy = draw(ITEMS, 10)
    assert not compare(healthy, healthy.astype(kind))
    (fault,) = compare(healthy, put(healthy, (slice(None), 3), 0.0).astype(kind))
    assert fault.channels == (3,)


@pytest.mark.parametrize("batch", [1, 7, 300])
def test_batches_make_no_difference(batch: int) -> None:
    healthy = np.round(draw(ITEMS, 4, 6), 1)
    healthy[17, 2, 1] = np.nan
    whole, parts = watch(healthy, 300), watch(healthy, batch)
    for axis, moments in whole.tensors["y"].items():
        assert parts.tensors["y"][axis].pack()[:5].tolist() == moments.pack()[:5].tolist()
        np.testing.assert_allclose(parts.tensors["y"][axis].live, moments.live, rtol=1e-6)
        np.testing.assert_allclose(parts.tensors["y"][axis].mean, moments.mean, rtol=1e-6, atol=1e-9)


def test_the_spread_counts_the_items_that_vary() -> None:
    values = np.zeros((1000, 3), np.float32)
    values[:6, 0] = 5
    values[:, 1] = draw(1000)
    live = watch(values).tensors["y"][1].live
    assert live[0] == pytest.approx(6, rel=0.05)
    assert live[1] == pytest.approx(1000 / 3, rel=0.15)
    assert live[2] == 0


def test_huge_values_are_survived() -> None:
    healthy = draw(ITEMS, 3).astype(np.float64) * 1e300
    assert not compare(healthy, healthy)


def test_outputs_that_are_not_items_count_once_a_call() -> None:
    guard = OutputGuard()
    for count in range(40):
        guard.add({"boxes": draw(count % 5, 6, seed=count), "texts": np.array(["a"] * 7)}, 7)
    (view,) = guard.summarise().tensors.values()
    assert int(view[0].items[0]) == sum(1 for count in range(40) if count % 5)


def test_an_axis_that_changes_its_length_is_watched_no_longer() -> None:
    guard = OutputGuard()
    for length in (4, 5, 4):
        guard.add({"y": draw(8, length, 6)}, 8)
    assert set(guard.summarise().tensors["y"]) == {0, 2}


def test_memory_does_not_grow_with_items_or_channels() -> None:
    guard = OutputGuard()
    value = draw(4, MOST_CHANNELS + 1)
    guard.add({"y": value}, 4)
    assert set(guard.summarise().tensors["y"]) == {0}
    block = draw(8, 500)
    guard.add({"z": block}, 8)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(200):
        guard.add({"z": block}, 8)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 200_000


def test_it_survives_being_stored() -> None:
    healthy = draw(ITEMS, 4, 6)
    broken = put(healthy, (slice(None), slice(None), 2), 0.0)
    arrays = watch(broken).pack() | {"predictions": np.zeros(3)}
    read = GuardSummary.unpack(arrays)
    assert read is not None
    assert find_faults(watch(healthy), read) == compare(healthy, broken)
    assert GuardSummary.unpack({"predictions": np.zeros(3)}) is None


def test_scoring_feeds_the_guard_without_the_filling() -> None:
    items = draw(10, 4)
    guard = OutputGuard()
    data = ArrayDataset(items, np.zeros(10, np.int64))
    score_dataset(FunctionSession(lambda x: {"y": x}, batch=4), data, Classification(), 32, lambda _: None, guard)
    moments = guard.summarise().tensors["y"][1]
    assert moments.items.tolist() == [10] * 4
    np.testing.assert_allclose(moments.mean, items.mean(axis=0), rtol=1e-5)
