from dataclasses import replace

import numpy as np
import pytest
from range_samples import SHAPES, cost, draw, list_ranges, measure_divergence, measure_tail_loss

from assay.calibrate.ranges import solve_range, solve_ranges
from assay.calibrate.ranges.percentile import solve_percentile
from assay.calibrate.ranges.problem import RangeProblem
from assay.calibrate.ranges.squared_error import TAIL_LOSS
from assay.calibrate.statistics import observe_array
from assay.core.calibration import Calibration, TensorRange
from assay.core.errors import DataError
from assay.core.plan import IntegerDialect, Scheme
from assay.core.precision import IntegerFormat, Placement, RangeMethod

LEAST_SQUARES = {RangeMethod.MSE: 0.0, RangeMethod.WEIGHTED_MSE: 1.0}
"""Method -> power of the magnitude that it weighs errors by."""


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("method", LEAST_SQUARES)
@pytest.mark.parametrize("name", SHAPES)
def test_least_squares_matches_a_search_on_the_samples(
    name: str,
    method: RangeMethod,
    symmetric: bool,  # noqa: FBT001 parametrised
) -> None:
    x, power = draw(name), LEAST_SQUARES[method]
    found = solve_range(observe_array(x), method, IntegerFormat.U8, symmetric)
    least = min(
        cost(x, limits, symmetric=symmetric, power=power)
        for limits in list_ranges(x, symmetric=symmetric)
        if measure_tail_loss(x, limits, symmetric=symmetric) <= TAIL_LOSS
    )
    assert cost(x, found, symmetric=symmetric, power=power) <= 1.03 * least
    assert measure_tail_loss(x, found, symmetric=symmetric) <= 1.1 * TAIL_LOSS
    assert found.low <= 0 <= found.high


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("name", ["normal", "laplace"])
def test_least_squares_beats_min_max_on_bell_shapes(name: str, symmetric: bool) -> None:  # noqa: FBT001 parametrised
    x = draw(name, 200_000)
    statistics = observe_array(x)
    ranges = {m: solve_range(statistics, m, IntegerFormat.U8, symmetric) for m in RangeMethod}
    errors = {method: cost(x, limits, symmetric=symmetric) for method, limits in ranges.items()}
    assert errors[RangeMethod.MSE] < 0.99 * errors[RangeMethod.MIN_MAX]
    assert ranges[RangeMethod.MSE].high < ranges[RangeMethod.WEIGHTED_MSE].high < ranges[RangeMethod.MIN_MAX].high


@pytest.mark.parametrize("percentile", [50.0, 90.0, 99.0, 99.97, 99.991, 100.0])
@pytest.mark.parametrize("name", SHAPES)
def test_percentiles_lie_in_the_bins_of_the_sorted_values(name: str, percentile: float) -> None:
    x = draw(name)
    statistics, values = observe_array(x), x[x != 0]
    rest = (1 - percentile / 100) / 2
    low, high = np.quantile(values, [rest, 1 - rest], method="inverted_cdf")
    found = solve_percentile(RangeProblem(statistics, symmetric=False), percentile)
    assert found.low == pytest.approx(min(low, 0), rel=1 / 128)
    assert found.high == pytest.approx(max(high, 0), rel=1 / 128)
    limit = np.quantile(np.abs(values), percentile / 100, method="inverted_cdf")
    found = solve_percentile(RangeProblem(statistics, symmetric=True), percentile)
    assert found.high == -found.low == pytest.approx(limit, rel=1 / 128)


def test_all_percent_are_every_value() -> None:
    for name in SHAPES:
        for symmetric in (False, True):
            problem = RangeProblem(observe_array(draw(name)), symmetric=symmetric)
            assert solve_percentile(problem, 100.0) == problem.widest


def test_zeros_are_no_part_of_a_percentage() -> None:
    x = np.abs(draw("normal"))
    dense, sparse = observe_array(x), observe_array(np.r_[x, np.zeros(10_000_000)])
    found = [solve_range(s, RangeMethod.PERCENTILE, IntegerFormat.U8, symmetric=False) for s in (dense, sparse)]
    assert found[0] == found[1]
    assert found[0].high < x.max()


