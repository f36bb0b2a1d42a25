"""What is observed depends on no order, batch, shard, thread or implementation, and nothing of it is lost."""

from fractions import Fraction
from itertools import pairwise
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from assay.calibrate import kernels_numba, kernels_numpy
from assay.calibrate.kernels import Kernels
from assay.calibrate.observe import Observation, merge_calibrations
from assay.calibrate.packing import pack, unpack
from assay.calibrate.statistics import StatisticsBuilder, merge, observe_array
from assay.core.calibration import Calibration, TensorStatistics
from assay.core.session import Batch

PATTERNS = st.integers(0, (1 << 32) - 1)
HARD = st.sampled_from(
    [0x0, 0x80000000, 0x1, 0x80000001, 0x7F800000, 0xFF800000, 0x7FC00001, 0x7F7FFFFF, 0xFF7FFFFF, 0x3F800000]
)
Floats = NDArray[np.float32]


def float_rows(columns: int = 6) -> st.SearchStrategy[Floats]:
    """``[n, columns]`` of any bit pattern, the hard ones often."""
    shape = st.tuples(st.integers(1, 7), st.just(columns))
    return arrays(np.uint32, shape, elements=HARD | PATTERNS).map(lambda patterns: patterns.view(np.float32))


def finite_rows() -> st.SearchStrategy[Floats]:
    """``[n, 6]`` of any finite float32."""
    shape = st.tuples(st.integers(1, 7), st.just(6))
    return arrays(np.float32, shape, elements=st.floats(width=32, allow_nan=False, allow_infinity=False))


def list_bits(value: object) -> object:
    """A noun as something that is equal only where every bit is."""
    if isinstance(value, np.ndarray):
        return value.shape, str(value.dtype), value.tobytes()
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, tuple):
        return tuple(list_bits(part) for part in value)
    if isinstance(value, dict):
        return {name: list_bits(part) for name, part in value.items()}
    fields = getattr(type(value), "__dataclass_fields__", None)
    return {name: list_bits(getattr(value, name)) for name in fields} if fields else value


def make_finite(rows: Floats) -> Floats:
    """The rows with numbers in place of NaN and infinities."""
    return np.nan_to_num(rows, nan=1.0, posinf=2.0, neginf=3.0)


def observe_rows(rows: Floats, start: int = 0, batch: int = 3, threads: int = 1) -> Calibration:
    """One run: ``x`` itself, finite; ``y`` with whatever the rows hold; a tensor without an item axis."""
    observation = Observation(["x", "y", "z"], ["x"], channels={"y": -1, "x": 1}, threads=threads)
    for begin in range(0, len(rows), batch):
        y = rows[begin : begin + batch]
        x = make_finite(y)
        z = np.concatenate([[np.float32(len(y))], np.repeat(np.float32(0.5), len(y))])
        observation.add(Batch({"x": x}, None, start + begin), {"y": y, "z": z})
    return observation.build("rows")


@settings(deadline=None)
@given(float_rows(), st.randoms(use_true_random=False), st.integers(1, 4), st.integers(1, 3))
def test_neither_order_nor_batches_nor_threads_change_a_bit(
    rows: Floats, random: Random, batch: int, threads: int
) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    one, other = observe_rows(rows), observe_rows(rows[order], batch=batch, threads=threads)
    for name in ("x", "y"):
        assert list_bits(one.tensors[name]) == list_bits(other.tensors[name])
    assert one.sketch is not None
    assert other.sketch is not None
    for field in ("hashes", "repeats", "names"):
        assert list_bits(getattr(one.sketch, field)) == list_bits(getattr(other.sketch, field))
    inputs = make_finite(rows)
    np.testing.assert_array_equal(inputs[one.sketch.positions], inputs[order][other.sketch.positions])


@settings(deadline=None)
@given(float_rows(), st.integers(0, 7), st.integers(0, 7))
def test_shards_merged_in_any_grouping_are_a_single_run(rows: Floats, first: int, second: int) -> None:
    cuts = sorted({0, min(first, len(rows)), min(second, len(rows)), len(rows)})
    shards = [observe_rows(rows[a:b], a, batch=1) for a, b in pairwise(cuts)]
    whole = observe_rows(rows, batch=1)
    merged = merge_calibrations(shards)
    assert list_bits(merged.tensors) == list_bits(dict(whole.tensors))
    assert list_bits(merged.sketch) == list_bits(whole.sketch)
    assert merged.items == whole.items
    stored = [unpack(pack(shard)) for shard in shards]
    nested = merge_calibrations([merge_calibrations(stored[:2]), *stored[2:]])
    assert list_bits(nested) == list_bits(merge_calibrations(stored[::-1])) == list_bits(merged)


@settings(deadline=None)
@given(float_rows())
def test_packing_loses_nothing(rows: Floats) -> None:
    calibration = observe_rows(rows)
    assert list_bits(unpack(pack(calibration))) == list_bits(calibration)


@settings(deadline=None)
@given(finite_rows())
def test_limits_are_exact_and_sums_are_those_of_the_items(rows: Floats) -> None:
    groups = np.zeros(len(rows), np.int64)
    statistics = observe_array(rows, groups, axis=1)
    assert (statistics.low, statistics.high) == (rows.min(), rows.max())
    single = [observe_array(row) for row in rows]
    total = sum((Fraction(part.total) for part in single), Fraction(0))
    squares = sum((Fraction(part.total_squares) for part in single), Fraction(0))
    lows = sum((Fraction(float(row.min())) for row in rows), Fraction(0))
    highs = sum((Fraction(float(row.max())) for row in rows), Fraction(0))
    assert statistics.total == float(total)
    assert statistics.total_squares == float(squares)
    assert (statistics.total_low, statistics.total_high, statistics.items) == (float(lows), float(highs), len(rows))
    channels = statistics.channels
    assert channels is not None
    # One value of each channel to an item: here the sums are those of the values themselves.
    columns = [[Fraction(float(value)) for value in column] for column in rows.T]
    assert channels.total.tolist() == [float(sum(column)) for column in columns]
    assert channels.total_squares.tolist() == [float(sum(v * v for v in column)) for column in columns]
    assert channels.low.tolist() == rows.min(axis=0).tolist()
    assert channels.high.tolist() == rows.max(axis=0).tolist()


def observe_with(kernels: Kernels, rows: Floats) -> TensorStatistics:
    """Two calls with one implementation."""
    builder = StatisticsBuilder(axis=1, kernels=kernels)
    for part in (rows, -rows[:1]):
        builder.add(part.reshape(len(part), 2, -1), np.arange(len(part)) % 16)
    return builder.build()


@settings(deadline=None)
@given(float_rows(38))
def test_compiled_and_numpy_kernels_give_the_same_bits(rows: Floats) -> None:
    assert list_bits(observe_with(kernels_numba, rows)) == list_bits(observe_with(kernels_numpy, rows))


@settings(deadline=None)
@given(st.lists(float_rows(), min_size=2, max_size=4))
def test_a_merge_is_what_one_builder_saw(parts: list[Floats]) -> None:
    builder = StatisticsBuilder(axis=1)
    shards = []
    for rows in parts:
        groups = np.arange(len(rows)) % 16
        builder.add(rows, groups)
        shards.append(observe_array(rows, groups, axis=1))
    assert list_bits(merge(shards)) == list_bits(builder.build())
