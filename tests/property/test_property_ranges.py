"""What every range solver keeps, whatever the tensor holds."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from assay.calibrate.ranges import solve_range
from assay.calibrate.ranges.percentile import solve_percentile
from assay.calibrate.ranges.problem import RangeProblem
from assay.calibrate.ranges.squared_error import TAIL_LOSS
from assay.calibrate.statistics import observe_array
from assay.core.calibration import TensorStatistics
from assay.core.precision import IntegerFormat, RangeMethod
from assay.graph.scales import encode_activation

Floats = NDArray[np.float32]
LARGEST = float(np.finfo(np.float32).max)
TINIEST = 2.0**-149
SHAPE = st.tuples(st.integers(1, 4), st.integers(1, 20))

ANY = st.floats(width=32, allow_nan=False, allow_infinity=False)
KINDS = {
    "any": ANY,
    "positive": st.floats(0, LARGEST, width=32),
    "negative": st.floats(-LARGEST, 0, width=32),
    "away from zero": st.floats(1, 2, width=32),
    "all zero": st.just(0.0),
    "denormal": st.integers(-(2**22), 2**22).map(lambda number: number * TINIEST),
    "huge": st.floats(LARGEST / 4, LARGEST, width=32).flatmap(lambda x: st.sampled_from([x, -x])),
    "usual": st.floats(-10, 10, width=32),
}


@st.composite
def tensors(draw: st.DrawFn) -> Floats:
    """Items of one kind of values, or all of one value."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    shape = draw(SHAPE)
    if draw(st.integers(0, 3)) == 0:
        return np.full(shape, draw(KINDS[kind]), np.float32)
    return draw(arrays(np.float32, shape, elements=KINDS[kind]))


def observe(values: Floats) -> TensorStatistics:
    """Statistics that know the items of the first axis."""
    rows = values.astype(np.float64)
    return replace(
        observe_array(values),
        items=len(rows),
        total_low=float(rows.min(axis=1).sum()),
        total_high=float(rows.max(axis=1).sum()),
    )


@settings(max_examples=150, deadline=None)
@given(tensors(), st.sampled_from(RangeMethod), st.booleans())
def test_a_range_holds_zero_and_never_exceeds_the_values(
    values: Floats,
    method: RangeMethod,
    symmetric: bool,  # noqa: FBT001 drawn
) -> None:
    statistics = observe(values)
    limits = solve_range(statistics, method, IntegerFormat.U8, symmetric)
    least, most = min(statistics.low, 0.0), max(statistics.high, 0.0)
    if symmetric:
        least, most = -statistics.largest, statistics.largest
        assert limits.low == -limits.high
    assert least <= limits.low <= 0 <= limits.high <= most
    assert (limits.high > limits.low) == bool(statistics.largest)
    if method is RangeMethod.MIN_MAX:
        assert (limits.low, limits.high) == (least, most)


@settings(max_examples=150, deadline=None)
@given(tensors(), st.sampled_from(RangeMethod), st.sampled_from(IntegerFormat), st.booleans())
def test_a_value_inside_the_range_is_off_by_half_a_step_at_most(
    values: Floats,
    method: RangeMethod,
    activation: IntegerFormat,
    symmetric: bool,  # noqa: FBT001 drawn
) -> None:
    limits = solve_range(observe(values), method, activation, symmetric)
    encoding = encode_activation(limits, activation, symmetric)
    scale = float(encoding.scale)
    x = np.append(values.astype(np.float64), [limits.low, limits.high, 0.0])
    x = x[(x >= limits.low) & (x <= limits.high)]
    codes = np.clip(np.rint(x / scale) + encoding.zero_point, activation.lowest, activation.highest)
    # The scale is rounded to float32, which 255 steps carry to the last code.
    assert (np.abs((codes - encoding.zero_point) * scale - x) <= scale * (0.5 + 255 * 2.0**-24)).all()
    assert activation.lowest <= encoding.zero_point <= activation.highest
    if symmetric:
        assert encoding.zero_point == (0 if activation is IntegerFormat.S8 else 128)


@settings(max_examples=150, deadline=None)
@given(tensors(), st.lists(st.floats(0.01, 100), min_size=2, max_size=8), st.booleans())
def test_a_larger_percentile_is_never_narrower(
    values: Floats,
    percentiles: list[float],
    symmetric: bool,  # noqa: FBT001 drawn
) -> None:
    problem = RangeProblem(observe(values), symmetric=symmetric)
    ranges = [solve_percentile(problem, percentile) for percentile in sorted(percentiles)]
    for narrow, wide in pairwise(ranges):
        assert wide.low <= narrow.low
        assert narrow.high <= wide.high
    assert solve_percentile(problem, 100.0) == problem.widest


@settings(max_examples=150, deadline=None)
@given(tensors(), st.sampled_from([RangeMethod.MSE, RangeMethod.BEST]), st.booleans())
def test_least_squares_and_the_best_never_lose_to_min_max(
    values: Floats,
    method: RangeMethod,
    symmetric: bool,  # noqa: FBT001 drawn
) -> None:
    statistics = observe(values)
    problem = RangeProblem(statistics, symmetric=symmetric)
    if problem.blank:
        return
    found = solve_range(statistics, method, IntegerFormat.U8, symmetric)
    scales, codes = zip(*(problem.encode(limits) for limits in (found, problem.widest)), strict=True)
    scales, lowest = np.array(scales), np.array(codes, np.float64)[:, None]
    errors = problem.errors.measure_error(scales, lowest)
    assert errors[0] <= errors[1] * 1.0000001
    assert problem.errors.measure_tail_loss(scales, lowest)[0] <= TAIL_LOSS * 1.0000001


@settings(max_examples=100, deadline=None)
@given(arrays(np.float32, (6, 5), elements=KINDS["usual"]), st.permutations(range(6)), st.sampled_from(RangeMethod))
def test_the_order_of_the_items_changes_no_range(values: Floats, order: list[int], method: RangeMethod) -> None:
    one, other = (
        solve_range(observe(each), method, IntegerFormat.U8, symmetric=False) for each in (values, values[order])
    )
    assert np.allclose([one.low, one.high], [other.low, other.high], rtol=1e-12)