def test_the_moving_average_is_the_mean_of_the_items_extremes() -> None:
    items = draw("normal").reshape(100, -1) * np.linspace(1, 3, 100)[:, None]
    lows, highs = items.min(axis=1), items.max(axis=1)
    statistics = replace(observe_array(items), items=100, total_low=lows.sum(), total_high=highs.sum())
    found = solve_range(statistics, RangeMethod.MOVING_AVERAGE, IntegerFormat.U8, symmetric=False)
    assert (found.low, found.high) == pytest.approx((lows.mean(), highs.mean()))
    found = solve_range(statistics, RangeMethod.MOVING_AVERAGE, IntegerFormat.S8, symmetric=True)
    assert found.high == -found.low == pytest.approx(max(-lows.mean(), highs.mean()))


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_moving_average_falls_back_to_min_max(symmetric: bool) -> None:  # noqa: FBT001 parametrised
    unknown = replace(observe_array(draw("normal")), items=0, total_low=0.0, total_high=0.0)
    opposite = replace(observe_array(np.float32([-3, 3])), items=2, total_low=0.0, total_high=0.0)
    for statistics in (unknown, opposite):
        widest, found = (
            solve_range(statistics, method, IntegerFormat.S8, symmetric)
            for method in (RangeMethod.MIN_MAX, RangeMethod.MOVING_AVERAGE)
        )
        assert found == widest


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("name", ["normal", "relu", "negative", "laplace", "shifted", "swish", "student"])
def test_entropy_matches_a_search_on_the_samples(name: str, symmetric: bool) -> None:  # noqa: FBT001 parametrised
    x = draw(name, 200_000)
    found = solve_range(observe_array(x), RangeMethod.ENTROPY, IntegerFormat.U8, symmetric)
    x, codes = x[x != 0], 256
    if symmetric:
        x, codes, found = np.abs(x), 128, TensorRange(0.0, found.high)
    counts, edges = np.histogram(x, 2048, (min(x.min(), 0.0), max(x.max(), 0.0)))
    counts, zero = counts.astype(np.float64), round(-2048 * edges[0] / (edges[-1] - edges[0]))
    shares = np.linspace(0.15, 1, 12 if 0 < zero < 2048 else 100)
    tried = [
        measure_divergence(counts, zero - below, zero + above, codes)
        for below in np.unique(np.rint(shares * zero).astype(int))
        for above in np.unique(np.rint(shares * (2048 - zero)).astype(int))
        if below + above >= codes
    ]
    first, last = (int(np.abs(edges - limit).argmin()) for limit in (found.low, found.high))
    assert measure_divergence(counts, first, last, codes) <= 1.05 * min(tried)


def test_entropy_clips_what_is_rare_and_keeps_what_is_even() -> None:
    spike = np.r_[draw("normal"), 60.0]
    assert solve_range(observe_array(spike), RangeMethod.ENTROPY, IntegerFormat.U8, symmetric=False).high < 20
    even = np.linspace(-1, 1, 100_001)
    assert solve_range(observe_array(even), RangeMethod.ENTROPY, IntegerFormat.U8, symmetric=False).high > 0.99


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_the_best_is_close_to_the_best_by_either_measure(name: str, symmetric: bool) -> None:  # noqa: FBT001 parametrised
    x = draw(name, 200_000)
    statistics = observe_array(x)
    ranges = {m: solve_range(statistics, m, IntegerFormat.U8, symmetric) for m in RangeMethod}
    assert ranges[RangeMethod.BEST] in [limits for method, limits in ranges.items() if method is not RangeMethod.BEST]
    errors = {m: [cost(x, r, symmetric=symmetric, power=p) for p in (0, 1)] for m, r in ranges.items()}
    allowed = [
        method
        for method, limits in ranges.items()
        if errors[method][0] <= errors[RangeMethod.MIN_MAX][0]
        and measure_tail_loss(x, limits, symmetric=symmetric) <= TAIL_LOSS
    ]
    least = np.min([errors[method] for method in allowed], axis=0)
    regrets = {method: (np.array(errors[method]) / least).max() for method in allowed}
    assert (np.array(errors[RangeMethod.BEST]) / least).max() <= 1.04 * min(regrets.values())
    assert errors[RangeMethod.BEST][0] <= 1.001 * errors[RangeMethod.MIN_MAX][0]


