"""A study for cost under a percentile, which some artifacts keep at a certified rate and some at none."""

from __future__ import annotations

import math
from dataclasses import replace

from trial_samples import make_realistic_trials, make_record

from assay.core.estimate import Estimate
from assay.core.requirements import Constraint, Objective, Requirements, Tolerance
from assay.core.trial import Evidence, Percentile
from assay.studies.record import StudyRecord

COST = Requirements(
    Tolerance.parse("top1: 0.5pp"),
    Objective.COST,
    (Constraint.parse("p99 <= 30ms at 99%"), Constraint.parse("p90 <= 25ms")),
    price_per_hour=3.6,
    currency="EUR",
    grid_g_per_kwh=360.0,
)
SLOW_MS = 20.0
"""Slower ones keep the percentile at no rate."""
TOO_SLOW = "no rate keeps p99 <= 30ms at 99%: a lone call takes too long"


def serve(evidence: Evidence) -> Evidence:
    """Evidence with what a study for cost adds: asked percentiles, a rate or why there is none, and energy."""
    ms = evidence.latency.p50.value
    tail = Estimate(1.4 * ms, 1.3 * ms, 1.6 * ms, 0.99, 459, "ms")
    usual = Percentile(0.99, evidence.latency.p99)
    asked = (Percentile(0.9, evidence.latency.p95), usual, Percentile(0.99, tail))
    rate = Estimate(3000 / ms, 2500 / ms, 3600 / ms, 0.99, 700, "items/s")
    return replace(
        evidence,
        latency=replace(evidence.latency, asked=asked),
        served=rate if ms < SLOW_MS else None,
        served_note="" if ms < SLOW_MS else TOO_SLOW,
        energy=Estimate(ms / 1000, ms / 1100, ms / 900, 0.95, 20, "J"),
        energy_note="",
    )


def make_served_record(requirements: Requirements = COST, *, served: bool = True) -> StudyRecord:
    """A study for cost; with ``served=False``, none of its artifacts keeps the percentile at any rate."""
    trials = []
    for trial in make_realistic_trials():
        evidence = None if trial.evidence is None else serve(trial.evidence)
        if evidence is not None and not served:
            evidence = replace(evidence, served=None, served_note=TOO_SLOW)
        trials.append(replace(trial, evidence=evidence))
    return make_record(trials, requirements)


def make_endless(evidence: Evidence) -> Evidence:
    """A rate whose bounds say nothing, and so a cost without an upper bound."""
    return replace(evidence, served=Estimate(100.0, None, math.inf, 0.99, 3, "items/s"))
