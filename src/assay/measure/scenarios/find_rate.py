"""The highest rate of random arrivals at which a latency bound is kept: proposed by simulation, certified by a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.core.errors import MeasurementError
from assay.core.estimate import Estimate
from assay.core.requirements import Constraint
from assay.core.session import Session
from assay.core.tensor import Feeds
from assay.measure.scenarios.outcome import Asked, Outcome
from assay.measure.scenarios.queue import find_certifiable, propose_rate
from assay.measure.scenarios.server import Pace, run_server
from assay.measure.scenarios.single_stream import run_single_stream
from assay.measure.statistics.quantile import count_needed

MS_PER_S = 1e3
ATTEMPTS = 4
STEP_DOWN = 0.6
ALONE_SHARE = 0.1
"""Share of the time that timing the calls takes; the attempts have the rest in equal parts."""


@dataclass(frozen=True, slots=True)
class FoundRate:
    """What the search for a rate found.

    Attributes:
        estimate: items per second: the simulated highest rate, the certified one as its lower bound, and what the
            session does without a pause as its upper bound; None where no rate was certified.
        reason: why there is none; empty where there is.
        alone: the calls one after the other.
        runs: every rate that was tried.
    """

    estimate: Estimate | None
    reason: str
    alone: Outcome
    runs: tuple[Outcome, ...]


def find_rate(
    sessions: Sequence[Session],
    queries: Sequence[Feeds],
    bound: Constraint,
    *,
    confidence: float,
    seconds: float,
    rng: np.random.Generator,
    pace: Pace | None = None,
) -> FoundRate:
    """Find the highest rate at which queries that arrive at random keep a latency bound.

    Service times are measured and the queue is simulated. The highest rate at which the simulated run certifies the
    bound is tried in a real one; where that does not, a lower rate is, at most ``ATTEMPTS`` times. The k-th run is
    judged at an error of ``2^-k`` of the allowed one, so that trying again does not wear the confidence out.

    Args:
        sessions: each answers one query at a time.
        queries: of equally many items each.
        bound: on a percentile of the latency.
        confidence: one-sided, where the bound has none of its own.
        seconds: what the search may take, about.
        rng: draws the arrivals.
        pace: where time comes from; the system where None.

    Raises:
        MeasurementError: the bound is not one of a percentile.
        RunFailed: a session failed.
    """
    quantile, sure = bound.quantity.quantile, bound.confidence or confidence
    if quantile is None:
        raise MeasurementError(f"'{bound.text}' bounds no percentile of the latency", "bound p50, p90, p95 or p99")
    pace = Pace() if pace is None else pace
    asked = Asked(sure, ((quantile, sure),))
    alone = run_single_stream(sessions[0], queries, asked, seconds=ALONE_SHARE * seconds, clock=pace.clock)
    calls_s = np.array(alone.calls_ms) / MS_PER_S
    limit_s, items, workers = bound.limit / MS_PER_S, alone.items, len(sessions)
    proposed = propose_rate(calls_s, quantile, limit_s, rng, workers)
    if proposed is None:
        value = float(np.quantile(calls_s, quantile)) * MS_PER_S
        reason = f"{bound.quantity} of a lone call is {value:.3g} ms already, beyond '{bound.text}'"
        return FoundRate(None, reason, alone, ())
    runs: list[Outcome] = []
    rate, share = math.inf, (1 - ALONE_SHARE) * seconds / ATTEMPTS
    for attempt in range(ATTEMPTS):
        spent = 1 - (1 - sure) / 2 ** (attempt + 1)
        worth = find_certifiable(calls_s, (quantile, spent, limit_s), share, rng, workers)
        if worth is None:
            break
        rate = min(STEP_DOWN * rate, worth * items)
        asked = Asked(sure, ((quantile, spent),))
        outcome = run_server(sessions, queries, asked, rate=rate, seconds=share, rng=rng, patience=1, pace=pace)
        runs.append(outcome)
        if keeps_bound(outcome, quantile, spent, bound.limit):
            return FoundRate(_estimate(rate, proposed * items, alone, workers, outcome), "", alone, tuple(runs))
        # Calls after a pause are slower than those back to back: what this run took is the better guess.
        calls_s = np.array(outcome.calls_ms) / MS_PER_S
    return FoundRate(None, _explain(bound, runs, share, count_needed(quantile, sure)), alone, tuple(runs))


def _explain(bound: Constraint, runs: Sequence[Outcome], share: float, needed: int) -> str:
    """Why no rate was certified."""
    if not runs:
        runs_of = f"runs of {share:.3g} s certify '{bound.text}' at no rate"
        return f"{runs_of}: it takes {needed} queries, and more where they queue; give more time"
    tried = ", ".join(f"{run.offered:.4g}" for run in runs)
    return f"'{bound.text}' was not certified at {tried} items/s in runs of {share:.3g} s"


def keeps_bound(outcome: Outcome, quantile: float, confidence: float, limit_ms: float) -> bool:
    """Whether the upper bound of a percentile is within a limit."""
    estimate = None if outcome.latency is None else outcome.latency.at(quantile, confidence)
    return estimate is not None and estimate.high is not None and estimate.high <= limit_ms


def _estimate(rate: float, proposed: float, alone: Outcome, workers: int, outcome: Outcome) -> Estimate:
    """The rate with its bounds: no rate is kept beyond what is answered without a pause."""
    capacity = None if alone.rate.high is None else alone.rate.high * workers
    high = None if capacity is None else max(capacity, rate)
    value = max(rate, proposed if high is None else min(proposed, high))
    return Estimate(value, rate, high, alone.rate.confidence, outcome.queries, "items/s")
