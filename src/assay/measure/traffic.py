"""Latency of several sessions over calls that differ, such as texts of different lengths.

As in ``latency``, one round visits every session once, settles it with untimed calls, and times some calls back to
back. Here every session gets the very same calls in the same order, so that times are paired call by call: the
percentiles are those of all calls, and a speed-up is the median of the ratios.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import MeasurementError
from assay.core.estimate import Estimate
from assay.core.session import Session
from assay.core.tensor import Feeds
from assay.core.trial import LengthLatency
from assay.measure.latency import (
    BUDGET_S,
    LEAST_ROUNDS,
    NS_PER_S,
    ROUNDS,
    SETTLE_NS,
    Clock,
    LatencySamples,
    naming_failures,
    order_round,
    plan_calls,
    time_call,
    without_garbage_collection,
)
from assay.measure.statistics.quantile import estimate_quantile
from assay.measure.statistics.ratio import estimate_ratio

MEDIAN = 0.5


@dataclass(frozen=True, slots=True)
class TrafficSamples:
    """Times of some sessions over the same calls.

    Attributes:
        samples: of each session.
        order: ``[rounds, calls] int64``, which of the calls each sample is of.
    """

    samples: Mapping[str, LatencySamples]
    order: NDArray[np.int64]


def measure_traffic(  # noqa: PLR0913 - all but two are settings with defaults
    sessions: Mapping[str, Session],
    calls: Sequence[Feeds],
    *,
    rounds: int = ROUNDS,
    budget_s: float = BUDGET_S,
    needed: int = 0,
    clock: Clock = time.perf_counter_ns,
    cpu_clock: Clock = time.process_time_ns,
    on_visit: Callable[[str], None] | None = None,
) -> TrafficSamples:
    """Time sessions against each other on the same calls, in turn.

    Every shape is run before anything is timed, as a server would have seen it.

    Args:
        sessions: name -> opened artifact.
        calls: what is sent, in this order, from the start again at the end.
        rounds: most rounds; every session is visited once in each.
        budget_s: no round starts after this long, once there are ``LEAST_ROUNDS``.
        needed: timed calls of each session that are wanted, if the budget allows.
        clock: wall time.
        cpu_clock: CPU time of the process, all threads.
        on_visit: told whose calls come next, before its untimed ones.

    Raises:
        MeasurementError: there is nothing to time, or a clock runs backwards or stands still.
        RunFailed: a session failed; the message names it.
    """
    if not sessions or not calls or rounds < 1:
        counts = f"{len(sessions)} sessions, {len(calls)} calls, {rounds} rounds"
        raise MeasurementError(f"nothing to time: {counts}", "give one of each")
    started, tell = clock(), on_visit or _ignore
    expected: dict[str, int] = {}
    for name, session in sessions.items():
        tell(name)
        with naming_failures(repr(name)):
            expected[name] = _warm_up(session, calls, clock)
    # As many calls for all, or they would not be the same ones: what the slowest session can afford.
    count = min(plan_calls(expected, budget_s, rounds, needed).values())
    walls: dict[str, list[list[int]]] = {name: [] for name in sessions}
    cpus: dict[str, list[float]] = {name: [] for name in sessions}
    order: list[NDArray[np.int64]] = []
    with without_garbage_collection():
        for done in range(rounds):
            if done >= LEAST_ROUNDS and clock() - started > budget_s * NS_PER_S:
                break
            order.append(np.arange(done * count, (done + 1) * count) % len(calls))
            for name in order_round(tuple(sessions), done):
                tell(name)
                with naming_failures(repr(name)):
                    wall, cpu = _visit(sessions[name], calls, order[-1], (clock, cpu_clock))
                _refuse_coarse(name, min(wall), cpu)
                walls[name].append(wall)
                cpus[name].append(cpu)
    samples = {name: LatencySamples(np.array(walls[name], np.int64), np.array(cpus[name])) for name in sessions}
    return TrafficSamples(samples, np.stack(order))


def estimate_call_speedup(reference: LatencySamples, variant: LatencySamples, confidence: float) -> Estimate:
    """How many times faster the variant is: the median over calls that both were timed on.

    Raises:
        MeasurementError: they were not timed on the same calls.
    """
    return estimate_ratio(reference.calls_ms, variant.calls_ms, confidence)


def describe_lengths(
    reference: LatencySamples,
    variant: LatencySamples,
    lengths: NDArray[np.int64],
    shares: Mapping[int, float],
    confidence: float,
) -> tuple[LengthLatency, ...]:
    """Time and speed-up for each length of items.

    Args:
        reference: times of the FP32 model.
        variant: times of the variant on the same calls.
        lengths: ``[rounds * calls] int64``, length of the items of each timed call.
        shares: length -> share of the items.
        confidence: one-sided confidence of each bound.

    Raises:
        MeasurementError: the times are not of the same calls.
    """
    before, after = reference.calls_ms, variant.calls_ms
    if not before.shape == after.shape == lengths.shape:
        message = f"{before.size} and {after.size} times of {lengths.size} calls cannot be paired"
        raise MeasurementError(message, "time both on the same calls")
    found = []
    for length in np.unique(lengths).tolist():
        own = lengths == length
        found.append(
            LengthLatency(
                length=length,
                share=shares.get(length, 0.0),
                n=int(np.count_nonzero(own)),
                p50=estimate_quantile(after[own], MEDIAN, confidence, "ms"),
                speedup=estimate_ratio(before[own], after[own], confidence),
            )
        )
    return tuple(found)


def level_lengths(samples: LatencySamples, lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Times in milliseconds as if all calls had one length, ``[n]``: each over the median of its own length.

    What is left is how the machine behaved, since that items differ is no fault of it.
    """
    calls = samples.calls_ms
    levelled = np.empty_like(calls)
    for length in np.unique(lengths):
        own = lengths == length
        levelled[own] = calls[own] / np.median(calls[own])
    return levelled * float(np.median(calls))


def _ignore(_name: str) -> None:
    """Tell nobody."""


def _warm_up(session: Session, calls: Sequence[Feeds], clock: Clock) -> int:
    """Run every shape; the mean time of a call in nanoseconds."""
    shapes: dict[tuple[tuple[int, ...], ...], tuple[Feeds, int]] = {}
    for feeds in calls:
        key = tuple(feeds[name].shape for name in sorted(feeds))
        known, count = shapes.get(key, (feeds, 0))
        shapes[key] = (known, count + 1)
    total = 0
    for feeds, count in shapes.values():
        session.run(feeds)
        total += count * min(time_call(session, feeds, clock) for _ in range(2))
    return total // len(calls)


def _refuse_coarse(name: str, shortest_ns: int, cpu_ns: float) -> None:
    """Refuse times of a clock that stands still or runs backwards."""
    if shortest_ns <= 0 or cpu_ns < 0:
        message = f"a call of {name!r} took {shortest_ns} ns by the clock, which is unstable or too coarse"
        raise MeasurementError(message, "measure on a machine with a monotonic high-resolution clock")


def _visit(
    session: Session, calls: Sequence[Feeds], chosen: NDArray[np.int64], clocks: tuple[Clock, Clock]
) -> tuple[list[int], float]:
    """Settle on the call before, then time the chosen ones: the wall time of each, and the mean CPU time."""
    clock, cpu_clock = clocks
    settled = clock() + SETTLE_NS
    before = calls[int(chosen[0]) - 1]
    session.run(before)
    while clock() < settled:
        session.run(before)
    spent = cpu_clock()
    times = [time_call(session, calls[index], clock) for index in chosen.tolist()]
    return times, (cpu_clock() - spent) / len(times)
