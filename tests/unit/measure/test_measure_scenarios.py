"""The scenarios on a session whose time is virtual, so that every number can be told beforehand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from measure_samples import FunctionSession, SteppingClock

from assay.core.errors import MeasurementError, RunFailed
from assay.core.requirements import Constraint
from assay.core.tensor import Array, Outputs
from assay.measure.scenarios.find_rate import find_rate
from assay.measure.scenarios.offline import run_offline
from assay.measure.scenarios.outcome import Asked, Scenario
from assay.measure.scenarios.server import Pace, draw_arrivals, run_server
from assay.measure.scenarios.single_stream import run_single_stream

MS = 1_000_000
QUERY = {"x": np.zeros((2, 4), np.float32)}
P99 = Asked(0.95, ((0.99, 0.99),))


def make(clock: SteppingClock, service: Callable[[], float]) -> FunctionSession:
    """A session whose calls take so many milliseconds of the clock."""

    def run(x: Array) -> Outputs:
        clock.wait(int(service() * MS))
        return {"y": x}

    return FunctionSession(run)


def virtual(clock: SteppingClock) -> Pace:
    return Pace(clock, lambda seconds: clock.wait(max(1, round(seconds * 1e9))), 0)


def test_single_stream_takes_the_queries_that_the_bound_needs() -> None:
    clock = SteppingClock()
    rng = np.random.default_rng(0)
    outcome = run_single_stream(make(clock, lambda: 1 + 0.1 * rng.random()), (QUERY,), P99, seconds=0.2, clock=clock)
    assert outcome.scenario is Scenario.SINGLE_STREAM
    assert outcome.queries == 459
    assert outcome.latency is not None
    bound = outcome.latency.at(0.99, 0.99)
    assert bound is not None
    assert bound.high == pytest.approx(max(outcome.samples_ms), abs=1e-3)
    assert outcome.rate.value == pytest.approx(2 / 1.05e-3, rel=0.01)


def test_patience_ends_and_the_shortage_is_told() -> None:
    clock = SteppingClock()
    outcome = run_single_stream(make(clock, lambda: 10.0), (QUERY,), P99, seconds=0.2, clock=clock)
    assert outcome.queries == 80
    assert not outcome.valid
    assert "80 queries bound no p99 at 0.99: it needs 459" in outcome.reasons


def test_a_stall_is_felt_by_every_query_that_was_due_while_it_lasted() -> None:
    clock = SteppingClock()
    calls = iter(range(10**6))
    session = make(clock, lambda: 500.0 if next(calls) == 1000 else 0.1)
    outcome = run_server(
        (session,), (QUERY,), P99, rate=400, seconds=10, rng=np.random.default_rng(1), pace=virtual(clock)
    )
    # 200 queries a second for half a second: about a hundred wait, though one call alone was slow.
    waiting = sum(ms > 1 for ms in outcome.samples_ms)
    assert 60 < waiting < 140
    assert sum(ms > 1 for ms in outcome.calls_ms) == 1
    assert outcome.offered == 400
    assert outcome.rate.value == pytest.approx(400, rel=0.15)


def test_arrivals_are_a_poisson_process() -> None:
    due = draw_arrivals(100, 20_000, np.random.default_rng(2))
    gaps = np.diff(due) / 1e9
    assert gaps.mean() == pytest.approx(0.01, rel=0.03)
    assert gaps.std() == pytest.approx(0.01, rel=0.05)


def test_overload_is_told() -> None:
    clock = SteppingClock()
    outcome = run_server(
        (make(clock, lambda: 10.0),),
        (QUERY,),
        P99,
        rate=1000,
        seconds=2,
        rng=np.random.default_rng(3),
        pace=virtual(clock),
    )
    assert outcome.overloaded
    assert not outcome.valid
    assert any("faster than they were answered" in reason for reason in outcome.reasons)


def test_a_rate_is_certified_and_kept() -> None:
    clock = SteppingClock()
    rng = np.random.default_rng(4)
    session = make(clock, lambda: 1 + 0.02 * rng.standard_normal())
    bound = Constraint.parse("p99 <= 5ms at 99%")
    found = find_rate((session,), (QUERY,), bound, confidence=0.95, seconds=60, rng=rng, pace=virtual(clock))
    assert found.estimate is not None
    assert found.estimate.low is not None
    assert found.estimate.high is not None
    assert 300 < found.estimate.low <= found.estimate.value <= found.estimate.high
    assert found.estimate.high == pytest.approx(2000, rel=0.02)
    # The certified rate keeps the bound in a long run of its own.
    again = run_server((session,), (QUERY,), P99, rate=found.estimate.low, seconds=100, rng=rng, pace=virtual(clock))
    assert again.latency is not None
    assert again.latency.p99.value <= 5


def test_no_rate_is_found_where_a_lone_call_is_too_slow_or_the_time_too_short() -> None:
    clock = SteppingClock()
    rng = np.random.default_rng(5)
    session = make(clock, lambda: 3.0)
    slow = find_rate(
        (session,), (QUERY,), Constraint.parse("p99 <= 2ms"), confidence=0.95, seconds=30, rng=rng, pace=virtual(clock)
    )
    assert slow.estimate is None
    assert "lone call" in slow.reason
    short = find_rate(
        (session,), (QUERY,), Constraint.parse("p99 <= 9ms"), confidence=0.95, seconds=1, rng=rng, pace=virtual(clock)
    )
    assert short.estimate is None
    assert "more time" in short.reason


def test_two_workers_answer_and_a_failure_reaches_the_caller() -> None:
    lazy = [FunctionSession(lambda x: {"y": x}) for _ in range(2)]
    outcome = run_server(lazy, (QUERY,), Asked(0.9), rate=2000, seconds=0.1, rng=np.random.default_rng(6))
    assert outcome.queries >= 88
    assert sum(len(session.sizes) for session in lazy) > outcome.queries

    def fail(x: Array) -> Outputs:
        raise RunFailed(f"no {x.shape}")

    with pytest.raises(RunFailed, match="failed while it was timed"):
        run_server((FunctionSession(fail),), (QUERY,), P99, rate=100, seconds=1, rng=np.random.default_rng(7))


def test_offline_counts_all_items() -> None:
    clock = SteppingClock()
    outcome = run_offline(make(clock, lambda: 2.0), (QUERY,), P99, seconds=0.5, clock=clock)
    assert outcome.latency is None
    assert outcome.rate.value == pytest.approx(1000, rel=0.01)


def test_a_rate_must_be_positive_and_a_bound_one_of_latency() -> None:
    session = FunctionSession(lambda x: {"y": x})
    rng = np.random.default_rng(8)
    with pytest.raises(MeasurementError, match="cannot arrive"):
        run_server((session,), (QUERY,), P99, rate=0, seconds=1, rng=rng)
    with pytest.raises(MeasurementError, match="no percentile"):
        find_rate((session,), (QUERY,), Constraint.parse("throughput >= 1/s"), confidence=0.9, seconds=1, rng=rng)
