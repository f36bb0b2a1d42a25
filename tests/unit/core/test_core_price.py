"""Cost follows from a price and a throughput, carbon from measured energy and a stated grid: nothing is invented."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.core.errors import RequestError
from assay.core.estimate import Estimate
from assay.core.price import Price, carbon_per_million, cost_per_million

PRICE = Price("box", 0.36, "EUR", grid_g_per_kwh=360.0)


def test_a_million_costs_its_share_of_the_hours() -> None:
    cost = cost_per_million(Estimate(100.0, 80.0, 125.0, 0.95, 20, "items/s"), PRICE)
    assert cost == Estimate(pytest.approx(1.0), pytest.approx(0.8), pytest.approx(1.25), 0.95, 20, cost.unit)
    assert cost.unit == "EUR per million items"


def test_a_missing_bound_stays_missing_on_the_other_side() -> None:
    cost = cost_per_million(Estimate(100.0, 90.0, None, 0.95, 20, "items/s"), PRICE)
    assert cost.low is None
    assert cost.high == pytest.approx(0.36 / 3600 * 1e6 / 90)
    assert math.isinf(cost_per_million(Estimate(0.0, 0.0, 1.0, 0.95, 20, "items/s"), PRICE).value)


@given(st.floats(1e-3, 1e6), st.floats(0.1, 1), st.floats(1, 10), st.floats(1e-3, 1e3))
def test_the_interval_holds_the_value(rate: float, down: float, up: float, money: float) -> None:
    cost = cost_per_million(Estimate(rate, rate * down, rate * up, 0.95, 9, "items/s"), Price("m", money, "USD"))
    assert cost.low is not None
    assert cost.high is not None
    assert cost.low <= cost.value <= cost.high


def test_carbon_needs_energy_and_a_grid() -> None:
    energy = Estimate(0.01, 0.008, None, 0.95, 10, "J")
    carbon, why = carbon_per_million(energy, PRICE)
    assert carbon is not None
    assert (carbon.value, carbon.low, carbon.high, why) == (pytest.approx(1.0), pytest.approx(0.8), None, "")
    assert carbon_per_million(None, PRICE) == (None, "no energy was measured")
    none, why = carbon_per_million(energy, Price("m", 1.0, "USD"))
    assert none is None
    assert "grid_g_per_kwh" in why


@pytest.mark.parametrize(
    "wrong",
    [
        {"price_per_hour": 0.0},
        {"price_per_hour": math.inf},
        {"currency": ""},
        {"cores": 0},
        {"grid_g_per_kwh": -1.0},
    ],
)
def test_what_is_no_price_is_refused(wrong: dict[str, object]) -> None:
    keys: dict[str, object] = {"name": "m", "price_per_hour": 1.0, "currency": "USD", **wrong}
    with pytest.raises(RequestError):
        Price(**keys)  # type: ignore[arg-type] # wrong on purpose
