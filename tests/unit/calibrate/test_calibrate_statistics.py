from dataclasses import replace

import numpy as np
import psutil
import pytest

from assay.calibrate.kernels_numpy import CHUNK
from assay.calibrate.statistics import StatisticsBuilder, make_tables, merge, observe_array
from assay.core.errors import DataError


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


GROUPS_OF_FOUR = np.array([0, 3, 3, 15])
TABLES = make_tables()


def test_items_give_their_extremes_and_groups() -> None:
    values = np.float32([[1, -2], [3, 5], [0, 0], [np.nan, np.inf]])
    statistics = observe_array(values, GROUPS_OF_FOUR)
    assert (statistics.items, statistics.total_low, statistics.total_high) == (3, 1.0, 6.0)
    assert statistics.groups is not None
    assert statistics.groups.shape == (16, 4096)
    assert statistics.groups.sum(axis=1).tolist() == [2, 0, 0, 4, *[0] * 11, 2]
    np.testing.assert_array_equal(statistics.groups.sum(axis=0), statistics.histogram.reshape(-1, 16).sum(axis=1))


def test_an_array_without_items_takes_the_items_from_its_tensor() -> None:
    builder = StatisticsBuilder()
    builder.add(np.float32([[1.0], [2.0]]), np.array([0, 1]))
    builder.add(np.float32([4.0]))
    statistics = builder.build()
    assert (statistics.items, statistics.total_low, statistics.groups, statistics.total) == (0, 0.0, None, 7.0)


@pytest.mark.parametrize("axis", [1, -1, 2])
def test_channels_are_those_of_the_axis(axis: int) -> None:
    values = np.random.default_rng(2).normal(size=(4, 5, 3)).astype(np.float32)
    values[0, 1, 2] = np.inf
    channels = observe_array(values, GROUPS_OF_FOUR, axis).channels
    assert channels is not None
    moved = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1).astype(np.float64)
    finite = [row[np.isfinite(row)] for row in moved]
    assert channels.axis == axis
    assert channels.count.tolist() == [len(row) for row in finite]
    assert channels.low.tolist() == [row.min() for row in finite]
    assert channels.high.tolist() == [row.max() for row in finite]
    np.testing.assert_allclose(channels.total, [row.sum() for row in finite], rtol=1e-13)
    np.testing.assert_allclose(channels.total_squares, [np.square(row).sum() for row in finite], rtol=1e-13)


def test_a_channel_without_a_finite_value_has_no_count() -> None:
    channels = observe_array(np.float32([[1, np.nan], [-2, np.inf]]), np.array([0, 1]), 1).channels
    assert channels is not None
    assert (channels.low.tolist(), channels.high.tolist(), channels.count.tolist()) == ([-2, 0], [1, 0], [2, 0])


@pytest.mark.parametrize("axis", [0, 3, -4])
def test_a_missing_axis_is_refused(axis: int) -> None:
    with pytest.raises(DataError, match=f"no channels along axis {axis}"):
        observe_array(np.zeros((2, 3, 4), np.float32), np.array([0, 1]), axis)


def test_channels_may_not_change_their_number() -> None:
    builder = StatisticsBuilder(1)
    builder.add(np.zeros((2, 3), np.float32))
    with pytest.raises(DataError, match="4 channels along axis 1, 3 before"):
        builder.add(np.zeros((2, 4), np.float32))


def test_sums_far_apart_lose_nothing() -> None:
    builder = StatisticsBuilder()
    for value in (3e38, 1e-45, -3e38):
        builder.add(np.float32([value]))
    assert builder.build().total == float(np.float32(1e-45))


def test_what_may_not_be_written_is_observed_like_the_rest() -> None:
    values = np.arange(6, dtype=np.float32)
    values.flags.writeable = False
    assert observe_array(values).total == 15


def test_what_is_too_large_for_float32_is_not_finite() -> None:
    assert observe_array(np.array([1e300, 1.0])).nonfinite == 1


def test_statistics_known_as_floats_only_merge_with_others() -> None:
    exact = observe_array(np.float32([0.5, 3.0]))
    floats = replace(exact, sums=None)
    assert merge([exact, floats]).sums == merge([exact, exact]).sums


def test_a_builder_takes_memory_only_where_something_was_counted() -> None:
    del [np.zeros(1 << 22) for _ in range(2)][:]  # an allocator that has something to reuse
    values = np.random.default_rng(0).normal(size=(4, 2000)).astype(np.float32)
    before = psutil.Process().memory_info().rss
    parts = []
    for _ in range(40):
        builder = StatisticsBuilder()
        builder.add_items(values, GROUPS_OF_FOUR, TABLES)
        parts += [builder, builder.build()]
    assert len(parts) == 80
    assert psutil.Process().memory_info().rss - before < 40 << 19
