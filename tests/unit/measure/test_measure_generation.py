"""Interleaved times of long calls: settling, budgets, medians."""

from __future__ import annotations

import numpy as np
import pytest

from assay.core.errors import MeasurementError, RunFailed
from assay.measure.generation import LEAST_ROUNDS, MOST_ROUNDS, estimate_rate, estimate_time_ms, time_calls


class Clock:
    """Time that goes on with every call alone."""

    def __init__(self) -> None:
        self.now = 0
        self.calls: dict[str, int] = {}

    def __call__(self) -> int:
        return self.now

    def make(self, name: str, takes: int) -> object:
        def call() -> None:
            self.now += takes
            self.calls[name] = self.calls.get(name, 0) + 1

        return call


def run(takes: dict[str, int], budget_s: float) -> tuple[dict[str, np.ndarray], Clock, list[str]]:
    clock, visits = Clock(), []
    calls = {name: clock.make(name, ns) for name, ns in takes.items()}
    found = time_calls(calls, budget_s=budget_s, on_visit=visits.append, clock=clock)
    return dict(found), clock, visits


def test_every_round_visits_every_call_once() -> None:
    found, clock, visits = run({"a": 400_000_000, "b": 200_000_000}, budget_s=1e9)
    assert {name: set(times.tolist()) for name, times in found.items()} == {"a": {400_000_000}, "b": {200_000_000}}
    assert len(found["a"]) == MOST_ROUNDS
    assert visits[:6] == ["a", "b", "a", "b", "b", "a"]
    # One call to see how long they take; calls as long as these settle by themselves.
    assert clock.calls == {"a": MOST_ROUNDS + 1, "b": MOST_ROUNDS + 1}


def test_short_calls_settle_first() -> None:
    _, clock, _ = run({"a": 1_000_000}, budget_s=0)
    assert clock.calls["a"] == 1 + LEAST_ROUNDS * 3


def test_a_budget_leaves_the_least_rounds() -> None:
    found, _, _ = run({"a": 400_000_000}, budget_s=0)
    assert len(found["a"]) == LEAST_ROUNDS


def test_a_clock_that_stands_still_is_refused() -> None:
    with pytest.raises(MeasurementError, match="'a' took 0 ns"):
        time_calls({"a": lambda: None}, budget_s=0, on_visit=str, clock=iter(lambda: 5, 6).__next__)


def test_a_failure_names_whose_it_is() -> None:
    def fail() -> None:
        raise RunFailed("no memory")

    with pytest.raises(RunFailed, match=r"'b' failed while it was timed: no memory"):
        time_calls({"b": fail}, budget_s=0, on_visit=str)


def test_times_and_rates_are_medians() -> None:
    times = np.array([2_000_000, 4_000_000, 8_000_000, 5_000_000, 5_000_000])
    assert estimate_time_ms(times, 0.95).value == 5.0
    assert estimate_rate(times, 10, 0.95).value == pytest.approx(2000.0)
    assert (estimate_time_ms(times, 0.95).low, estimate_time_ms(times, 0.95).high) == (2.0, 8.0)
