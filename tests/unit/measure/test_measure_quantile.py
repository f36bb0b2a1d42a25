import numpy as np
import pytest
from scipy import stats

from assay.core.errors import MeasurementError
from assay.measure.statistics.quantile import count_needed, estimate_quantile
from assay.measure.statistics.ratio import estimate_ratio


def test_an_upper_bound_of_p99_needs_299_samples() -> None:
    assert count_needed(0.99, 0.95) == 299
    assert count_needed(0.5, 0.95) == 5
    assert estimate_quantile(np.arange(298.0), 0.99, 0.95, "ms").high is None
    assert estimate_quantile(np.arange(299.0), 0.99, 0.95, "ms").high == 298.0


@pytest.mark.parametrize(("probability", "n"), [(0.5, 5), (0.5, 40), (0.95, 59), (0.99, 500)])
def test_the_bounds_hold_whatever_the_distribution(probability: float, n: int) -> None:
    rng = np.random.default_rng(n)
    truth = float(stats.lognorm.ppf(probability, 1.5))
    low = high = 0
    for _ in range(1500):
        estimate = estimate_quantile(rng.lognormal(0, 1.5, n), probability, 0.9, "ms")
        assert estimate.high is not None
        assert estimate.low is not None
        low += estimate.low > truth
        high += estimate.high < truth
    worst = stats.binom.ppf(0.9999, 1500, 0.1)
    assert low <= worst
    assert high <= worst
    if n >= 40:
        assert min(low, high) > 15  # and are not wider than they must be


def test_the_bounds_are_the_tightest_order_statistics() -> None:
    # P(Bin(10, 1/2) <= 8) = 0.989, P(Bin(10, 1/2) <= 7) = 0.945: the ninth of ten, and by symmetry the second.
    estimate = estimate_quantile(list(range(1, 11)), 0.5, 0.95, "ms")
    assert (estimate.low, estimate.value, estimate.high) == (2.0, 5.5, 9.0)
    assert (estimate.n, estimate.unit, estimate.confidence) == (10, "ms", 0.95)


def test_one_sample_has_a_value_and_no_median_bounds() -> None:
    estimate = estimate_quantile([3.0], 0.5, 0.95, "ms")
    assert (estimate.value, estimate.low, estimate.high) == (3.0, None, None)


@pytest.mark.parametrize("samples", [[], [1.0, float("nan")], [float("inf")]])
def test_no_sensible_samples_are_an_error(samples: list[float]) -> None:
    with pytest.raises(MeasurementError, match=r"quantile 0\.5 cannot be estimated"):
        estimate_quantile(samples, 0.5, 0.95, "ms")


def test_a_probability_of_one_is_an_error() -> None:
    with pytest.raises(MeasurementError, match="between 0 and 1"):
        estimate_quantile([1.0], 1.0, 0.95, "ms")


def test_ratios_are_paired_by_round() -> None:
    rng = np.random.default_rng(0)
    weather = rng.uniform(1, 10, 40)  # what slows a round slows both
    estimate = estimate_ratio(weather * 6.0, weather * 2.0, 0.95)
    assert estimate.value == pytest.approx(3.0)
    assert estimate.low == pytest.approx(3.0)
    assert estimate.high == pytest.approx(3.0)
    assert (estimate.n, estimate.unit) == (40, "1")


def test_four_rounds_give_no_interval() -> None:
    estimate = estimate_ratio(np.full(4, 2.0), np.ones(4), 0.95)
    assert (estimate.value, estimate.low, estimate.high) == (2.0, None, None)


def test_what_cannot_be_paired_is_an_error() -> None:
    with pytest.raises(MeasurementError, match="cannot be paired"):
        estimate_ratio(np.ones(3), np.ones(4), 0.95)
    with pytest.raises(MeasurementError, match="not positive"):
        estimate_ratio(np.ones(3), np.array([1.0, 0.0, 1.0]), 0.95)


def test_dependent_samples_have_wider_bounds() -> None:
    samples = np.arange(1000.0)
    full, half = (estimate_quantile(samples, 0.5, 0.95, "ms", worth) for worth in (None, 100))
    assert half.low is not None
    assert full.low is not None
    assert half.high is not None
    assert full.high is not None
    assert half.low < full.low < full.high < half.high
    assert half.n == 100
    assert estimate_quantile(samples, 0.99, 0.95, "ms", 298).high is None
    assert estimate_quantile(samples, 0.99, 0.95, "ms", 299).high == 999
    assert estimate_quantile(samples, 0.5, 0.95, "ms", 1000) == full
