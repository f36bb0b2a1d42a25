"""Times of calls too long for many rounds: the prompts and the steps of a language model, interleaved."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import MeasurementError
from assay.core.estimate import Estimate
from assay.measure.latency import NS_PER_MS, NS_PER_S, Clock, naming_failures, order_round, without_garbage_collection
from assay.measure.statistics.quantile import estimate_quantile

LEAST_ROUNDS = 5
"""A bound of a median at 95% needs so many."""
MOST_ROUNDS = 60
SETTLE_NS = 2_000_000
"""Before the timed call of a visit untimed ones go on for so long, at least one where calls are not much longer."""
LONG_NS = 50 * SETTLE_NS
"""A call that takes so long settles by itself."""
Call = Callable[[], None]


def time_calls(
    calls: Mapping[str, Call],
    *,
    budget_s: float,
    on_visit: Callable[[str], None],
    clock: Clock = time.perf_counter_ns,
) -> Mapping[str, NDArray[np.int64]]:
    """Wall times of calls in nanoseconds, one a round of each, in rounds that visit every one of them.

    Args:
        calls: name -> what is timed.
        budget_s: no round starts after so long, once there are ``LEAST_ROUNDS``.
        on_visit: told whose calls come next.
        clock: wall time in nanoseconds.

    Raises:
        MeasurementError: the clock stands still.
        RunFailed: a call failed; the message names it.
    """
    started = clock()
    expected: dict[str, int] = {}
    for name, call in calls.items():
        on_visit(name)
        with naming_failures(repr(name)):
            expected[name] = _time(name, call, clock)
    found: dict[str, list[int]] = {name: [] for name in calls}
    with without_garbage_collection():
        for done in range(MOST_ROUNDS):
            if done >= LEAST_ROUNDS and clock() - started > budget_s * NS_PER_S:
                break
            for name in order_round(tuple(calls), done):
                on_visit(name)
                with naming_failures(repr(name)):
                    found[name].append(_visit(name, calls[name], expected[name], clock))
    return {name: np.array(times, np.int64) for name, times in found.items()}


def _visit(name: str, call: Call, expected_ns: int, clock: Clock) -> int:
    """Settle, then one timed call."""
    if expected_ns < LONG_NS:
        settled = clock() + SETTLE_NS
        call()
        while clock() < settled:
            call()
    return _time(name, call, clock)


def _time(name: str, call: Call, clock: Clock) -> int:
    """Wall time of one call.

    Raises:
        MeasurementError: the clock says that it took none.
    """
    begin = clock()
    call()
    took = clock() - begin
    if took <= 0:
        message = f"a call of {name!r} took {took} ns by the clock, which is unstable or too coarse"
        raise MeasurementError(message, "measure on a machine with a monotonic high-resolution clock")
    return took


def estimate_time_ms(times_ns: NDArray[np.int64], confidence: float) -> Estimate:
    """Median time of a call, in milliseconds.

    Args:
        times_ns: ``[rounds]``.
        confidence: one-sided, of each bound.
    """
    times_ms: NDArray[np.float64] = times_ns / NS_PER_MS
    return estimate_quantile(times_ms, 0.5, confidence, "ms")


def estimate_rate(times_ns: NDArray[np.int64], tokens: int, confidence: float) -> Estimate:
    """Median tokens per second of calls that take or give so many tokens each.

    Args:
        times_ns: ``[rounds]``.
        tokens: of a call.
        confidence: one-sided, of each bound.
    """
    rates: NDArray[np.float64] = np.divide(tokens * NS_PER_S, times_ns)
    return estimate_quantile(rates, 0.5, confidence, "tokens/s")
