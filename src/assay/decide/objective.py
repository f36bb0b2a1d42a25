"""The objective as one number that is better when lower, and when two such numbers differ by noise only."""

from __future__ import annotations

import math

from assay.core.estimate import Estimate
from assay.core.price import MILLION, SECONDS_PER_HOUR
from assay.core.requirements import Objective, Requirements
from assay.core.trial import Evidence
from assay.decide import words

NOISE = 0.03
"""Relative difference of two measurements of the same artifact that a busy machine gives."""
CLEAR = 0.10
"""A difference beyond this is one however wide the intervals are: a noisy machine must not hide it."""

COMPARISONS = {
    Objective.LATENCY: "{} slower than",
    Objective.THROUGHPUT: "{} less throughput than",
    Objective.MEMORY: "{} the memory of",
    Objective.SIZE: "{} the size of",
    Objective.COST: "{} the cost of",
}
SUPERLATIVES = {
    Objective.LATENCY: "the lowest latency",
    Objective.THROUGHPUT: "the highest throughput",
    Objective.MEMORY: "the least memory",
    Objective.SIZE: "the smallest size",
    Objective.COST: "the lowest cost",
}


def cost_of(evidence: Evidence, objective: Objective, price_per_hour: float | None = None) -> float:
    """What the objective makes small: ms per item, seconds per item, bytes, or money per million items.

    Throughput that was measured as nothing costs infinitely much.
    """
    if objective is Objective.LATENCY:
        return evidence.latency.p50.value / evidence.latency.batch
    if objective is Objective.MEMORY:
        return float(evidence.footprint.peak_memory_bytes)
    if objective is Objective.SIZE:
        return float(evidence.footprint.size_bytes)
    if objective is Objective.THROUGHPUT:
        return 1 / evidence.throughput.value if evidence.throughput.value > 0 else math.inf
    rate = rate_of(evidence)
    seconds = 1 / rate.value if rate is not None and rate.value > 0 else math.inf
    return (price_per_hour or 0.0) / SECONDS_PER_HOUR * seconds * MILLION


def rate_of(evidence: Evidence) -> Estimate | None:
    """Items per second that are paid for: those that keep the latency constraint, where one was asked for.

    None where that was asked for and no rate was certified.
    """
    if evidence.served is not None:
        # The certified rate is what can be promised, and so what a machine is bought for.
        return Estimate(
            evidence.served.value if evidence.served.low is None else evidence.served.low,
            evidence.served.low,
            evidence.served.high,
            evidence.served.confidence,
            evidence.served.n,
            evidence.served.unit,
        )
    return None if evidence.served_note else evidence.throughput


def tell_apart(requirements: Requirements, one: Evidence, other: Evidence) -> bool:
    """Whether two measurements differ by more than noise.

    They do not where they lie within 3%, or where the intervals of their speed-ups (latency) or throughputs
    overlap and they lie within 10%. A size is counted, not measured: any difference is one.
    """
    objective = requirements.objective
    price = requirements.price_per_hour
    first, second = cost_of(one, objective, price), cost_of(other, objective, price)
    if first == second:
        return False
    if objective is Objective.SIZE:
        return True
    low, high = sorted((first, second))
    if objective is Objective.MEMORY or not NOISE < high / low - 1 <= CLEAR:
        return high / low - 1 > NOISE
    if objective is Objective.LATENCY:
        return not _overlap(one.speedup, other.speedup)
    if objective is Objective.COST:
        rates = rate_of(one), rate_of(other)
        return rates[0] is None or rates[1] is None or not _overlap(rates[0], rates[1])
    return not _overlap(one.throughput, other.throughput)


def _overlap(one: Estimate, other: Estimate) -> bool:
    """Whether two intervals share a point; an interval without a bound is not known to."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low <= other.high and other.low <= one.high


def describe_cost(requirements: Requirements, evidence: Evidence) -> str:
    """The objective's number in words, such as ``4.02 ms per item``."""
    objective = requirements.objective
    cost = cost_of(evidence, objective, requirements.price_per_hour)
    if objective is Objective.LATENCY:
        return f"{words.format_ms(cost)} per item"
    if objective is Objective.THROUGHPUT:
        return f"{words.format_significant(evidence.throughput.value)} items/s"
    if objective is Objective.COST:
        currency = f" {requirements.currency}" if requirements.currency else ""
        return f"{words.format_significant(cost)}{currency} per million items"
    return words.format_bytes(cost)


def near_words(objective: Objective) -> str:
    """How two are called that the objective cannot tell apart: a size is counted, so it has no noise."""
    return "level with" if objective is Objective.SIZE else "within noise of"


def compare_costs(requirements: Requirements, loser: Evidence, winner: Evidence) -> str:
    """How much the loser loses by, such as ``2.10x slower than``, to be followed by the winner's name."""
    objective = requirements.objective
    price = requirements.price_per_hour
    best = cost_of(winner, objective, price)
    if objective is Objective.COST and rate_of(loser) is None:
        return "certified at no rate, unlike"
    ratio = cost_of(loser, objective, price) / best if best > 0 else math.inf
    return COMPARISONS[objective].format(words.format_ratio(ratio))
