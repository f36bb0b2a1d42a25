import numpy as np
import pytest

from assay.calibrate.kernels_numpy import CHUNK
from assay.calibrate.statistics import StatisticsBuilder, merge, observe_array


def test_every_field_counts_what_it_says() -> None:
    values = np.float32([-2.5, 0.0, -0.0, 1.0, 4.0, np.nan, np.inf, -np.inf, 1e-42])
    statistics = observe_array(values)
    assert (statistics.low, statistics.high, statistics.largest) == (-2.5, 4.0, 4.0)
    assert (statistics.count, statistics.zeros, statistics.nonfinite) == (6, 2, 3)
    assert statistics.total == pytest.approx(2.5)
    assert statistics.total_squares == pytest.approx(6.25 + 1 + 16)
    assert statistics.histogram.sum() == 9


def test_a_bin_is_the_upper_half_of_the_float_pattern() -> None:
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    expected = np.zeros(65536, np.int64)
    for pattern in values.view(np.uint32):
        expected[pattern >> 16] += 1
    np.testing.assert_array_equal(observe_array(values).histogram, expected)


def test_arrays_larger_than_a_chunk_are_seen_whole() -> None:
    values = np.zeros(CHUNK + 3, np.float32)
    values[-1], values[0] = 7.0, -3.0
    statistics = observe_array(values)
    assert (statistics.low, statistics.high, statistics.count, statistics.zeros) == (-3.0, 7.0, CHUNK + 3, CHUNK + 1)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_float_types_count_as_float32(dtype: type[np.floating]) -> None:
    values = np.asarray([0.5, -1.25, 3.0], dtype)
    assert observe_array(values).total == 2.25


def test_zeros_of_either_sign_alone_are_counted() -> None:
    assert [observe_array(np.float32([zero, 1.0])).zeros for zero in (0.0, -0.0)] == [1, 1]


def test_a_strided_array_is_read_by_value() -> None:
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    np.testing.assert_array_equal(observe_array(values.T[::2]).histogram, observe_array(values[:, ::2]).histogram)


def test_adding_tells_how_many_values_are_not_finite() -> None:
    assert StatisticsBuilder().add(np.float32([1.0, np.nan, np.inf])) == 2


def test_nothing_observed_has_no_count() -> None:
    statistics = observe_array(np.float32([np.nan]))
    assert (statistics.count, statistics.low, statistics.high, statistics.largest) == (0, 0.0, 0.0, 0.0)


def test_a_part_without_values_does_not_move_the_limits() -> None:
    merged = merge([observe_array(np.float32([])), observe_array(np.float32([2.0, 3.0]))])
    assert (merged.low, merged.high, merged.count) == (2.0, 3.0, 2)


def test_merging_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to merge"):
        merge([])
