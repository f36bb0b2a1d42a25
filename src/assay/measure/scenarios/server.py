"""Queries that arrive at random: a Poisson process at a rate, answered in the order of their arrival.

The load is open: a query is due when it is due, whether or not the one before is answered, and its time counts from
then. So the wait in the queue counts, and a stall is felt by every query that was due while it lasted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import AssayError, MeasurementError
from assay.core.session import Session
from assay.core.tensor import Feeds
from assay.measure.interference import watch_machine
from assay.measure.latency import NS_PER_S, Clock, naming_failures, without_garbage_collection
from assay.measure.scenarios.outcome import Asked, Driver, Outcome, Scenario, Served, as_samples, conclude_served
from assay.measure.scenarios.single_stream import LEAST_QUERIES, PATIENCE, warm_up
from assay.measure.throughput import count_items

LEAD_NS = 2_000_000
SPARE = 4
"""So many times the queries that a bound needs: those that queue together do not count in full."""
BACKLOG = 1.25
"""A queue that takes longer by this factor, and a second, than its queries took to arrive is given up."""
SPIN_NS = 200_000
"""Sleeping may overshoot by about this much, so the last part of a wait is spent looking at the clock."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Where time comes from.

    Attributes:
        clock: wall time in nanoseconds.
        sleep: waits for so many seconds.
        spin_ns: the last part of a wait, which is spent looking at the clock.
    """

    clock: Clock = time.perf_counter_ns
    sleep: Callable[[float], None] = time.sleep
    spin_ns: int = SPIN_NS

    def wait_until(self, moment: int) -> None:
        """Come back at a moment of the clock, or at once where it has passed."""
        while (left := moment - self.clock()) > 0:
            if left > self.spin_ns:
                self.sleep((left - self.spin_ns) / NS_PER_S)


def run_server(  # noqa: PLR0913 - all but four are settings
    sessions: Sequence[Session],
    queries: Sequence[Feeds],
    asked: Asked,
    *,
    rate: float,
    seconds: float,
    rng: np.random.Generator,
    patience: float = PATIENCE,
    pace: Pace | None = None,
) -> Outcome:
    """Answer queries that arrive at random.

    Args:
        sessions: each answers one query at a time, in a thread of its own where there are several.
        queries: of equally many items each, sent in turn.
        asked: what is to be known.
        rate: items per second that arrive on average.
        seconds: least time.
        rng: draws the arrivals.
        patience: so many times the seconds may be spent to have the queries that the percentiles need.
        pace: where time comes from; the system where None.

    Raises:
        MeasurementError: the rate is not positive.
        RunFailed: a session failed.
    """
    if not 0 < rate < np.inf:
        raise MeasurementError(f"{rate} items per second cannot arrive", "give a positive rate")
    pace = Pace() if pace is None else pace
    items = count_items(queries[0])
    per_second = rate / items
    due = draw_arrivals(per_second, count_queries(per_second, seconds, SPARE * asked.needed, patience), rng)
    for session in sessions:
        warm_up(session, queries, pace.clock)
    line = _Line(due, queries, int(BACKLOG * due[-1] + NS_PER_S), pace)
    with without_garbage_collection(), watch_machine() as watch:
        _serve(sessions, line)
    answered = len(line.times)
    began, ended = (as_samples([line.times[index][place] for index in range(answered)]) for place in (0, 1))
    served = Served(due[:answered], began, ended, items, watch.read(), per_second)
    late = f"only {answered} of {due.size} queries were answered in {line.patience_ns / NS_PER_S:.3g} s"
    return conclude_served(Scenario.SERVER, Driver.OWN, served, asked, *([late] if answered < due.size else []))


def count_queries(per_second: float, seconds: float, needed: int, patience: float) -> int:
    """Queries that arrive in the time, or as many as are needed where patience allows."""
    within = round(per_second * seconds)
    return max(LEAST_QUERIES, within, min(needed, round(patience * per_second * seconds)))


def draw_arrivals(per_second: float, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """When queries are due, ``[count] int64`` nanoseconds from the start, ascending: a Poisson process."""
    due: NDArray[np.int64] = np.cumsum(rng.exponential(NS_PER_S / per_second, count)).astype(np.int64)
    return due


@dataclass
class _Line:
    """Queries waiting for a worker.

    Attributes:
        times: query -> when its call began and ended, from the start.
        failure: what a worker failed with.
    """

    due: NDArray[np.int64]
    queries: Sequence[Feeds]
    patience_ns: int
    pace: Pace
    times: dict[int, tuple[int, int]] = field(default_factory=dict)
    failure: AssayError | None = None
    _next: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, now: int) -> int | None:
        """The next query, or None where there is none, or no patience left."""
        with self._lock:
            if self._next >= self.due.size or now > self.patience_ns or self.failure is not None:
                return None
            self._next += 1
            return self._next - 1

    def work(self, session: Session, start: int) -> None:
        """Answer queries until there are none."""
        clock = self.pace.clock
        while (index := self.take(clock() - start)) is not None:
            self.pace.wait_until(start + int(self.due[index]))
            began = clock() - start
            outputs = session.run(self.queries[index % len(self.queries)])
            self.times[index] = (began, clock() - start)
            del outputs


def _serve(sessions: Sequence[Session], line: _Line) -> None:
    """Let every session work on the line; one of them in this thread."""
    start = line.pace.clock() + LEAD_NS

    def work(session: Session) -> None:
        try:
            with naming_failures("the model"):
                line.work(session, start)
        except AssayError as error:
            line.failure = error

    others = [threading.Thread(target=work, args=(session,), daemon=True) for session in sessions[1:]]
    for thread in others:
        thread.start()
    work(sessions[0])
    for thread in others:
        thread.join()
    if line.failure is not None:
        raise line.failure
