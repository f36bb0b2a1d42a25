"""Whether samples are what order statistics need: of one distribution, and independent of each other.

Every test is one of ranks, so that no heavy tail of a latency disturbs it, and speaks only where what it sees is
beyond chance *and* large enough to matter. Together they speak in at most ``FALSE_ALARMS`` of the cases where the
samples are independent and of one distribution: each has its share of that (Bonferroni).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from assay.core.stability import Interference, Stability, Symptom, SymptomKind
from assay.measure.interference import find_interference

FALSE_ALARMS = 0.01
TESTS = 5
LEAST_SAMPLES = 40
"""With fewer, nothing but the machine's own counters is judged."""
FIRST_CALLS = 5
FIRST_SHARES = (0.1, 0.01)
"""Fewer slow calls at the start than one in a hundred do not move a p99."""
WARM_UP = 0.05
DRIFT = 0.02
DEPENDENT = 0.5
"""Calls that are worth at most this share of their number are not independent."""
SLOW = 0.95
BURSTS = 0.3
MOST_LAGS = 200

Samples = NDArray[np.float64]


def judge_stability(
    samples: Samples,
    interference: Interference | None = None,
    *,
    false_alarms: float = FALSE_ALARMS,
    queued: bool = False,
) -> Stability:
    """What samples, in the order in which they were taken, and the machine's counters say of a measurement.

    Args:
        samples: ``[n]``, times of calls in any unit.
        interference: what the machine did meanwhile.
        false_alarms: share of the steady measurements in which the samples may be spoken against.
        queued: the calls come from a queue, in which a call after a pause differs from one without: that neighbours
            resemble each other is then no finding.
    """
    alpha = false_alarms / TESTS
    machine = () if interference is None else find_interference(interference)
    n = samples.size
    if n < LEAST_SAMPLES:
        return Stability(n, n, 0.0, 0.0, 0.0, 0.0, machine, interference)
    found: list[Symptom] = []
    skipped, warm_up = find_warm_up(samples, alpha)
    if skipped:
        words = f"the first {skipped} calls took {warm_up:.0%} longer than the others: it was not yet warm"
        found.append(Symptom(SymptomKind.WARM_UP, warm_up, words))
    rest = samples[skipped:]
    drift, drifted = find_drift(rest, alpha)
    if drifted:
        slower = f"{drift:.1%} longer" if drift > 0 else f"{-drift:.1%} less"
        words = f"the last third of the calls took {slower} than the first: the machine's speed drifted"
        found.append(Symptom(SymptomKind.DRIFT, abs(drift), words))
        rest = remove_drift(rest)
    correlation, effective, bursts = 0.0, rest.size, 0.0
    if not queued:
        correlation, effective, bursts = _judge_independence(rest, alpha, found)
    return Stability(
        n=n,
        effective=max(1, effective),
        warm_up=warm_up if skipped else 0.0,
        drift=drift,
        autocorrelation=correlation,
        bursts=bursts,
        findings=(*found, *machine),
        interference=interference,
    )


def _judge_independence(rest: Samples, alpha: float, found: list[Symptom]) -> tuple[float, int, float]:
    """Autocorrelation, independent samples and bursts; what makes them doubtful is added to what was found."""
    correlation, effective = count_effective(rest, alpha)
    bursts, bursting = find_bursts(rest, alpha)
    if bursting:
        effective = min(effective, round((1 - bursts) * rest.size))
        words = f"slow calls come together: {bursts:.0%} of those beyond p95 follow another one"
        found.append(Symptom(SymptomKind.BURSTS, bursts, words))
    elif effective <= DEPENDENT * rest.size:
        words = f"calls resemble their neighbours: {rest.size} are worth about {effective} independent ones"
        found.append(Symptom(SymptomKind.DEPENDENCE, rest.size / max(1, effective), words))
    return correlation, effective, bursts


