"""Items per second of one session with as many calls under way as its runtime takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from assay.core.errors import MeasurementError
from assay.core.estimate import Estimate
from assay.core.session import Session
from assay.core.tensor import Feeds
from assay.measure.latency import NS_PER_S, Clock
from assay.measure.statistics.quantile import estimate_quantile

MOST_BLOCKS = 20
LEAST_BLOCKS = 5
"""From five blocks on, a median has bounds at 95%."""
WAVES = 2
"""Outputs in order arrive in waves of as many as were under way: a block spans at least this many waves."""
PATIENCE = 4
"""A slow model may take this many times the asked time, so that there are enough blocks for an interval."""


class _Load:
    """The same calls again and again until the time is up."""

    def __init__(self, calls: Sequence[Feeds], seconds: float, clock: Clock) -> None:
        self._calls, self._clock = calls, clock
        self._started = clock()
        self._stop = self._started + seconds * NS_PER_S
        self._latest = self._started + PATIENCE * seconds * NS_PER_S
        self.given = 0
        self.arrivals: list[int] = []
        self.width = 1
        """Most calls that were under way at once."""

    def __iter__(self) -> Iterator[Feeds]:
        while self.given == 0 or self._wants_more():
            self.given += 1
            self.width = max(self.width, self.given - len(self.arrivals))
            yield self._calls[(self.given - 1) % len(self._calls)]

    def _wants_more(self) -> bool:
        now = self._clock()
        if now < self._stop:
            return True
        # One wave fills the pipeline, and the last one empties it: neither counts.
        enough = (LEAST_BLOCKS * WAVES + 2) * self.width
        return self.given < enough and now < self._latest


def measure_throughput(
    session: Session,
    feeds: Feeds,
    *,
    seconds: float,
    confidence: float = 0.95,
    clock: Clock = time.perf_counter_ns,
) -> Estimate:
    """Items per second of a steady stream of calls: the median of some blocks of it.

    The filling and the emptying of the pipeline are left out where enough is left.

    Args:
        session: opened with the runtime's throughput mode, where it has one.
        feeds: of every call.
        seconds: how long to run; up to ``PATIENCE`` times as long for slow models.
        confidence: one-sided confidence of each bound.
        clock: wall time in nanoseconds.

    Raises:
        MeasurementError: the session gave no outputs, or the clock stands still.
        RunFailed: the session failed.
    """
    return stream_load(session, (feeds,), seconds=seconds, confidence=confidence, clock=clock)[0]


def stream_load(
    session: Session,
    calls: Sequence[Feeds],
    *,
    seconds: float,
    confidence: float = 0.95,
    clock: Clock = time.perf_counter_ns,
) -> tuple[Estimate, int]:
    """As ``measure_throughput``, of calls with equally many items, in turn; also the number of calls.

    Raises:
        MeasurementError: the session gave no outputs, or the clock stands still.
        RunFailed: the session failed.
    """
    session.run(calls[0])
    started = clock()
    load = _Load(calls, seconds, clock)
    for _ in session.stream(load):
        load.arrivals.append(clock())
    edges = _find_edges(started, load)
    took = np.diff(edges[:, 1])
    if not took.size or (took <= 0).any():
        raise MeasurementError(
            f"throughput cannot be measured: {len(load.arrivals)} outputs for {load.given} calls", "measure for longer"
        )
    rates = np.diff(edges[:, 0]) * count_items(calls[0]) / took * NS_PER_S
    return estimate_quantile(rates, 0.5, confidence, "items/s"), load.given


def count_items(feeds: Feeds) -> int:
    """Items of one call: the length of the first input's first axis; 1 for a scalar."""
    first = next(iter(feeds.values()))
    return len(first) if first.ndim else 1


def _find_edges(started: int, load: _Load) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Block boundaries ``[blocks + 1, 2]``: calls finished, and when."""
    count = len(load.arrivals)
    arrivals = np.array([started, *load.arrivals], dtype=np.float64)
    first, last = load.width, count - load.width
    blocks = min(MOST_BLOCKS, (last - first) // (WAVES * load.width))
    if blocks < LEAST_BLOCKS:
        first, last = 0, count
        blocks = min(MOST_BLOCKS, max(1, count // (WAVES * load.width))) if count else 0
    marks = np.linspace(first, last, blocks + 1).astype(np.int64)
    return np.stack([marks.astype(np.float64), arrivals[marks]], axis=1)
