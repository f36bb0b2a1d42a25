"""What a scenario showed, whoever drove it: the times of all queries, the rate, and whether they can be trusted.

The scenarios are those of MLPerf Inference (Reddi et al., MLPerf Inference Benchmark, ISCA 2020, section III-C).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from assay.core.estimate import Estimate
from assay.core.stability import Interference, Stability
from assay.core.trial import Latency, Percentile
from assay.measure.latency import NS_PER_MS, NS_PER_S
from assay.measure.stability import judge_stability
from assay.measure.statistics.dependence import count_worth, find_cycles, split_blocks
from assay.measure.statistics.quantile import count_needed, estimate_quantile

BLOCKS = 20
P90 = 0.9
KEPT = 0.95
"""A server that answers less than this share of what is asked of it, as it is asked, falls behind."""


class Scenario(StrEnum):
    """How queries come."""

    SINGLE_STREAM = "single-stream"
    OFFLINE = "offline"
    SERVER = "server"


class Driver(StrEnum):
    """Who sends them."""

    OWN = "own"
    LOADGEN = "loadgen"


@dataclass(frozen=True, slots=True)
class Served:
    """Times of all queries that were answered, in the order of their arrival, in nanoseconds from the start.

    Attributes:
        arrived: ``[n] int64``, when a query was due.
        started: ``[n] int64``, when its call began.
        finished: ``[n] int64``, when its call ended.
        items: of one query.
        interference: what else the machine did.
        offered: queries per second that were to arrive; None where one waits for the other.
    """

    arrived: NDArray[np.int64]
    started: NDArray[np.int64]
    finished: NDArray[np.int64]
    items: int
    interference: Interference | None = None
    offered: float | None = None

    @property
    def waited_ms(self) -> NDArray[np.float64]:
        """From when a query was due to its answer: queueing counts."""
        return (self.finished - self.arrived) / NS_PER_MS

    @property
    def served_ms(self) -> NDArray[np.float64]:
        """From when a call began to its end."""
        return (self.finished - self.started) / NS_PER_MS


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scenario showed.

    Attributes:
        queries: that were answered.
        items: of one query.
        seconds: from the first query to the last answer.
        latency: percentiles of the time of a query, from when it was due; None offline.
        rate: items per second that were answered.
        offered: items per second that were to arrive; None where one query waits for the other.
        stability: whether the machine held still; of the calls alone, without their queue.
        valid: the numbers can be trusted.
        reasons: why they cannot, in words.
        samples_ms: the times of all queries, in the order of their arrival.
        calls_ms: the times of their calls alone, without the queue.
        overloaded: queries came faster than they were answered.
    """

    scenario: Scenario
    driver: Driver
    queries: int
    items: int
    seconds: float
    latency: Latency | None
    rate: Estimate
    offered: float | None
    stability: Stability
    valid: bool
    reasons: tuple[str, ...]
    samples_ms: tuple[float, ...] = ()
    calls_ms: tuple[float, ...] = ()
    overloaded: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be known of the latency.

    Attributes:
        confidence: one-sided confidence of every bound.
        percentiles: further quantiles, each with its confidence.
    """

    confidence: float = 0.95
    percentiles: tuple[tuple[float, float], ...] = ()

    @property
    def needed(self) -> int:
        """Fewest queries with which every percentile has an upper bound."""
        asked = self.percentiles or ((P90, self.confidence),)
        return max(count_needed(quantile, confidence) for quantile, confidence in asked)


def conclude_served(scenario: Scenario, driver: Driver, served: Served, asked: Asked, *troubles: str) -> Outcome:
    """The outcome of a scenario whose queries have a latency.

    Where queries queue, those of one busy period resemble each other: the bounds count busy periods, not queries.
    Where calls resemble their neighbours, blocks of them take the place of busy periods.

    Args:
        scenario: single stream or server.
        driver: who sent the queries.
        served: the times.
        asked: what is to be known.
        troubles: why the numbers cannot be trusted, as far as the driver knows.

    Raises:
        MeasurementError: no query was answered.
    """
    queued = scenario is Scenario.SERVER
    stability = judge_stability(served.served_ms, served.interference, queued=queued)
    periods = find_cycles(served.arrived, served.finished) if queued else None
    if not queued and stability.effective < stability.n:
        periods = split_blocks(stability.n)
    latency = describe_waits(served.waited_ms, served.items, asked, periods)
    reasons = [*troubles, *find_shortage(latency, asked), *(finding.words for finding in stability.findings)]
    seconds = float(served.finished.max() - served.arrived[0]) / NS_PER_S
    answered = served.arrived.size / seconds
    overloaded = served.offered is not None and answered < KEPT * served.arrived.size / _span(served)
    if overloaded:
        reasons.append(f"queries came faster than they were answered: {answered:.4g}/s of {served.offered or 0:.4g}/s")
    return Outcome(
        scenario=scenario,
        driver=driver,
        queries=served.arrived.size,
        items=served.items,
        seconds=seconds,
        latency=latency,
        rate=estimate_rate(served, asked.confidence),
        offered=None if served.offered is None else served.offered * served.items,
        stability=stability,
        valid=not reasons,
        reasons=tuple(reasons),
        samples_ms=tuple(served.waited_ms.round(4).tolist()),
        calls_ms=tuple(served.served_ms.round(4).tolist()),
        overloaded=overloaded,
    )


def describe_waits(
    waited_ms: NDArray[np.float64], batch: int, asked: Asked, periods: NDArray[np.int64] | None
) -> Latency:
    """Percentiles of queries' times, each from as many as are independent.

    Args:
        waited_ms: ``[n]``.
        batch: items of a query.
        asked: quantiles with their confidences.
        periods: ``[n]``, the busy period of each query, or the block; None where all are independent.
    """

    def estimate(quantile: float, confidence: float) -> Estimate:
        worth = None if periods is None else count_worth(waited_ms, quantile, periods)
        return estimate_quantile(waited_ms, quantile, confidence, "ms", worth)

    p50, p95, p99 = (estimate(quantile, asked.confidence) for quantile in (0.5, 0.95, 0.99))
    wanted = dict.fromkeys(((P90, asked.confidence), *asked.percentiles))
    further = tuple(Percentile(quantile, estimate(quantile, confidence)) for quantile, confidence in wanted)
    return Latency(p50=p50, p95=p95, p99=p99, batch=batch, n=waited_ms.size, asked=further)


def find_shortage(latency: Latency, asked: Asked) -> list[str]:
    """Percentiles without an upper bound, and how many queries they need."""
    found: list[str] = []
    for quantile, confidence in asked.percentiles:
        estimate = latency.at(quantile, confidence)
        if estimate is None or estimate.high is not None:
            continue
        worth = f", worth {estimate.n} independent ones," if estimate.n < latency.n else ""
        needed = count_needed(quantile, confidence)
        found.append(f"{latency.n} queries{worth} bound no p{quantile * 100:g} at {confidence:.4g}: it needs {needed}")
    return found


def estimate_rate(served: Served, confidence: float) -> Estimate:
    """Items per second: the median of blocks of answers."""
    ends = np.sort(served.finished).astype(np.float64)
    blocks = min(BLOCKS, max(1, ends.size // 2))
    marks = np.linspace(0, ends.size, blocks + 1).astype(np.int64)
    edges = np.concatenate([[float(served.arrived[0])], ends])[marks]
    return estimate_quantile(np.diff(marks) * served.items / np.diff(edges) * NS_PER_S, 0.5, confidence, "items/s")


def as_samples(values: Sequence[int]) -> NDArray[np.int64]:
    """Times as an array."""
    return np.array(values, dtype=np.int64)


def _span(served: Served) -> float:
    """Seconds over which the queries were due."""
    return max(float(served.arrived[-1] - served.arrived[0]) / NS_PER_S, 1e-9)