def find_warm_up(samples: Samples, alpha: float) -> tuple[int, float]:
    """How many calls at the start were slower than all others, and by which share; none where it is chance."""
    for share in FIRST_SHARES:
        count = max(FIRST_CALLS, round(share * samples.size))
        first, rest = samples[:count], samples[count:]
        longer = float(np.median(first) / np.median(rest)) - 1
        if longer >= WARM_UP and compare_ranks(first, rest) <= alpha:
            return count, longer
    return 0, 0.0


def find_drift(samples: Samples, alpha: float) -> tuple[float, bool]:
    """How much longer the last third took than the first, and whether that is more than chance."""
    third = samples.size // 3
    first, last = samples[:third], samples[-third:]
    drift = float(np.median(last) / np.median(first)) - 1
    beyond_chance = 2 * min(compare_ranks(first, last), compare_ranks(last, first)) <= alpha
    return drift, abs(drift) >= DRIFT and beyond_chance


def remove_drift(samples: Samples) -> Samples:
    """Samples relative to the levels of their thirds, on straight lines through the thirds' middles."""
    thirds = np.array_split(np.arange(samples.size), 3)
    levels = [float(np.median(samples[part])) for part in thirds]
    places = [0.0, *(float(part.mean()) for part in thirds), float(samples.size)]
    first, middle, last = levels
    # A third's end is half as far from its middle as the middles are from each other.
    ends = (max(first + (first - middle) / 2, first / 2), max(last + (last - middle) / 2, last / 2))
    relative: Samples = samples / np.interp(np.arange(samples.size), places, [ends[0], *levels, ends[1]])
    return relative


def compare_ranks(larger: Samples, smaller: Samples) -> float:
    """Probability of ranks as high as those of ``larger``, if both are of one distribution.

    Mann and Whitney's test in its normal approximation, corrected for ties (Lehmann, Nonparametrics, 1975, ch. 1).
    """
    m, n = larger.size, smaller.size
    ranks = rank(np.concatenate([larger, smaller]))
    _, ties = np.unique(ranks, return_counts=True)
    total = m + n
    variance = m * n / 12 * (total + 1 - float(np.sum(ties.astype(np.float64) ** 3 - ties)) / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    excess = float(ranks[:m].sum()) - m * (total + 1) / 2 - 0.5
    return float(special.ndtr(-excess / np.sqrt(variance)))


def count_effective(samples: Samples, alpha: float) -> tuple[float, int]:
    """Autocorrelation of neighbours' ranks, and how many independent samples they are worth.

    Where neighbours resemble each other by more than chance, ``n / (1 + 2 sum of the autocorrelations)``, summed until
    a pair of lags adds nothing (Geyer, Practical Markov Chain Monte Carlo, 1992, section 3.3).
    """
    n = samples.size
    centred = rank(samples) - (n + 1) / 2
    power = float(centred @ centred)
    if power <= 0:
        return 0.0, n
    lags = [float(centred[:-lag] @ centred[lag:]) / power for lag in range(1, min(n // 3, MOST_LAGS))]
    if special.ndtr(-lags[0] * np.sqrt(n)) > alpha:
        return lags[0], n
    inflation = 1 + 2 * lags[0]
    for one, other in zip(lags[1::2], lags[2::2], strict=False):
        if one + other <= 0:
            break
        inflation += 2 * (one + other)
    return lags[0], max(1, round(n / inflation))


def find_bursts(samples: Samples, alpha: float) -> tuple[float, bool]:
    """Share of the slow samples that follow a slow one, and whether that is more than chance.

    Independent ones follow each other about ``slow^2 / n`` times, by Poisson's law.
    """
    slow = samples > np.quantile(samples, SLOW)
    count = int(slow.sum())
    following = int((slow[1:] & slow[:-1]).sum())
    if not following:
        return 0.0, False
    by_chance = float(special.gammainc(following, count * (count - 1) / samples.size))
    share = following / count
    return share, share >= BURSTS and by_chance <= alpha


def rank(samples: Samples) -> Samples:
    """Ranks from 1, equal samples sharing the mean of theirs."""
    _, places, counts = np.unique(samples, return_inverse=True, return_counts=True)
    last = np.cumsum(counts).astype(np.float64)
    shared: Samples = (last - (counts - 1) / 2)[places.reshape(-1)]
    return shared
