import numpy as np
import pytest

from assay.calibrate.clipping import measure_clipping
from assay.calibrate.statistics import observe_array
from assay.core.errors import MeasurementError


def test_it_agrees_with_rounding_and_clipping_the_values_themselves() -> None:
    values = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    low, high, step = -2.0, 2.0, 4 / 254
    found = measure_clipping(observe_array(values), low, high, step)
    clipped = np.clip(values, low, high)
    power = np.square(values, dtype=np.float64).sum()
    assert found.rate == pytest.approx(np.mean(np.abs(values) > 2 + step / 2), rel=0.02)
    assert found.clipping == pytest.approx(np.square(values - clipped).sum() / power, rel=0.05)
    rounded = np.rint(clipped / step) * step
    assert found.rounding == pytest.approx(np.square(rounded - clipped).sum() / power, rel=0.1)


def test_a_range_that_holds_everything_clips_nothing() -> None:
    values = np.random.default_rng(0).uniform(-1, 3, 1000).astype(np.float32)
    found = measure_clipping(observe_array(values), float(values.min()), float(values.max()), 4 / 255)
    assert found.rate == 0
    assert found.clipping < 1e-6


def test_zeros_alone_lose_nothing_and_nothing_has_no_rate() -> None:
    assert measure_clipping(observe_array(np.zeros(4, np.float32)), -1, 1, 0.1).rate == 0
    with pytest.raises(MeasurementError):
        measure_clipping(observe_array(np.full(4, np.nan, np.float32)), -1, 1, 0.1)
