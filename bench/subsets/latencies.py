"""Latency of subsets in several passes over all of them, each timed in turns with one subset that all are held to.

In a pass the subsets come in a new random order, a few at a time; these are opened afresh and timed in interleaved
rounds with the reference. What is kept of a visit is the median over the rounds of its time over the reference's, so a
machine that is slower for a while slows both. Opening afresh in every pass lets the place that memory happened to take
average out too.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.core.session import Session
from assay.measure.latency import LatencySamples, measure_latency
from subsets.ground import Ground, name_subset

TOGETHER = 8
ROUNDS = 6
REFERENCE = 0
"""All groups quantized: what the others are held to."""


@dataclass(frozen=True)
class Visit:
    """What one subset took in one pass.

    Attributes:
        ratio: of its time to that of the reference, median over the rounds.
        cpu_ratio: likewise, of the processor's time.
        reference_ms: what the reference took meanwhile, median.
    """

    number: int
    subset: int
    ratio: float
    cpu_ratio: float
    reference_ms: float


@dataclass(frozen=True)
class Timed:
    """Latency of a subset.

    Attributes:
        milliseconds: median ratio over the passes, times the median time of the reference.
        halves: the same from every other pass, and from those between; equal where there is one pass.
    """

    milliseconds: float
    passes: int
    halves: tuple[float, float]


def time_pass(ground: Ground, number: int, wanted: Sequence[int], file: Path) -> Iterator[int]:
    """Time some subsets once more, or what is left of a pass; tell how many visits were appended to the file."""
    done = {visit.subset for visit in read_visits(file) if visit.number == number}
    left = np.random.default_rng(number).permutation([subset for subset in wanted if subset not in done])
    with ExitStack() as stack:
        reference = stack.enter_context(ground.backend.open(ground.artifact(REFERENCE), ground.target))
        for start in range(0, len(left), TOGETHER):
            chosen = [int(subset) for subset in left[start : start + TOGETHER]]
            visits = time_together(ground, number, chosen, reference)
            with file.open("a", encoding="utf-8") as lines:
                # The empty line ends what a kill may have cut short.
                lines.writelines(f"\n{json.dumps(asdict(visit))}\n" for visit in visits)
            yield len(chosen)


def time_together(ground: Ground, number: int, chosen: Sequence[int], reference: Session) -> list[Visit]:
    """Time a few subsets and the reference in turns."""
    with ExitStack() as stack:
        sessions = {"reference": reference}
        for subset in chosen:
            opened = ground.backend.open(ground.artifact(subset), ground.target)
            sessions[name_subset(subset)] = stack.enter_context(opened)
        samples = measure_latency(sessions, ground.space.sample, rounds=ROUNDS)
    return [Visit(number, subset, *_compare(samples[name_subset(subset)], samples["reference"])) for subset in chosen]


def _compare(one: LatencySamples, reference: LatencySamples) -> tuple[float, float, float]:
    """Median ratios by round, and milliseconds of the reference."""
    ratio, cpu_ratio = one.per_round_ns / reference.per_round_ns, one.cpu_ns / reference.cpu_ns
    return float(np.median(ratio)), float(np.median(cpu_ratio)), float(np.median(reference.per_round_ns)) / 1e6


def read_visits(file: Path) -> list[Visit]:
    """All visits of a file; a line that a kill cut short is left out."""
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    return [Visit(**json.loads(line)) for line in lines if line.endswith("}\n")]


def sum_up(visits: Sequence[Visit], *, cpu: bool = False) -> Mapping[int, Timed]:
    """Latency of every subset that was timed.

    Args:
        visits: of all passes.
        cpu: count the processor's time, which other work on the machine changes less, instead of the clock's.
    """
    scale = float(np.median([visit.reference_ms for visit in visits])) if visits else 0.0
    ratios: dict[int, dict[int, float]] = defaultdict(dict)
    for visit in visits:
        ratios[visit.subset][visit.number] = visit.cpu_ratio if cpu else visit.ratio
    return {subset: _join(np.array([by[n] for n in sorted(by)]) * scale) for subset, by in ratios.items()}


def _join(times: NDArray[np.float64]) -> Timed:
    """One subset's passes."""
    halves = (times[::2], times[1::2] if len(times) > 1 else times)
    return Timed(float(np.median(times)), len(times), (float(np.median(halves[0])), float(np.median(halves[1]))))


def measure_spread(timed: Mapping[int, Timed]) -> float | None:
    """Standard error of a latency, as a share of it, from what the two halves of the passes differ by.

    The halves of a latency that is the mean of both differ by twice its standard error in root mean square, up to
    what a median of few passes does to that. None with one pass.
    """
    differences = [(one.halves[0] - one.halves[1]) / one.milliseconds for one in timed.values() if one.passes > 1]
    return float(np.sqrt(np.mean(np.square(differences))) / 2) if differences else None
