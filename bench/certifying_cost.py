"""What certifying costs: time for 10,000 items x 20 candidates from stored scores, memory for 1,000,000 items.

Run: ``python bench/certifying_cost.py [--items 10000] [--candidates 20] [--stream 1000000]``. Every candidate is
certified as a study does it, by ``certify``: in sequence, looking as planned (candidates that are certified early take
less), and in sequence with slices off and the last item needed, and all items at once; for scores of 0 and 1 and for
scores between, with an absolute and a relative tolerance, and with a certificate for every class. The evaluation that
it is to be held against is the candidates' inferences: the slowest case stays below 5% of it where one inference takes
longer than the time in the last line. Then losses are streamed through one test. Prints a table and a JSON line.
"""

from __future__ import annotations

import argparse
import json
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
from numpy.typing import NDArray

from assay.core.requirements import SliceRule, Tolerance
from assay.core.session import Metric, Scores
from assay.measure.certification import Question, certify
from assay.measure.machine import describe_machine
from assay.measure.statistics.sequential import Moments, SequentialTest

METRIC = Metric("top1", higher_is_better=True, labelled=True)
CONFIDENCE = 0.95
SEARCH = 1000
CLASSES = 10
MOST_SHARE = 0.05
CHUNK = 10_000


@dataclass(frozen=True)
class Case:
    """How candidates are certified."""

    name: str
    tolerance: str
    binary: bool = True
    sequential: bool = True
    slices: tuple[str, ...] = ()


CASES = (
    Case("sequential, 1pp", "top1: 1pp"),
    Case("sequential, hardly decided", "top1: 0.25pp"),
    Case("sequential, relative 1%", "top1: 1%"),
    Case("fixed, 0.5pp", "top1: 0.5pp", sequential=False),
    Case("fixed, relative 1%", "top1: 1%", sequential=False),
    Case("fixed, with every class", "top1: 0.5pp", sequential=False, slices=("class: 5pp",)),
    Case("bounded scores, sequential, 1pp", "top1: 1pp", binary=False),
    Case("bounded scores, hardly decided", "top1: 0.25pp", binary=False),
    Case("bounded scores, fixed", "top1: 0.5pp", binary=False, sequential=False),
)


def make_scores(values: NDArray[np.float64], classes: NDArray[np.int64]) -> Scores:
    """Scores of a task, stored."""
    return Scores({METRIC.name: values}, (values > 0.5).astype(np.int64), columns={"class": classes})


def make_pair(n: int, flips: float, binary: bool, rng: np.random.Generator) -> tuple[Scores, Scores]:  # noqa: FBT001
    """Reference and variant; some items flip, as often for the better as for the worse."""
    classes = rng.integers(0, CLASSES, n)
    if binary:
        before = (rng.random(n) < 0.8).astype(np.float64)
        after = np.where(rng.random(n) < flips * np.where(before > 0, 0.625, 2.5), 1 - before, before)
    else:
        before = rng.beta(4, 1, n)
        after = np.clip(before + (rng.random(n) < 5 * flips) * rng.normal(0, 0.2, n), 0, 1)
    return make_scores(before, classes), make_scores(after, classes)


def measure(case: Case, n: int, candidates: int) -> dict[str, Any]:
    """Seconds of certifying all candidates."""
    rng = np.random.default_rng(7)
    rules = tuple(SliceRule.parse(text) for text in case.slices)
    question = Question(METRIC, Tolerance.parse(case.tolerance), CONFIDENCE, rules, sequential=case.sequential)
    pairs = [make_pair(n, flips, case.binary, rng) for flips in np.linspace(0, 0.06, candidates)]
    searched = [(a.select(slice(SEARCH)), b.select(slice(SEARCH))) for a, b in pairs]
    start = time.perf_counter()
    found = [
        certify(question, lambda count, a=a, b=b: (a.select(slice(count)), b.select(slice(count))), n, search)
        for (a, b), search in zip(pairs, searched, strict=True)
    ]
    seconds = time.perf_counter() - start
    certificates = [one.certificate for one in found]
    return {
        "case": case.name,
        "seconds": round(seconds, 3),
        "items": sum(one.n for one in certificates),
        "looks": sum(len(one.looks) for one in certificates),
        "certified": sum(one.status == "certified" for one in certificates),
        "us_per_item": round(1e6 * seconds / sum(one.n for one in certificates), 2),
    }


def stream(n: int) -> dict[str, Any]:
    """Memory and time of one test over very many items, drawn chunk by chunk."""
    rng = np.random.default_rng(1)
    test = SequentialTest(0.001, CONFIDENCE, Moments(SEARCH, 0.001, 0.05))
    process = psutil.Process()
    tracemalloc.start()
    peaks = []
    resident = process.memory_info().rss
    for done in range(0, n, CHUNK):
        test.add(rng.choice([1.0, -1.0, 0.0], size=min(CHUNK, n - done), p=[0.0255, 0.0245, 0.95]))
        if done + CHUNK in (n // 10, n):
            peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    grown = process.memory_info().rss - resident
    test = SequentialTest(0.001, CONFIDENCE, Moments(SEARCH, 0.001, 0.05))
    losses = rng.choice([1.0, -1.0, 0.0], size=CHUNK, p=[0.0255, 0.0245, 0.95])
    start = time.perf_counter()
    for _ in range(0, n, CHUNK):
        test.add(losses)
    return {
        "items": n,
        "peak_mib_at_a_tenth": round(peaks[0] / 2**20, 3),
        "peak_mib": round(peaks[-1] / 2**20, 3),
        "resident_growth_mib": round(grown / 2**20, 2),
        "seconds": round(time.perf_counter() - start, 2),
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--candidates", type=int, default=20)
    parser.add_argument("--stream", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rows = []
    for case in CASES:
        rows.append(measure(case, options.items, options.candidates))
        print("{case:34} {seconds:8.3f} s  {items:7} items {looks:4} looks {certified:3} certified".format(**rows[-1]))
    streamed = stream(options.stream)
    print(streamed)
    slowest = max(row["us_per_item"] for row in rows)
    least_ms = slowest / MOST_SHARE / 1000
    print(
        f"certifying stays below {MOST_SHARE:.0%} of the evaluation where one inference takes {least_ms:.2f} ms or more"
    )
    result = {
        "machine": dict(describe_machine().facts()),
        "items": options.items,
        "candidates": options.candidates,
        "rows": rows,
        "stream": streamed,
        "least_ms_per_inference": round(least_ms, 3),
    }
    print(json.dumps(result))
    if options.output is not None:
        options.output.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))


if __name__ == "__main__":
    main()
