import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from assay.calibrate import kernels_numba, kernels_numpy
from assay.calibrate.exact import normalise_limbs, round_limbs
from assay.calibrate.floats import F32, Halves, widen_halves
from assay.calibrate.kernels import Kernels, load_kernels
from assay.calibrate.kernels_numpy import CHUNK
from assay.calibrate.layout import BINS, BLOCK, LIMBS, MOST_COUNTED, SMALL, STRIDE
from assay.calibrate.statistics import make_tables
from assay.core.calibration import COARSE_BINS, GROUPS

BOTH: tuple[Kernels, ...] = (kernels_numba, kernels_numpy)
FIRST, LAST = np.iinfo(np.int32).max, np.iinfo(np.int32).min
Arrays = tuple[NDArray[Any], ...]


def observe_items(kernels: Kernels, values: F32 | Halves, groups: NDArray[np.int64]) -> Arrays:
    histogram, coarse = np.zeros(BINS, np.int64), np.zeros((COARSE_BINS, GROUPS), np.int64)
    counts, numbers = np.empty((len(values), 2), np.int64), np.empty((len(values), 4))
    tables = make_tables()
    kernels.observe_items(values, groups, histogram, coarse, tables, counts, numbers)
    assert not tables.any()
    return histogram, coarse, counts, numbers


def observe_channels(kernels: Kernels, values: F32 | Halves) -> Arrays:
    channels = values.shape[2]
    low, high = np.full(channels, FIRST, np.int32), np.full(channels, LAST, np.int32)
    count, sums = np.zeros(channels, np.int64), np.empty((len(values), 2, channels))
    kernels.observe_channels(values, low, high, count, sums)
    limbs = np.zeros((2 * channels, LIMBS), np.int64)
    kernels.accumulate(sums.reshape(len(values), -1), limbs, np.repeat([149, 298], channels))
    return low, high, count, sums, limbs


def same(one: Arrays, other: Arrays) -> list[bool]:
    return [a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True)]


def make_patterns(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Every kind of float32: NaN of any payload, infinities, denormals, huge ones, both zeros."""
    return rng.integers(0, 1 << 32, shape, np.uint32).view(np.float32)


@pytest.mark.parametrize("size", [1, SMALL - 1, SMALL, STRIDE + 1, BLOCK, 3 * BLOCK + 77, MOST_COUNTED + 5])
def test_compiled_and_numpy_items_are_the_same_bits(size: int) -> None:
    rng = np.random.default_rng(size)
    groups = np.array([3, 15], np.int64)
    for values in (make_patterns(rng, 2, size), rng.normal(size=(2, size)).astype(np.float32)):
        for case in (values, np.maximum(values, 0)):
            assert all(same(*(observe_items(kernels, case, groups) for kernels in BOTH)))


@pytest.mark.parametrize("shape", [(2, 3, 5, 1), (2, 1, 4, 49), (1, 2, 3, 7), (1, 1, 2, 300), (2, 0, 3, 2)])
def test_compiled_and_numpy_channels_are_the_same_bits(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    for values in (make_patterns(rng, *shape), rng.normal(size=shape).astype(np.float32)):
        assert all(same(*(observe_channels(kernels, values) for kernels in BOTH)))


@pytest.mark.parametrize("kernels", BOTH)
@pytest.mark.parametrize("size", [1, SMALL - 1, STRIDE + 1, 3 * BLOCK + 77, CHUNK + 5])
def test_items_of_bfloat16_patterns_are_observed_like_their_numbers(kernels: Kernels, size: int) -> None:
    patterns = np.random.default_rng(size).integers(0, BINS, (2, size), np.uint16)
    groups = np.array([3, 15], np.int64)
    for halves in (patterns, patterns % np.uint16(0x4000)):  # the second ones are finite and not negative
        assert all(same(*(observe_items(kernels, values, groups) for values in (halves, widen_halves(halves)))))


@pytest.mark.parametrize("kernels", BOTH)
@pytest.mark.parametrize("shape", [(2, 3, 5, 1), (2, 1, 4, 49), (1, 2, 3, 7), (2, 0, 3, 2)])
def test_channels_of_bfloat16_patterns_are_observed_like_their_numbers(
    kernels: Kernels, shape: tuple[int, ...]
) -> None:
    halves = np.random.default_rng(0).integers(0, BINS, shape, np.uint16)
    assert all(same(*(observe_channels(kernels, values) for values in (halves, widen_halves(halves)))))


@pytest.mark.parametrize("kernels", BOTH)
def test_counts_of_an_item_longer_than_the_tables_hold_are_not_lost(kernels: Kernels) -> None:
    histogram, coarse, _, numbers = observe_items(
        kernels, np.full((1, 2 * MOST_COUNTED + 3), 1.0, np.float32), np.array([2])
    )
    assert histogram[0x3F80] == coarse[0x3F8, 2] == numbers[0, 0] == 2 * MOST_COUNTED + 3


@pytest.mark.parametrize("kernels", BOTH)
def test_an_item_without_finite_values_has_limits_that_no_value_has(kernels: Kernels) -> None:
    *_, counts, numbers = observe_items(kernels, np.float32([[np.nan, -np.inf]]), np.array([0]))
    assert counts.tolist() == [[2, 0]]
    assert numbers.tolist() == [[0, 0, np.inf, -np.inf]]


@pytest.mark.parametrize("kernels", BOTH)
def test_accumulated_sums_lose_no_bit(kernels: Kernels) -> None:
    tiny, huge = float(np.float32(1e-45)), float(np.float32(3.4e38))
    limbs = np.zeros((2, LIMBS), np.int64)
    for row in ([huge, tiny], [tiny, -huge], [-huge, huge], [0.0, tiny], [np.inf, -np.inf]):
        kernels.accumulate(np.array([row]), limbs, np.array([149, 149]))
    assert round_limbs(normalise_limbs(limbs), 149).tolist() == [tiny, 2 * tiny]


def test_the_compiled_kernels_are_used_where_they_can_be_had() -> None:
    assert load_kernels() is kernels_numba
    assert load_kernels(compiled=False) is kernels_numpy


def test_without_numba_numpy_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "assay.calibrate.kernels_numba", None)
    assert load_kernels.__wrapped__() is kernels_numpy


def test_where_nothing_can_be_cached_kernels_are_compiled_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def refuse_cache(*, nogil: bool, cache: bool = False) -> Callable[[Callable[[], int]], Callable[[], int]]:
        asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        assert nogil
        return lambda function: function

    monkeypatch.setattr(kernels_numba.numba, "njit", refuse_cache)
    assert kernels_numba.compile_kernel(lambda: 7)() == 7
    assert asked == [True, False]
