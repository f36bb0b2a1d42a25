import gc
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from measure_samples import FunctionSession, SteppingClock, write_linear_model

from assay.backends.table import load_backend
from assay.core.errors import MeasurementError, RunFailed
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.target import Target
from assay.core.tensor import Array, Outputs
from assay.measure.latency import (
    LEAST_CALLS,
    LEAST_ROUNDS,
    MOST_CALLS,
    SETTLE_NS,
    LatencySamples,
    estimate_cpu_seconds,
    estimate_speedup,
    measure_latency,
    order_round,
    plan_calls,
    summarise,
)

FEEDS = {"x": np.zeros((2, 4), np.float32)}
MS = 1_000_000


class Slow(FunctionSession):
    """Takes as long as it is told, by a clock that moves by hand."""

    def __init__(self, clock: SteppingClock, ns: int, log: list[str] | None = None, name: str = "") -> None:
        def work(x: Array) -> Outputs:
            clock.wait(ns)
            if log is not None:
                log.append(name)
            return {"y": x}

        super().__init__(work)


def test_every_session_is_timed_exactly() -> None:
    clock, cpu = SteppingClock(), count()
    sessions = {"slow": Slow(clock, 6 * MS), "fast": Slow(clock, 2 * MS)}
    samples = measure_latency(
        sessions, FEEDS, rounds=75, budget_s=60, clock=clock, cpu_clock=lambda: next(cpu) * 8 * MS
    )
    assert samples["slow"].calls_ns.shape == (75, LEAST_CALLS)
    assert set(samples["slow"].calls_ns.ravel()) == {6 * MS}
    assert set(samples["fast"].calls_ns.ravel()) == {2 * MS}
    speedup = estimate_speedup(samples["slow"], samples["fast"], 0.95)
    assert (speedup.value, speedup.low, speedup.high, speedup.n) == (3.0, 3.0, 3.0, 75)
    latency = summarise(samples["fast"], 2, 0.95)
    assert (latency.p50.value, latency.p99.value, latency.p99.high, latency.batch, latency.n) == (2, 2, 2, 2, 300)
    per_item = estimate_cpu_seconds(samples["slow"], 2, 0.95)
    assert (per_item.value, per_item.unit) == (0.001, "s")


def test_orders_alternate_and_rotate() -> None:
    orders = [order_round("abc", index) for index in range(6)]
    assert ["".join(order) for order in orders] == ["abc", "cba", "bca", "acb", "cab", "bac"]
    for place in range(3):
        assert sorted(order[place] for order in orders) == sorted("aabbcc")


def test_every_round_visits_every_session_once_and_settles_first() -> None:
    clock = SteppingClock()
    log: list[str] = []
    sessions = {name: Slow(clock, MS, log, name) for name in "abc"}
    measure_latency(sessions, FEEDS, rounds=2, warmup=1, clock=clock, cpu_clock=clock)
    settled = SETTLE_NS // MS
    visit = settled + 5  # a visit of 5 ms holds five timed calls of 1 ms
    assert "".join(log) == "abc" + "".join(name * visit for name in "abccba")


def test_the_budget_ends_the_rounds_but_not_before_the_least() -> None:
    clock = SteppingClock()
    rounds: list[int] = []
    session = {"a": Slow(clock, 50 * MS)}
    measure_latency(session, FEEDS, budget_s=4.0, clock=clock, cpu_clock=clock, on_round=rounds.append)
    assert rounds == list(range(1, 17))  # five calls a round: a quarter of a second
    rounds.clear()
    measure_latency(session, FEEDS, budget_s=0.1, clock=clock, cpu_clock=clock, on_round=rounds.append)
    assert rounds[-1] == LEAST_ROUNDS


def test_calls_per_visit_follow_speed_and_budget() -> None:
    assert plan_calls({"a": 10_000, "b": MS, "c": 100 * MS}, 60) == {"a": MOST_CALLS, "b": 5, "c": LEAST_CALLS}
    assert plan_calls({"slow": 2_000 * MS}, 60) == {"slow": 1}
    assert plan_calls({"instant": 0}, 60) == {"instant": MOST_CALLS}


def test_garbage_is_not_collected_while_timing() -> None:
    states: list[bool] = []

    def work(x: Array) -> Outputs:
        states.append(gc.isenabled())
        return {"y": x}

    measure_latency({"a": FunctionSession(work)}, FEEDS, rounds=2, warmup=2)
    assert states[:2] == [True, True]
    assert not any(states[2:])
    assert gc.isenabled()


def test_a_failing_session_is_named_and_collection_goes_on() -> None:
    calls = count()

    def fail(_x: Array) -> Outputs:
        if next(calls) == 4:
            raise RunFailed("node 'conv3' ran out of memory", "use a smaller batch")
        return {}

    with pytest.raises(RunFailed, match=r"'openvino\.int8' failed while it was timed: node 'conv3'"):
        measure_latency({"openvino.int8": FunctionSession(fail)}, FEEDS, rounds=3)
    assert gc.isenabled()


def test_a_clock_that_runs_backwards_is_an_error() -> None:
    clock = SteppingClock()
    ticks = count()

    def work(x: Array) -> Outputs:
        clock.wait(-5 if next(ticks) == 12 else MS)
        return {"y": x}

    with pytest.raises(MeasurementError, match="'a' took -5 ns"):
        measure_latency({"a": FunctionSession(work)}, FEEDS, rounds=5, clock=clock, cpu_clock=clock)


def test_nothing_to_time_is_an_error() -> None:
    with pytest.raises(MeasurementError, match="0 sessions"):
        measure_latency({}, FEEDS)
    empty = LatencySamples(np.zeros((0, 4), np.int64), np.zeros(0))
    with pytest.raises(MeasurementError, match="no samples"):
        summarise(empty, 1, 0.95)


def test_a_real_runtime_is_timed(tmp_path: Path) -> None:
    target = Target("onnxruntime")
    backend = load_backend("onnxruntime")
    sizes = {"large": 1500, "small": 4}
    for name, size in sizes.items():
        write_linear_model(tmp_path / f"{name}.onnx", classes=size, width=size)
        (tmp_path / name).mkdir()
        backend.build(tmp_path / f"{name}.onnx", tmp_path / name, Plan(Precision.FP32), target)
    with backend.open(tmp_path / "large", target) as large, backend.open(tmp_path / "small", target) as small:
        wide = np.ones((8, 1500), np.float32)
        samples = measure_latency({"one": large, "two": large}, {"x": wide}, rounds=12)
        assert 0.5 < estimate_speedup(samples["one"], samples["two"], 0.95).value < 2
        quick = measure_latency({"small": small}, FEEDS, rounds=12)["small"]
    assert np.median(quick.calls_ms) < np.median(samples["one"].calls_ms)
    assert 0 < estimate_cpu_seconds(samples["one"], 8, 0.95).value < 1
