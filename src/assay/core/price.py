"""What inference costs: the user's price of a machine, over the throughput that was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

from assay.core.errors import RequestError
from assay.core.estimate import Estimate

MILLION = 1e6
SECONDS_PER_HOUR = 3600.0
JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a machine, as the user states it.

    Attributes:
        name: of the machine type.
        price_per_hour: in ``currency``.
        currency: such as USD.
        cores: of the machine; None where not stated.
        source: where the price is from.
        date: when it was valid.
        grid_g_per_kwh: grams of CO2 equivalent per kilowatt-hour of the machine's grid; None where not stated.
    """

    name: str
    price_per_hour: float
    currency: str
    cores: int | None = None
    source: str = ""
    date: str = ""
    grid_g_per_kwh: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no price.

        Raises:
            RequestError: naming the key.
        """
        if not 0 < self.price_per_hour < math.inf:
            message = f"machine {self.name!r}: price_per_hour = {self.price_per_hour} is not a positive number"
            raise RequestError(message, "give the price of an hour")
        if not self.name or not self.currency:
            raise RequestError("a price needs a name and a currency", 'such as name = "mine", currency = "EUR"')
        if self.cores is not None and self.cores < 1:
            raise RequestError(f"machine {self.name!r}: cores = {self.cores} is not positive", "give 1 or more")
        if self.grid_g_per_kwh is not None and not 0 <= self.grid_g_per_kwh < math.inf:
            message = f"machine {self.name!r}: grid_g_per_kwh = {self.grid_g_per_kwh} is no intensity"
            raise RequestError(message, "give grams of CO2 equivalent per kWh, 0 or more")


def cost_per_million(throughput: Estimate, price: Price) -> Estimate:
    """Money per million items at a throughput, with the interval that its bounds give.

    Args:
        throughput: items per second.
        price: of the machine that has it.
    """
    money = price.price_per_hour / SECONDS_PER_HOUR * MILLION
    return Estimate(
        value=_share(money, throughput.value),
        low=None if throughput.high is None else _share(money, throughput.high),
        high=None if throughput.low is None else _share(money, throughput.low),
        confidence=throughput.confidence,
        n=throughput.n,
        unit=f"{price.currency} per million items",
    )


def carbon_per_million(energy: Estimate | None, price: Price | None) -> tuple[Estimate | None, str]:
    """Grams of CO2 equivalent per million items, or None and why: only where energy was measured and a grid is given.

    Args:
        energy: joules per item; None where it was not measured.
        price: with the intensity of the machine's grid.
    """
    if energy is None:
        return None, "no energy was measured"
    if price is None or price.grid_g_per_kwh is None:
        return None, "the price file states no grid_g_per_kwh"
    grams = price.grid_g_per_kwh / JOULES_PER_KWH * MILLION
    low, high = (None if bound is None else bound * grams for bound in (energy.low, energy.high))
    return Estimate(energy.value * grams, low, high, energy.confidence, energy.n, "g CO2e per million items"), ""


def _share(money: float, throughput: float) -> float:
    """Money over a throughput; nothing done costs infinitely much."""
    return money / throughput if throughput > 0 else math.inf
