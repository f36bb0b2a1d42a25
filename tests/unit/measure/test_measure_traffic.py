"""Latency over calls that differ: the same ones in the same order for every session."""

import numpy as np
import pytest
from measure_samples import FunctionSession

from assay.core.errors import BackendError, MeasurementError, RunFailed
from assay.core.tensor import Outputs
from assay.measure.latency import LEAST_ROUNDS, LatencySamples
from assay.measure.traffic import describe_lengths, estimate_call_speedup, level_lengths, measure_traffic

LENGTHS = (1, 3, 1, 2, 1, 3, 2)
CALLS = tuple({"x": np.zeros((2, length), np.float32)} for length in LENGTHS)


class Machine:
    """A clock that sessions move on by what a call costs them."""

    def __init__(self) -> None:
        self.now = 0
        self.seen: dict[str, list[int]] = {}

    def clock(self) -> int:
        self.now += 1
        return self.now

    def session(self, name: str, cost_ns: int) -> FunctionSession:
        self.seen[name] = []

        def work(x: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Outputs:
            self.seen[name].append(x.shape[1])
            self.now += cost_ns * x.shape[1]
            return {"y": x}

        return FunctionSession(work)


def test_every_session_gets_the_same_calls_in_the_same_order() -> None:
    machine = Machine()
    sessions = {name: machine.session(name, cost) for name, cost in (("slow", 3_000_000), ("quick", 1_000_000))}
    found = measure_traffic(sessions, CALLS, rounds=6, clock=machine.clock, cpu_clock=machine.clock)
    assert found.order.shape == found.samples["slow"].calls_ns.shape == found.samples["quick"].calls_ns.shape
    np.testing.assert_array_equal(found.order.reshape(-1), np.arange(found.order.size) % len(CALLS))
    lengths = np.array(LENGTHS)[found.order]
    # each time is that of the call that it is said to be of
    np.testing.assert_allclose(found.samples["slow"].calls_ns, 3e6 * lengths, rtol=1e-5)
    np.testing.assert_allclose(found.samples["quick"].calls_ns, 1e6 * lengths, rtol=1e-5)
    speedup = estimate_call_speedup(found.samples["slow"], found.samples["quick"], 0.95)
    assert speedup.value == pytest.approx(3, rel=1e-4)


def test_every_shape_is_run_before_anything_is_timed() -> None:
    machine = Machine()
    sessions = {"one": machine.session("one", 1_000_000)}
    measure_traffic(sessions, CALLS, rounds=1, clock=machine.clock, cpu_clock=machine.clock)
    assert set(machine.seen["one"][:9]) == {1, 2, 3}


def test_a_budget_ends_the_rounds_and_a_need_raises_the_calls() -> None:
    machine = Machine()
    sessions = {"one": machine.session("one", 1_000_000)}
    short = measure_traffic(sessions, CALLS, budget_s=0.001, clock=machine.clock, cpu_clock=machine.clock)
    assert len(short.order) == LEAST_ROUNDS
    machine = Machine()
    sessions = {"one": machine.session("one", 1_000_000)}
    needed = measure_traffic(
        sessions, CALLS, rounds=20, needed=300, clock=machine.clock, cpu_clock=machine.clock, budget_s=60
    )
    assert needed.order.size >= 300


def test_nothing_to_time_and_failures_are_said() -> None:
    with pytest.raises(MeasurementError, match="0 sessions, 7 calls"):
        measure_traffic({}, CALLS)

    def fail(x: object) -> Outputs:
        raise BackendError(f"broken by {type(x).__name__}")

    with pytest.raises(RunFailed, match="'int8' failed while it was timed: broken by ndarray"):
        measure_traffic({"int8": FunctionSession(fail)}, CALLS)


def test_a_clock_that_runs_backwards_is_refused() -> None:
    now, runs = 0, 0

    def clock() -> int:
        nonlocal now
        now += 3_000_000
        return now

    def work(x: object) -> Outputs:
        nonlocal now, runs
        runs += 1
        # each of the three shapes is run three times, and one call settles: then come the timed ones
        now -= 6_000_000 if runs > 10 else 0
        return {"y": np.asarray(x)}

    with pytest.raises(MeasurementError, match="unstable or too coarse"):
        measure_traffic({"a": FunctionSession(work)}, CALLS, rounds=1, clock=clock)


def test_each_length_has_its_own_median_and_speedup() -> None:
    lengths = np.array([16, 64] * 40, np.int64)
    before = LatencySamples(np.where(lengths == 16, 4_000_000, 20_000_000).reshape(8, 10), np.ones(8))
    after = LatencySamples(np.where(lengths == 16, 4_000_000, 5_000_000).reshape(8, 10), np.ones(8))
    short, long = describe_lengths(before, after, lengths, {16: 0.75, 64: 0.25}, 0.95)
    assert (short.length, short.share, short.n, short.p50.value, short.speedup.value) == (16, 0.75, 40, 4.0, 1.0)
    assert (long.length, long.share, long.n, long.p50.value, long.speedup.value) == (64, 0.25, 40, 5.0, 4.0)
    with pytest.raises(MeasurementError, match="cannot be paired"):
        describe_lengths(before, after, lengths[:-1], {}, 0.95)


def test_that_items_differ_is_no_fault_of_the_machine() -> None:
    lengths = np.array([16, 64] * 20, np.int64)
    samples = LatencySamples(np.where(lengths == 16, 4_000_000, 20_000_000).reshape(4, 10), np.ones(4))
    assert np.unique(level_lengths(samples, lengths)).size == 1
