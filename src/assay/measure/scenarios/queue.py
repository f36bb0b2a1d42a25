"""A queue of random arrivals, simulated from measured service times: which rate is worth trying."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from assay.measure.statistics.dependence import count_worth, find_cycles
from assay.measure.statistics.quantile import count_needed, estimate_quantile

SIMULATED = 4000
STEPS = 12
MOST_SIMULATED = 8000
REPEATS = 2
HIGHEST, NEXT, RATES = 0.95, 0.85, 18


def simulate_waits(gaps: NDArray[np.float64], services: NDArray[np.float64], workers: int = 1) -> NDArray[np.float64]:
    """Times from arrival to answer of queries that are answered in the order of their arrival.

    Lindley's recursion (The theory of queues with a single server, 1952), and Kiefer and Wolfowitz's for several
    workers: a query begins when it has arrived and the first worker is free.

    Args:
        gaps: ``[n]``, from the arrival before to that of each query.
        services: ``[n]``, time of each call in the same unit.
        workers: that answer at once.
    """
    arrivals = np.cumsum(gaps)
    free = [0.0] * workers
    waits = np.empty(gaps.size)
    for index, (arrived, service) in enumerate(zip(arrivals.tolist(), services.tolist(), strict=True)):
        ended = max(arrived, free[0]) + service
        heapq.heapreplace(free, ended)
        waits[index] = ended - arrived
    return waits


def propose_rate(
    services_s: NDArray[np.float64], quantile: float, limit_s: float, rng: np.random.Generator, workers: int = 1
) -> float | None:
    """The highest rate of queries per second at which simulated waits keep a bound; None where none does.

    Arrivals and services are drawn once and the gaps scaled, so that waits grow with the rate and bisection finds it.

    Args:
        services_s: ``[n]``, measured times of calls in seconds.
        quantile: of the waits that is bounded.
        limit_s: the bound.
        rng: draws arrivals and services.
        workers: that answer at once.
    """
    if float(np.quantile(services_s, quantile)) > limit_s:
        return None
    services = rng.choice(services_s, SIMULATED)
    gaps = rng.exponential(1.0, SIMULATED)
    low, high = 0.0, workers / float(services_s.mean())
    for _ in range(STEPS):
        rate = (low + high) / 2
        kept = float(np.quantile(simulate_waits(gaps / rate, services, workers), quantile)) <= limit_s
        low, high = (rate, high) if kept else (low, rate)
    return low or None


def find_certifiable(
    services_s: NDArray[np.float64],
    bound: tuple[float, float, float],
    seconds: float,
    rng: np.random.Generator,
    workers: int = 1,
) -> float | None:
    """The highest rate at which a simulated run of some seconds certifies a bound each time; None where none does.

    A run near the highest rate that keeps the bound certifies nothing: its busy periods are long, so its queries are
    worth few. One at a low rate has too few queries.

    Args:
        services_s: ``[n]``, measured times of calls in seconds.
        bound: quantile of the waits, its confidence, and the limit in seconds.
        seconds: of a run.
        rng: draws arrivals and services.
        workers: that answer at once.
    """
    quantile, confidence, limit_s = bound
    services = rng.choice(services_s, (REPEATS, MOST_SIMULATED))
    gaps = rng.exponential(1.0, (REPEATS, MOST_SIMULATED))
    top = HIGHEST * workers / float(services_s.mean())
    for step in range(RATES):
        rate = top * NEXT**step
        count = min(MOST_SIMULATED, round(rate * seconds))
        if count < count_needed(quantile, confidence):
            return None
        runs = ((gap[:count] / rate, service[:count]) for gap, service in zip(gaps, services, strict=True))
        highest = (
            bound_waits(gap, simulate_waits(gap, service, workers), quantile, confidence) for gap, service in runs
        )
        if all(wait is not None and wait <= limit_s for wait in highest):
            return rate
    return None


def bound_waits(
    gaps: NDArray[np.float64], waits: NDArray[np.float64], quantile: float, confidence: float
) -> float | None:
    """Upper bound of a quantile of simulated waits; None where they are worth too few independent ones."""
    arrived = np.cumsum(gaps)
    as_ns = [(times * 1e9).astype(np.int64) for times in (arrived, arrived + waits)]
    worth = count_worth(waits, quantile, find_cycles(as_ns[0], as_ns[1]))
    return estimate_quantile(waits, quantile, confidence, "s", worth).high