def test_the_best_is_not_always_the_same_method() -> None:
    chosen = set()
    for name in ("normal", "relu6", "student", "laplace"):
        statistics = observe_array(draw(name))
        ranges = {m: solve_range(statistics, m, IntegerFormat.U8, symmetric=False) for m in RangeMethod}
        chosen.add(next(method for method, limits in ranges.items() if limits == ranges[RangeMethod.BEST]))
    assert len(chosen) > 1


def test_few_large_values_are_not_cut() -> None:
    rng = np.random.default_rng(2)
    scores = observe_array(np.r_[0.01 * rng.random(1_000_000), [0.9]])
    spike = observe_array(np.r_[rng.random(1_000_000), 1000.0])
    for method in (RangeMethod.MSE, RangeMethod.WEIGHTED_MSE, RangeMethod.BEST):
        assert solve_range(scores, method, IntegerFormat.U8, symmetric=False).high > 0.65
        assert solve_range(spike, method, IntegerFormat.U8, symmetric=False).high > 700


def test_one_sided_tensors_use_all_codes() -> None:
    for method in RangeMethod:
        assert solve_range(observe_array(draw("relu")), method, IntegerFormat.U8, symmetric=False).low == 0
        assert solve_range(observe_array(draw("negative")), method, IntegerFormat.U8, symmetric=False).high == 0


def test_a_clipped_activation_keeps_its_limit() -> None:
    assert solve_range(observe_array(draw("relu6")), RangeMethod.MSE, IntegerFormat.U8, symmetric=False).high == 6.0


@pytest.mark.parametrize("method", RangeMethod)
@pytest.mark.parametrize(
    ("value", "asymmetric", "symmetric"),
    [
        (0.0, TensorRange(0, 0), TensorRange(0, 0)),
        (5.0, TensorRange(0, 5), TensorRange(-5, 5)),
        (-3.0, TensorRange(-3, 0), TensorRange(-3, 3)),
        (2.0**-140, TensorRange(0, 2.0**-140), TensorRange(-(2.0**-140), 2.0**-140)),
        (2.0**100, TensorRange(0, 2.0**100), TensorRange(-(2.0**100), 2.0**100)),
    ],
)
def test_a_constant_tensor_is_its_own_limit(
    method: RangeMethod, value: float, asymmetric: TensorRange, symmetric: TensorRange
) -> None:
    statistics = observe_array(np.full(100, value, np.float32))
    assert solve_range(statistics, method, IntegerFormat.U8, symmetric=False) == asymmetric
    assert solve_range(statistics, method, IntegerFormat.S8, symmetric=True) == symmetric


def test_min_max_holds_every_value_and_zero() -> None:
    statistics = observe_array(np.float32([2.0, 3.0]))
    assert solve_range(statistics, RangeMethod.MIN_MAX, IntegerFormat.U8, symmetric=False) == TensorRange(0, 3)
    assert solve_range(statistics, RangeMethod.MIN_MAX, IntegerFormat.S8, symmetric=True) == TensorRange(-3, 3)


def test_all_tensors_of_a_scheme_with_a_finite_value_are_solved() -> None:
    scheme = Scheme(IntegerDialect(IntegerFormat.S8, symmetric=True), Placement.CHAIN, RangeMethod.MIN_MAX)
    good, bad = observe_array(np.float32([1.0, -2.0, np.inf])), observe_array(np.float32([np.nan]))
    assert solve_ranges(Calibration({"a": good, "b": bad}, "", 1), scheme) == {"a": TensorRange(-2, 2)}


def test_nothing_finite_has_no_range() -> None:
    with pytest.raises(DataError, match="without a finite value"):
        solve_range(observe_array(np.float32([np.inf])), RangeMethod.MSE, IntegerFormat.U8, symmetric=False)
