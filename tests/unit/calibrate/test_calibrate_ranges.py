from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from assay.calibrate.ranges import solve_range, solve_ranges
from assay.calibrate.ranges.squared_error import TAIL_LOSS
from assay.calibrate.statistics import observe_array
from assay.core.calibration import Calibration, TensorRange
from assay.core.errors import DataError
from assay.core.plan import IntegerDialect, Scheme
from assay.core.precision import IntegerFormat, Placement, RangeMethod

COUNT = 20_000
Make = Callable[[np.random.Generator], NDArray[np.float64]]


def swish(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x / (1 + np.exp(-x))


SHAPES: dict[str, Make] = {
    "normal": lambda rng: rng.normal(size=COUNT),
    "relu": lambda rng: np.maximum(rng.normal(size=COUNT), 0),
    "relu6": lambda rng: np.clip(4 * rng.normal(size=COUNT), 0, 6),
    "negative": lambda rng: -rng.exponential(size=COUNT),
    "laplace": lambda rng: rng.laplace(size=COUNT),
    "shifted": lambda rng: rng.normal(3.0, 1.0, COUNT),
    "swish": lambda rng: swish(3 * rng.normal(size=COUNT)),
    "student": lambda rng: rng.standard_t(3, COUNT),
    "huge": lambda rng: 1e30 * rng.normal(size=COUNT),
    "small": lambda rng: 1e-30 * rng.normal(size=COUNT),
}


def draw(name: str) -> NDArray[np.float64]:
    return SHAPES[name](np.random.default_rng(5)).astype(np.float32).astype(np.float64)


def quantize(x: NDArray[np.float64], limits: TensorRange, *, symmetric: bool) -> NDArray[np.float64]:
    """Float64 fake quantization."""
    if symmetric:
        scale, low, high = limits.high / 127, -128, 127
    else:
        scale = (limits.high - limits.low) / 255
        low = -round(-limits.low / scale)
        high = 255 + low
    return scale * np.clip(np.rint(x / scale), low, high)


def cost(x: NDArray[np.float64], limits: TensorRange, *, symmetric: bool) -> float:
    return float(np.square(x - quantize(x, limits, symmetric=symmetric)).sum())


def cuts_badly(x: NDArray[np.float64], limits: TensorRange) -> bool:
    """Whether the values that a range clips lose more of their energy than the solver may take."""
    for beyond, clip in ((x[x > limits.high], limits.high), (x[x < limits.low], limits.low)):
        if clip and beyond.size and np.square(beyond - clip).sum() > 1.1 * TAIL_LOSS * np.square(beyond).sum():
            return True
    return False


def search(x: NDArray[np.float64], *, symmetric: bool) -> float:
    """Least cost over a dense grid of clips, on the samples themselves."""
    shares = np.linspace(0.3, 1, 36)
    low, high = min(x.min(), 0.0), max(x.max(), 0.0)
    if symmetric:
        most = max(-low, high)
        ranges = [TensorRange(-share * most, share * most) for share in shares]
    else:
        below = shares if low else shares[-1:]
        above = shares if high else shares[-1:]
        ranges = [TensorRange(one * low, other * high) for one in below for other in above]
    return min(cost(x, limits, symmetric=symmetric) for limits in ranges if not cuts_badly(x, limits))


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_least_squares_matches_a_search_on_the_samples(name: str, symmetric: bool) -> None:  # noqa: FBT001 parametrised
    x = draw(name)
    found = solve_range(observe_array(x), RangeMethod.MSE, IntegerFormat.U8, symmetric)
    assert cost(x, found, symmetric=symmetric) <= 1.03 * search(x, symmetric=symmetric)
    assert not cuts_badly(x, found)
    assert found.low <= 0 <= found.high


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("name", ["normal", "laplace"])
def test_least_squares_beats_min_max_on_bell_shapes(name: str, symmetric: bool) -> None:  # noqa: FBT001 parametrised
    x = draw(name)
    widest = solve_range(observe_array(x), RangeMethod.MIN_MAX, IntegerFormat.U8, symmetric)
    found = solve_range(observe_array(x), RangeMethod.MSE, IntegerFormat.U8, symmetric)
    assert cost(x, found, symmetric=symmetric) < 0.99 * cost(x, widest, symmetric=symmetric)


def test_few_large_values_are_not_cut() -> None:
    rng = np.random.default_rng(2)
    scores = np.r_[0.01 * rng.random(1_000_000), [0.9]]
    assert solve_range(observe_array(scores), RangeMethod.MSE, IntegerFormat.U8, symmetric=False).high > 0.65
    spike = np.r_[rng.random(1_000_000), 1000.0]
    assert solve_range(observe_array(spike), RangeMethod.MSE, IntegerFormat.U8, symmetric=False).high > 700


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
