"""Power of the bound from betting against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from assay.core.errors import MeasurementError
from assay.measure.statistics.betting import bound_mean
from assay.measure.statistics.betting_power import (
    compute_betting_power,
    count_least_betting_items,
    plan_items_by_deviation,
)


@pytest.mark.parametrize(("rate", "margin", "n"), [(0.2, 0.02, 300), (0.05, 0.02, 250), (0.3, 0.05, 150)])
def test_power_is_near_what_simulation_finds(rate: float, margin: float, n: int) -> None:
    rng = np.random.default_rng(4)
    certified = 0
    for _ in range(300):
        changed = rng.random(n) < rate
        losses = changed * rng.beta(1, 4, n) * rng.choice((-1.0, 1.0), n)
        certified += 1 - 2 * bound_mean((1 - losses) / 2, 0.95) <= margin
    promised = compute_betting_power(math.sqrt(rate / 15), 0.0, n, margin, 0.95)
    assert 0.2 < promised < 0.95
    assert certified / 300 == pytest.approx(promised, abs=0.10)


def test_least_items_certify_scores_that_do_not_change() -> None:
    least = count_least_betting_items(0.02, 0.95)
    assert 1 - 2 * bound_mean(np.full(least + 2, 0.5), 0.95) <= 0.02
    assert 1 - 2 * bound_mean(np.full(least - 3, 0.5), 0.95) > 0.02


def test_planned_items_reach_the_power_and_one_less_does_not() -> None:
    needed = plan_items_by_deviation(0.1, 0.001, 0.01, 0.95, 0.9)
    assert needed is not None
    assert compute_betting_power(0.1, 0.001, needed, 0.01, 0.95) >= 0.9
    assert compute_betting_power(0.1, 0.001, needed - 1, 0.01, 0.95) < 0.9
    assert plan_items_by_deviation(0.1, 0.02, 0.01, 0.95) is None


def test_many_items_are_summed_in_spans() -> None:
    exact = compute_betting_power(0.05, 0.0, 2000, 0.003, 0.95)
    spans = compute_betting_power(0.05, 0.0, 2001, 0.003, 0.95)
    assert 0.1 < exact < 0.99
    assert spans == pytest.approx(exact, abs=0.003)


@pytest.mark.parametrize("arguments", [(1.5, 0, 10, 0.1, 0.9), (0.1, 0, 10, 0.0, 0.9), (0.1, 0, 10, 0.1, 1.0)])
def test_what_is_out_of_range_is_refused(arguments: tuple[float, float, int, float, float]) -> None:
    with pytest.raises(MeasurementError):
        compute_betting_power(*arguments)
