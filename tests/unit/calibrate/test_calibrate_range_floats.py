"""Ranges of 8-bit floats against a search on the samples themselves."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from range_samples import SHAPES, draw

from assay.calibrate.ranges import solve_float_range, solve_float_ranges
from assay.calibrate.ranges.eight_bit_floats import STRETCHES
from assay.calibrate.statistics import observe_array
from assay.core.calibration import Calibration
from assay.core.errors import DataError
from assay.core.plan import FloatDialect, FloatScheme
from assay.core.precision import RangeMethod


def cost(x: np.ndarray, limit: float) -> float:
    """Sum of squared errors of rounding the samples under a limit."""
    scale = limit / 448
    codes = np.clip(x / scale, -448, 448).astype(ml_dtypes.float8_e4m3fn).astype(np.float64)
    return float(np.square(x - codes * scale).sum())


@pytest.mark.parametrize("name", SHAPES)
def test_least_squares_matches_a_search_on_the_samples(name: str) -> None:
    x = draw(name)
    statistics = observe_array(x.astype(np.float32))
    found = solve_float_range(statistics, RangeMethod.MSE)
    assert found.low == -found.high
    assert cost(x, found.high) <= cost(x, statistics.largest) * 1.02
    safe = [stretch for stretch in STRETCHES if stretch >= 1]
    assert cost(x, found.high) <= min(cost(x, statistics.largest * stretch) for stretch in safe) * 1.03


def test_least_squares_moves_the_steps_to_where_values_are() -> None:
    x = np.random.default_rng(2).normal(1.0, 0.01, 4000)
    statistics = observe_array(np.append(x, 1.45).astype(np.float32))
    widest, found = (solve_float_range(statistics, method).high for method in (RangeMethod.MIN_MAX, RangeMethod.MSE))
    assert widest == pytest.approx(1.45)
    assert cost(x, found) < 0.2 * cost(x, widest)


def test_few_large_values_are_not_cut() -> None:
    x = np.append(np.full(100_000, 1e-3), 0.9)
    found = solve_float_range(observe_array(x.astype(np.float32)), RangeMethod.MSE)
    assert found.high > 0.6


def test_all_tensors_with_a_finite_value_are_solved() -> None:
    tensors = {"x": observe_array(np.float32([1, -2])), "z": observe_array(np.zeros(3, np.float32))}
    scheme = FloatScheme(FloatDialect(), RangeMethod.MSE)
    calibration = Calibration({**tensors, "none": observe_array(np.zeros(0, np.float32))}, "", 1)
    found = solve_float_ranges(calibration, scheme)
    assert set(found) == {"x", "z"}
    assert found["z"].high == 0
    with pytest.raises(DataError, match="no range"):
        solve_float_range(calibration.tensors["none"], RangeMethod.MSE)


def test_methods_of_integers_are_refused() -> None:
    with pytest.raises(DataError, match="by min-max or mse, not by entropy"):
        solve_float_range(observe_array(np.float32([1, 2])), RangeMethod.ENTROPY)
