"""All queries at hand at once: as many under way as the session takes."""

from __future__ import annotations

import time
from collections.abc import Sequence

from assay.core.session import Session
from assay.core.stability import Stability
from assay.core.tensor import Feeds
from assay.measure.interference import find_interference, watch_machine
from assay.measure.latency import NS_PER_S, Clock, without_garbage_collection
from assay.measure.scenarios.outcome import Asked, Driver, Outcome, Scenario
from assay.measure.scenarios.single_stream import warm_up
from assay.measure.throughput import count_items, stream_load


def run_offline(
    session: Session, queries: Sequence[Feeds], asked: Asked, *, seconds: float, clock: Clock = time.perf_counter_ns
) -> Outcome:
    """Items per second of a steady stream of queries. A query has no latency here.

    Args:
        session: opened with the runtime's throughput mode, where it has one.
        queries: of equally many items each, sent in turn.
        asked: the confidence of the bounds.
        seconds: how long to run; longer for slow models.
        clock: wall time in nanoseconds.

    Raises:
        MeasurementError: the session gave no outputs, or the clock stands still.
        RunFailed: the session failed.
    """
    warm_up(session, queries, clock)
    with without_garbage_collection(), watch_machine() as watch:
        start = clock()
        rate, count = stream_load(session, queries, seconds=seconds, confidence=asked.confidence, clock=clock)
        spent = (clock() - start) / NS_PER_S
    seen = watch.read()
    machine = find_interference(seen)
    reasons = [symptom.words for symptom in machine]
    if rate.low is None:
        reasons.append(f"{count} queries give no lower bound of the rate: measure for longer")
    return Outcome(
        scenario=Scenario.OFFLINE,
        driver=Driver.OWN,
        queries=count,
        items=count_items(queries[0]),
        seconds=spent,
        latency=None,
        rate=rate,
        offered=None,
        stability=Stability(count, count, 0.0, 0.0, 0.0, 0.0, machine, seen),
        valid=not reasons,
        reasons=tuple(reasons),
    )
