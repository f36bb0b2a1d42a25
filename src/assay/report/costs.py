"""What inference costs, as the decision counts it: the user's money over the rate that is paid for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from assay.core.estimate import Estimate
from assay.core.price import Price, carbon_per_million, cost_per_million
from assay.core.requirements import Requirements
from assay.core.trial import Evidence
from assay.decide import words
from assay.decide.objective import rate_of
from assay.report import cells

NO_CURRENCY = "money"
G_PER_KG = 1000.0


@dataclass(frozen=True, slots=True)
class CostColumns:
    """Which columns on money a study's tables have.

    Attributes:
        cost: there is a price.
        served: rates that keep the latency constraint were searched for.
        carbon: energy was measured and the grid's intensity is known.
    """

    cost: bool
    served: bool
    carbon: bool


def pick_columns(requirements: Requirements, evidences: Sequence[Evidence]) -> CostColumns:
    """The columns that have something to show."""
    return CostColumns(
        cost=requirements.price_per_hour is not None,
        served=any(e.served is not None or e.served_note for e in evidences),
        carbon=any(estimate_carbon(requirements, e) is not None for e in evidences),
    )


def name_cost(requirements: Requirements) -> str:
    """Such as ``cost per million items, USD``."""
    return f"cost per million items{f', {requirements.currency}' if requirements.currency else ''}"


def find_price(requirements: Requirements) -> Price | None:
    """The price that was stated; None without one."""
    if requirements.price_per_hour is None:
        return None
    return Price(
        "the machine",
        requirements.price_per_hour,
        requirements.currency or NO_CURRENCY,
        grid_g_per_kwh=requirements.grid_g_per_kwh,
    )


def estimate_cost(requirements: Requirements, evidence: Evidence) -> Estimate | None:
    """Money per million items, with bounds; None without a price, or where no rate was certified."""
    price, rate = find_price(requirements), rate_of(evidence)
    if price is None or rate is None or rate.value <= 0:
        return None
    return cost_per_million(rate, price)


def estimate_carbon(requirements: Requirements, evidence: Evidence) -> Estimate | None:
    """Grams of CO2 equivalent per million items, where energy was measured and the grid is known; else None."""
    return carbon_per_million(evidence.energy, find_price(requirements))[0]


def cost_cell(requirements: Requirements, evidence: Evidence) -> str:
    """Cost of a million items in the user's currency."""
    cost = estimate_cost(requirements, evidence)
    if cost is None:
        return cells.NOTHING
    return f"{words.format_significant(cost.value)} {requirements.currency}".strip()


def cost_bounds(requirements: Requirements, evidence: Evidence) -> str:
    """Bounds of the cost; why there is none where no rate was certified."""
    cost = estimate_cost(requirements, evidence)
    if cost is None:
        return "" if requirements.price_per_hour is None else "no rate is certified"
    return say_bounds(cost)


def served_cell(evidence: Evidence) -> str:
    """The certified rate at which calls that arrive at random keep the latency constraint, items/s."""
    rate = evidence.served
    if rate is None:
        return cells.NOTHING
    return words.format_significant(rate.value if rate.low is None else rate.low)


def served_note(evidence: Evidence) -> str:
    """The confidence of the rate and how far beyond it may lie, or why there is none."""
    rate = evidence.served
    if rate is None:
        return evidence.served_note
    sure = "" if rate.low is None else f"at {words.format_confidence(rate.confidence)}"
    most = "" if rate.high is None else f"at most {words.format_significant(rate.high)}"
    return "; ".join(part for part in (sure, most) if part)


def carbon_cell(requirements: Requirements, evidence: Evidence) -> str:
    """Carbon of a million items."""
    carbon = estimate_carbon(requirements, evidence)
    if carbon is None:
        return cells.NOTHING
    heavy = carbon.value >= G_PER_KG
    return f"{words.format_significant(carbon.value / (G_PER_KG if heavy else 1.0))} {'kg' if heavy else 'g'}"


def say_bounds(estimate: Estimate) -> str:
    """Bounds such as ``0.12 to 0.14``; one that says nothing is left out."""
    low, high = (None if bound is None or math.isinf(bound) else bound for bound in (estimate.low, estimate.high))
    if low is None and high is None:
        return "no bounds"
    if high is None:
        return f"from {words.format_significant(low or 0.0)}, no upper bound"
    if low is None:
        return f"to {words.format_significant(high)}"
    return f"{words.format_significant(low)} to {words.format_significant(high)}"
