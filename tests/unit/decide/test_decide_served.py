"""Constraints at a confidence of their own, and the cost at the rate that keeps them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from trial_samples import make_evidence, make_percentile

from assay.core.estimate import Estimate
from assay.core.price import Price, cost_per_million
from assay.core.requirements import Constraint, Objective, Requirements, Tolerance
from assay.core.trial import Evidence, Percentile
from assay.decide.assess import _judge_constraint
from assay.decide.finding import Verdict
from assay.decide.objective import compare_costs, cost_of, describe_cost, tell_apart

COST = Requirements(Tolerance.parse("top1: 1pp"), Objective.COST, price_per_hour=3.6, currency="EUR")


def ask(evidence: Evidence, confidence: float, high: float | None) -> Evidence:
    estimate = replace(make_percentile(13.0), confidence=confidence, high=high)
    return replace(evidence, latency=replace(evidence.latency, asked=(Percentile(0.99, estimate),)))


def serve(evidence: Evidence, low: float | None, note: str = "") -> Evidence:
    served = None if low is None else Estimate(low * 1.2, low, low * 1.5, 0.99, 500, "items/s")
    return replace(evidence, served=served, served_note=note)


def test_a_constraint_is_held_to_its_own_confidence() -> None:
    plain, own = Constraint.parse("p99 <= 14ms"), Constraint.parse("p99 <= 14ms at 99%")
    evidence = ask(make_evidence(10.0), 0.99, 15.0)
    assert _judge_constraint(plain, evidence).verdict is Verdict.MEETS
    assert _judge_constraint(own, evidence).verdict is Verdict.UNDECIDED
    assert _judge_constraint(own, ask(evidence, 0.99, 13.5)).verdict is Verdict.MEETS


def test_too_few_calls_and_other_confidences_are_told() -> None:
    own = Constraint.parse("p99 <= 14ms at 99%")
    short = _judge_constraint(own, ask(make_evidence(10.0), 0.99, None))
    assert short.verdict is Verdict.UNDECIDED
    assert "459 are needed" in short.words
    missing = _judge_constraint(own, make_evidence(10.0))
    assert missing.verdict is Verdict.UNDECIDED
    assert "not measured" in missing.words


def test_the_cost_is_that_of_the_certified_rate() -> None:
    evidence = make_evidence(10.0)
    served = serve(evidence, 100.0)
    assert cost_of(evidence, Objective.COST, 3.6) == pytest.approx(1000 / 450)
    assert cost_of(served, Objective.COST, 3.6) == pytest.approx(10.0)
    assert cost_of(served, Objective.THROUGHPUT) == cost_of(evidence, Objective.THROUGHPUT)
    assert describe_cost(COST, served) == "10.0 EUR per million items"
    assert served.served is not None
    assert cost_per_million(served.served, Price("m", 3.6, "EUR")).high == pytest.approx(10.0)


def test_what_keeps_the_bound_at_no_rate_is_never_cheapest() -> None:
    never, served = serve(make_evidence(1.0), None, "too slow"), serve(make_evidence(10.0), 100.0)
    assert math.isinf(cost_of(never, Objective.COST, 3.6))
    assert tell_apart(COST, never, served)
    assert compare_costs(COST, never, served) == "certified at no rate, unlike"
    assert not tell_apart(COST, never, serve(make_evidence(2.0), None, "too slow"))
