"""Power of the exact test against brute force and simulation, and the items that follow from it."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
import pytest
from scipy import stats

from assay.core.errors import MeasurementError
from assay.measure.statistics.power import (
    approximate_items,
    compute_agreement_power,
    compute_power,
    count_least_items,
    find_smallest_margin,
    plan_items,
)
from assay.measure.statistics.trinomial import GAMMA_SHARE, bound_loss, compute_p_value, confine_rate


def enumerate_power(lost_rate: float, won_rate: float, n: int, margin: float, confidence: float) -> float:
    """Sum over all outcomes of their probability, where the bound itself is within the margin."""
    rate, total = lost_rate + won_rate, 0.0
    for flips in range(n + 1):
        mass = stats.binom.pmf(flips, n, rate)
        if mass < 1e-6:
            continue
        certified = bisect_left(
            range(flips + 1), 1, key=lambda lost: int(bound_loss(lost, flips - lost, n, confidence) > margin)
        )
        total += mass * stats.binom.cdf(certified - 1, flips, lost_rate / rate)
    return total


@pytest.mark.parametrize(
    ("lost_rate", "won_rate", "n", "margin", "confidence"),
    [
        (0.02, 0.02, 60, 0.05, 0.95),
        (0.03, 0.01, 130, 0.05, 0.9),
        (0.05, 0.05, 150, 0.05, 0.95),
        (0.01, 0.0, 400, 0.02, 0.975),
        (0.12, 0.10, 90, 0.097, 0.95),
    ],
)
def test_power_is_what_enumeration_finds(
    lost_rate: float, won_rate: float, n: int, margin: float, confidence: float
) -> None:
    wanted = enumerate_power(lost_rate, won_rate, n, margin, confidence)
    assert compute_power(lost_rate, won_rate, n, margin, confidence) == pytest.approx(wanted, abs=0.005)


def test_interpolated_power_is_what_simulation_finds() -> None:
    n, lost_rate, won_rate, margin = 4000, 0.02, 0.015, 0.01
    promised = compute_power(lost_rate, won_rate, n, margin, 0.95)
    drawn = np.random.default_rng(1).multinomial(n, (lost_rate, won_rate, 1 - lost_rate - won_rate), 1500)
    outcomes, counts = np.unique(drawn[:, :2], axis=0, return_counts=True)
    certified = []
    for lost, won in outcomes.tolist():
        rates = confine_rate(lost + won, n, 0.05 * GAMMA_SHARE)
        certified.append(compute_p_value(lost, won, n, margin, rates, 0.05 * GAMMA_SHARE) <= 0.05)
    simulated = float(counts[certified].sum() / counts.sum())
    assert 0.3 < promised < 0.95
    assert promised == pytest.approx(simulated, abs=4 * np.sqrt(promised * (1 - promised) / 1500))


def test_three_percent_of_flips_at_half_a_point_is_near_the_normal_approximation() -> None:
    needed = plan_items(0.015, 0.015, 0.005, 0.95, 0.8)
    assert approximate_items(np.sqrt(0.03), 0.005, 0.95, 0.8) == 7420
    assert needed is not None
    assert 7420 < needed < 7800
    assert compute_power(0.015, 0.015, needed, 0.005, 0.95) == pytest.approx(0.8, abs=0.005)


@pytest.mark.parametrize(("rate", "margin", "power"), [(0.01, 0.02, 0.8), (0.004, 0.03, 0.9), (0.02, 0.05, 0.8)])
def test_power_does_not_fall_short_beyond_the_planned_items(rate: float, margin: float, power: float) -> None:
    needed = plan_items(rate / 2, rate / 2, margin, 0.95, power)
    assert needed is not None
    later = [compute_power(rate / 2, rate / 2, n, margin, 0.95) for n in range(needed, needed + int(2 / margin), 3)]
    assert min(later) >= power - 0.005
    if needed > count_least_items(margin, 0.95):
        assert compute_power(rate / 2, rate / 2, needed - 1, margin, 0.95) < power


def test_no_flip_needs_the_rule_of_three_and_not_one_item_less() -> None:
    least = count_least_items(0.005, 0.95)
    assert 598 <= least <= 605
    assert plan_items(0, 0, 0.005, 0.95) == least
    assert compute_power(0, 0, least, 0.005, 0.95) == 1
    assert compute_power(0, 0, least - 1, 0.005, 0.95) == 0


def test_agreement_has_a_plan_of_its_own() -> None:
    n, rate, margin = 300, 0.01, 0.03
    most = max(k for k in range(30) if confine_rate(k, n, 0.1)[1] <= margin)
    assert compute_agreement_power(rate, n, margin, 0.95) == pytest.approx(stats.binom.cdf(most, n, rate))
    needed = plan_items(rate, 0, margin, 0.95, 0.8, one_way=True)
    assert needed is not None
    assert compute_agreement_power(rate, needed, margin, 0.95) >= 0.8
    assert count_least_items(0.005, 0.95, one_way=True) == 598


def test_a_loss_at_the_margin_takes_no_sensible_number() -> None:
    assert plan_items(0.010, 0.005, 0.005, 0.95) is None
    assert plan_items(0.0201, 0.01511, 0.005, 0.95) is None


def test_power_rises_with_items_and_margin_and_falls_with_flips_and_confidence() -> None:
    base = compute_power(0.02, 0.02, 2000, 0.01, 0.95)
    assert compute_power(0.02, 0.02, 3000, 0.01, 0.95) > base
    assert compute_power(0.02, 0.02, 2000, 0.012, 0.95) > base
    assert compute_power(0.03, 0.03, 2000, 0.01, 0.95) < base
    assert compute_power(0.02, 0.02, 2000, 0.01, 0.975) < base


def test_smallest_margin_is_the_margin_of_that_many_items() -> None:
    margin = find_smallest_margin(2000, 0.03, 0.95)
    assert margin is not None
    assert compute_power(0.015, 0.015, 2000, margin, 0.95) >= 0.8
    assert compute_power(0.015, 0.015, 2000, 0.98 * margin, 0.95) < 0.8


def test_power_of_proving_a_gain_is_what_enumeration_finds() -> None:
    wanted = enumerate_power(0.02, 0.18, 70, -0.05, 0.95)
    assert 0.2 < wanted < 0.99
    assert compute_power(0.02, 0.18, 70, -0.05, 0.95) == pytest.approx(wanted, abs=0.005)


@pytest.mark.parametrize(
    "arguments", [(-0.1, 0.1, 10, 0.1, 0.9), (0.6, 0.6, 10, 0.1, 0.9), (0.1, 0.1, 10, 1.0, 0.9), (0.1, 0.1, 10, 0.1, 1)]
)
def test_what_is_out_of_range_is_refused(arguments: tuple[float, float, int, float, float]) -> None:
    with pytest.raises(MeasurementError):
        compute_power(*arguments)
