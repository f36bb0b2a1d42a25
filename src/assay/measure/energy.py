"""Energy of calls, where the machine has a readable counter (`assay.measure.meters`)."""

from __future__ import annotations

import time
from collections.abc import Sequence

from assay.core.errors import MeasurementError
from assay.core.estimate import Estimate
from assay.core.session import Session
from assay.core.tensor import Feeds
from assay.measure.latency import NS_PER_S, Clock
from assay.measure.meters import EnergyMeter
from assay.measure.statistics.quantile import estimate_quantile
from assay.measure.throughput import count_items

BLOCKS = 10


def measure_energy(
    meter: EnergyMeter,
    session: Session,
    feeds: Feeds,
    *,
    seconds: float,
    confidence: float = 0.95,
    clock: Clock = time.perf_counter_ns,
    further: Sequence[Feeds] = (),
) -> Estimate:
    """Joules per item of calls back to back: the median of some blocks.

    Args:
        meter: of the device.
        session: opened artifact.
        feeds: of every call.
        seconds: how long to run.
        confidence: one-sided confidence of each bound.
        clock: wall time in nanoseconds.
        further: calls with equally many items that take turns with the first.

    Raises:
        MeasurementError: the counter stood still.
        RunFailed: the session failed.
    """
    items, turns = count_items(feeds), (feeds, *further)
    session.run(feeds)
    joules: list[float] = []
    for _ in range(BLOCKS):
        stop = clock() + seconds / BLOCKS * NS_PER_S
        before, calls = meter.read_joules(), 0
        while calls == 0 or clock() < stop:
            session.run(turns[calls % len(turns)])
            calls += 1
        joules.append((meter.read_joules() - before) / calls / items)
    if not any(joules):
        raise MeasurementError(f"the energy counter did not move in {seconds:g} s", "measure for longer")
    return estimate_quantile(joules, 0.5, confidence, "J")
