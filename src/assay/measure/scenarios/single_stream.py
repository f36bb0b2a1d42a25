"""One query after the other: the next one is sent when the last one is answered."""

from __future__ import annotations

import time
from collections.abc import Sequence

from assay.core.session import Session
from assay.core.tensor import Feeds
from assay.measure.interference import watch_machine
from assay.measure.latency import NS_PER_S, Clock, naming_failures, without_garbage_collection
from assay.measure.scenarios.outcome import Asked, Driver, Outcome, Scenario, Served, as_samples, conclude_served
from assay.measure.throughput import count_items

WARM_UP_CALLS = 5
WARM_UP_NS = 100_000_000
PATIENCE = 4
"""A slow model may take so many times the asked seconds, so that there are enough queries for the bounds."""
LEAST_QUERIES = 10


def run_single_stream(
    session: Session, queries: Sequence[Feeds], asked: Asked, *, seconds: float, clock: Clock = time.perf_counter_ns
) -> Outcome:
    """Time queries one after the other, for ``seconds`` and as many as the percentiles need.

    Args:
        session: opened for latency.
        queries: of equally many items each, sent in turn.
        asked: what is to be known; at most ``PATIENCE`` times the seconds are spent on it.
        seconds: least time.
        clock: wall time in nanoseconds.

    Raises:
        RunFailed: the session failed.
    """
    warm_up(session, queries, clock)
    began: list[int] = []
    ended: list[int] = []
    with without_garbage_collection(), watch_machine() as watch, naming_failures("the model"):
        start = clock()
        while wants_more(len(ended), asked.needed, (clock() - start) / NS_PER_S, seconds):
            query = queries[len(ended) % len(queries)]
            began.append(clock() - start)
            outputs = session.run(query)
            ended.append(clock() - start)
            del outputs
    first, last = as_samples(began), as_samples(ended)
    served = Served(first, first, last, count_items(queries[0]), watch.read())
    return conclude_served(Scenario.SINGLE_STREAM, Driver.OWN, served, asked)


def warm_up(session: Session, queries: Sequence[Feeds], clock: Clock = time.perf_counter_ns) -> None:
    """Calls that do not count: some, and as many as fit into a tenth of a second.

    Raises:
        RunFailed: the session failed.
    """
    with naming_failures("the model"):
        done, stop = 0, clock() + WARM_UP_NS
        while done < WARM_UP_CALLS or clock() < stop:
            session.run(queries[done % len(queries)])
            done += 1


def wants_more(done: int, needed: int, spent_s: float, seconds: float) -> bool:
    """Whether the time is not up, or queries are missing for which there is still patience."""
    if done < LEAST_QUERIES or spent_s < seconds:
        return True
    return done < needed and spent_s < PATIENCE * seconds
