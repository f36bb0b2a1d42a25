"""Latency of several sessions, interleaved in rounds, so that what slows the machine slows them all.

One round visits every session once. A visit first makes untimed calls, then times some calls back to back, each of
them one sample. The untimed calls are there because a served model finds its weights in the caches and no other
runtime's threads spinning: right after another session neither holds. They go on for at least one call and
``SETTLE_NS``, longer than threads commonly spin. Fast models get more timed calls per visit than slow ones, so that
a visit is not all settling; 300 samples, which a p99 bound needs, come with 75 rounds at the latest. Where more are
needed, or the budget is short of rounds, more calls are timed per visit. Only where the budget would not do for
``LEAST_ROUNDS`` is one call timed per visit. Orders alternate forward and backward and rotate,
so that every session takes every place.

What rounds cannot level out is where a session's memory happened to lie: two sessions of one artifact can differ by
some percent for as long as they are open, which the intervals, being about these sessions, do not cover.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import BackendError, MeasurementError, RunFailed
from assay.core.estimate import Estimate
from assay.core.session import Session
from assay.core.tensor import Feeds
from assay.core.trial import Latency, Percentile
from assay.measure.statistics.quantile import estimate_quantile
from assay.measure.statistics.ratio import estimate_ratio

ROUNDS = 100
LEAST_ROUNDS = 10
WARMUP = 3
BUDGET_S = 60.0
SETTLE_NS = 2_000_000
VISIT_NS = 5_000_000
LEAST_CALLS = 4
MOST_CALLS = 32
SLACK = 1.2
"""A call is expected to take so much longer than the shortest one seen."""
NS_PER_MS = 1e6
NS_PER_S = 1e9

Clock = Callable[[], int]
"""Monotonic time in nanoseconds."""


@dataclass(frozen=True, slots=True)
class LatencySamples:
    """Times of one session.

    Attributes:
        calls_ns: ``[rounds, calls] int64``, one wall time per timed call.
        cpu_ns: ``[rounds] float64``, CPU time of the process per call, over all threads, mean of the visit.
    """

    calls_ns: NDArray[np.int64]
    cpu_ns: NDArray[np.float64]

    @property
    def per_round_ns(self) -> NDArray[np.float64]:
        """Median of the calls of each round, ``[rounds]``."""
        median: NDArray[np.float64] = np.median(self.calls_ns, axis=1)
        return median

    @property
    def calls_ms(self) -> NDArray[np.float64]:
        """All samples in the order they were taken, ``[rounds * calls]``."""
        return self.calls_ns.reshape(-1) / NS_PER_MS


def measure_latency(  # noqa: PLR0913 - all but two are settings with defaults
    sessions: Mapping[str, Session],
    feeds: Feeds,
    *,
    rounds: int = ROUNDS,
    warmup: int = WARMUP,
    budget_s: float = BUDGET_S,
    needed: int = 0,
    clock: Clock = time.perf_counter_ns,
    cpu_clock: Clock = time.process_time_ns,
    on_round: Callable[[int], None] | None = None,
    on_visit: Callable[[str], None] | None = None,
) -> Mapping[str, LatencySamples]:
    """Time sessions against each other.

    Args:
        sessions: name -> opened artifact.
        feeds: of every call.
        rounds: most rounds; every session is visited once in each.
        warmup: untimed calls of each session before the first round, at least one.
        budget_s: no round starts after this long, once there are ``LEAST_ROUNDS``.
        needed: timed calls of each session that are wanted, if the budget allows.
        clock: wall time.
        cpu_clock: CPU time of the process, all threads.
        on_round: told how many rounds are done, after each.
        on_visit: told whose calls come next, before its untimed ones.

    Raises:
        MeasurementError: there is nothing to time, or a clock runs backwards or stands still.
        RunFailed: a session failed; the message names it.
    """
    if not sessions or rounds < 1:
        raise MeasurementError(f"nothing to time: {len(sessions)} sessions, {rounds} rounds", "give one of each")
    started = clock()
    tell = on_visit or _ignore
    expected = {
        name: _warm_up(name, session, feeds, max(warmup, 1), (clock, tell)) for name, session in sessions.items()
    }
    calls = plan_calls(expected, budget_s, rounds, needed)
    walls: dict[str, list[list[int]]] = {name: [] for name in sessions}
    cpus: dict[str, list[float]] = {name: [] for name in sessions}
    with without_garbage_collection():
        for done in range(rounds):
            if done >= LEAST_ROUNDS and clock() - started > budget_s * NS_PER_S:
                break
            for name in order_round(tuple(sessions), done):
                tell(name)
                wall, cpu = _visit(name, sessions[name], feeds, calls[name], (clock, cpu_clock))
                walls[name].append(wall)
                cpus[name].append(cpu)
            if on_round is not None:
                on_round(done + 1)
    return {name: LatencySamples(np.array(walls[name], np.int64), np.array(cpus[name])) for name in sessions}


def plan_calls(
    expected_ns: Mapping[str, int], budget_s: float, rounds: int = ROUNDS, needed: int = 0
) -> Mapping[str, int]:
    """Timed calls per visit of each session, from what one of its calls is expected to take.

    Args:
        expected_ns: session -> nanoseconds of a call.
        budget_s: of all rounds.
        rounds: most rounds.
        needed: timed calls of each session that are wanted.
    """
    whole = sum(expected_ns.values()) / (budget_s * NS_PER_S)
    # A visit is one untimed call and c timed ones, so c / (1 + c) of the budget is spent on what counts.
    share = SLACK * needed * whole
    fitting = math.ceil(share / (1 - share)) if share < 1 else 1
    least = max(LEAST_CALLS, math.ceil(needed / rounds), min(fitting, MOST_CALLS))
    affordable = 1 / (LEAST_ROUNDS * whole) - 1 if whole else math.inf
    least = 1 if affordable < LEAST_CALLS else min(least, math.floor(min(affordable, MOST_CALLS)))
    return {name: max(least, int(np.clip(VISIT_NS // max(ns, 1), 1, MOST_CALLS))) for name, ns in expected_ns.items()}


def order_round(names: Sequence[str], index: int) -> tuple[str, ...]:
    """Names in the order of a round: forward, then backward, each pair of rounds starting one further."""
    turn = (index // 2) % len(names)
    rotated = (*names[turn:], *names[:turn])
    return rotated[::-1] if index % 2 else rotated


def summarise(
    samples: LatencySamples, batch: int, confidence: float, asked: Iterable[tuple[float, float]] = ()
) -> Latency:
    """Percentiles of the time of one call, all samples taken as independent.

    Args:
        samples: of one session.
        batch: items of a call.
        confidence: one-sided confidence of each bound of p50, p95 and p99.
        asked: further quantiles, each with its confidence.

    Raises:
        MeasurementError: there are no samples.
    """
    return describe_calls(samples.calls_ms, batch, confidence, asked)


def describe_calls(
    calls_ms: NDArray[np.float64], batch: int, confidence: float, asked: Iterable[tuple[float, float]] = ()
) -> Latency:
    """As ``summarise``, of the times themselves, ``[n]`` in milliseconds.

    Raises:
        MeasurementError: there are no samples.
    """
    p50, p95, p99 = (estimate_quantile(calls_ms, share, confidence, "ms") for share in (0.5, 0.95, 0.99))
    further = tuple(Percentile(share, estimate_quantile(calls_ms, share, sure, "ms")) for share, sure in asked)
    return Latency(p50=p50, p95=p95, p99=p99, batch=batch, n=calls_ms.size, asked=further)


def estimate_cpu_seconds(samples: LatencySamples, batch: int, confidence: float) -> Estimate:
    """CPU seconds per item, over all threads of the process: the median of the rounds.

    Raises:
        MeasurementError: there are no samples.
    """
    return estimate_quantile(samples.cpu_ns / NS_PER_S / batch, 0.5, confidence, "s")


def estimate_speedup(reference: LatencySamples, variant: LatencySamples, confidence: float) -> Estimate:
    """How many times faster the variant is, paired by round.

    Raises:
        MeasurementError: they were not timed in the same rounds.
    """
    return estimate_ratio(reference.per_round_ns, variant.per_round_ns, confidence)


def _ignore(_name: str) -> None:
    """Tell nobody."""


def _warm_up(name: str, session: Session, feeds: Feeds, calls: int, tools: tuple[Clock, Callable[[str], None]]) -> int:
    """Run some calls; the shortest time of one."""
    clock, tell = tools
    tell(name)
    with naming_failures(repr(name)):
        return min(time_call(session, feeds, clock) for _ in range(calls))


def _visit(
    name: str, session: Session, feeds: Feeds, calls: int, clocks: tuple[Clock, Clock]
) -> tuple[list[int], float]:
    """Settle, then time calls back to back: the wall time of each, and the mean CPU time of one."""
    clock, cpu_clock = clocks
    with naming_failures(repr(name)):
        settled = clock() + SETTLE_NS
        session.run(feeds)
        while clock() < settled:
            session.run(feeds)
        before = cpu_clock()
        times = [time_call(session, feeds, clock) for _ in range(calls)]
        cpu = (cpu_clock() - before) / calls
    if min(times) <= 0 or cpu < 0:
        raise MeasurementError(
            f"a call of {name!r} took {min(times)} ns by the clock, which is unstable or too coarse",
            "measure on a machine with a monotonic high-resolution clock",
        )
    return times, cpu


def time_call(session: Session, feeds: Feeds, clock: Clock) -> int:
    """Wall time of one call; the outputs are let go after the clock has stopped."""
    begin = clock()
    outputs = session.run(feeds)
    end = clock()
    del outputs
    return end - begin


@contextmanager
def naming_failures(name: str) -> Iterator[None]:
    """Say which session failed."""
    try:
        yield
    except BackendError as error:
        raise RunFailed(f"{name} failed while it was timed: {error.message}", error.hint) from error


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Collect now instead of within a timed call."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
