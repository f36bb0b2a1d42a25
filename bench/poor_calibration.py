"""Poor calibration sets: what each costs when it is forced through, beside the verdict on it before anything is built.

Run: ``python bench/poor_calibration.py --packages DIR [PAIR ...] [--output FILE]``. For each pair and failure: the loss
of the pair's metric against the same model calibrated with 100 honest items, with the default ranges (least squares)
and with min-max on ONNX Runtime, and what ``calibrate.fitness`` says of both from statistics alone. Then false alarms:
50 random honest subsets of 100 items, each against a disjoint sample. Prints a table and a JSON line, which FILE
keeps pair by pair; exits 1 where a harmful set was called fit or an honest one was not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from assay.calibrate.fitness.judge import judge
from assay.core.calibration import Calibration
from assay.core.fitness import Fitness, Verdict
from assay.core.precision import RangeMethod
from assay.measure.machine import describe_machine

from poor.failures import GOOD, ITEMS, Failure, list_failures  # isort: skip
from poor.forcing import Forcing, merge  # isort: skip
from poor.subjects import Pixels, Subject, open_subject  # isort: skip
from zoo.catalogue import PAIRS  # isort: skip
from zoo.classification import ClassJudge  # isort: skip
from zoo.pair import Judged, Places  # isort: skip

SCRATCH = Path(__file__).parent / "scratch"
CHOSEN = ("fashion-residual", "fashion-separable", "efficientnet-lite0", "opennsfw")
METHODS = (RangeMethod.MSE, RangeMethod.MIN_MAX)
HARMFUL_PP = 1.0
SUBSETS = 50
SHARD = 5
SEED = 7

Row = dict[str, Any]


class Bench:
    """One subject: its good set first, then every failure."""

    def __init__(self, forcing: Forcing) -> None:
        self.forcing = forcing
        self.subject = forcing.subject
        self.good = self.subject.pool[:ITEMS]
        self._sample = forcing.observe(self.subject.prepare(self.subject.sample))
        self._base = self.force_all(forcing.observe(self.subject.prepare(self.good)), self.subject.evaluated)
        self._float = forcing.run_float(self.subject.evaluated)

    def force_all(self, calibration: Calibration, evaluated: Pixels) -> dict[RangeMethod, Judged]:
        """Force a set through with every method."""
        return {method: self.forcing.force(calibration, method, evaluated) for method in METHODS}

    def measure(self, failure: Failure) -> Row:
        """Loss and verdict of one failure."""
        inputs = failure.make(self.subject, self.good)
        calibration = self.forcing.observe(inputs)
        sample, base, evaluated, reference = self._sample, self._base, self.subject.evaluated, self._float
        if failure.degrade is not None:
            evaluated = failure.degrade(self.subject, evaluated)
            sample = self.forcing.observe(self.subject.prepare(failure.degrade(self.subject, self.subject.sample)))
            right = self.subject.prepare(failure.degrade(self.subject, self.good))
            base = self.force_all(self.forcing.observe(right), evaluated)
            reference = self.forcing.run_float(evaluated)
        forced = self.force_all(calibration, evaluated)
        row: Row = {"pair": self.subject.pair.name, "failure": failure.name, "items": len(inputs)}
        for method in METHODS:
            fitness = self.judge(calibration, sample, method)
            row[str(method)] = {
                **self.compare(reference, base[method], forced[method]),
                **describe(fitness),
            }
        return row

    def compare(self, reference: Judged, base: Judged, forced: Judged) -> Row:
        """What the forced set loses against FP32 beyond what the good set does.

        Top-1 pairs the two item by item. A correlation has no such pairing, and any two INT8 models differ a little:
        there the loss is a plain difference, and the bounds are those of the forced set's own loss against FP32.
        """
        judge = self.subject.pair.judge
        paired = isinstance(judge, ClassJudge)
        compared = judge.compare(base if paired else reference, forced)
        spared = 0.0 if paired else judge.compare(reference, base).loss_pp
        return {
            "loss_pp": round(compared.loss_pp - spared, 3),
            "low_pp": round(compared.low_pp - spared, 3),
            "high_pp": round(compared.high_pp - spared, 3),
        }

    def judge(self, calibration: Calibration, sample: Calibration, method: RangeMethod) -> Fitness:
        """The verdict under one method."""
        return judge(calibration, sample, self.forcing.scheme(method), np.random.default_rng(SEED))

    def count_alarms(self, subsets: int) -> Row:
        """Verdicts on random honest subsets, each against a disjoint sample."""
        items = np.concatenate([self.subject.sample, self.subject.pool])[: max(250, 4 * len(self.subject.sample))]
        rng = np.random.default_rng(SEED)
        shards = self.forcing.observe_shards(items[rng.permutation(len(items))[: 80 * SHARD]], SHARD)
        verdicts: Counter[str] = Counter()
        scores, reasons, ps = [], [], []
        for _ in range(subsets):
            order = rng.permutation(len(shards))
            taken = ITEMS // SHARD
            calibration, sample = (merge([shards[i] for i in part]) for part in (order[:taken], order[taken:]))
            for method in METHODS:
                fitness = self.judge(calibration, sample, method)
                verdicts[f"{method}:{fitness.verdict}"] += 1
                scores.append(fitness.score.value)
                ps.append(fitness.shift_p)
                reasons += [] if fitness.verdict is Verdict.FIT else [fitness.reasons[0]]
        return {
            "pair": self.subject.pair.name,
            "subsets": subsets,
            "sample": (len(shards) - ITEMS // SHARD) * SHARD,
            "verdicts": dict(verdicts),
            "least_score": round(min(scores), 3),
            "least_p": min(ps),
            "reasons": reasons,
        }


def describe(fitness: Fitness) -> Row:
    """What a row keeps of a verdict."""
    return {
        "verdict": str(fitness.verdict),
        "score": round(fitness.score.value, 3),
        "score_low": None if fitness.score.low is None else round(fitness.score.low, 3),
        "score_high": None if fitness.score.high is None else round(fitness.score.high, 3),
        "p": fitness.shift_p,
        "reasons": list(fitness.reasons),
        "items": [[item.position, item.reason] for item in fitness.items[:3]],
    }


def print_row(row: Row) -> None:
    """One line of the table for each method."""
    for method in METHODS:
        one = row[str(method)]
        loss = f"{one['loss_pp']:+.2f} [{one['low_pp']:+.2f}, {one['high_pp']:+.2f}]"
        reason = one["reasons"][0][:90] if one["reasons"] else ""
        print(
            f"{row['pair']:<19}{row['failure']:<24}{method!s:<9}{loss:>26}  {one['verdict']:<9}{one['score']:>6.2f}"
            f"{one['p']:>8.4f}  {reason}",
            flush=True,
        )


def list_missed(rows: list[Row]) -> list[str]:
    """Harmful sets that were called fit, and honest ones that were not."""
    missed = []
    for row in rows:
        for method in METHODS:
            one = row[str(method)]
            fit = one["verdict"] == Verdict.FIT
            harmful, honest = one["loss_pp"] > HARMFUL_PP, row["failure"] == GOOD.name
            if (harmful and fit) or (honest and not fit):
                missed.append(f"{row['pair']}, {row['failure']}, {method}: {one['verdict']}")
    return missed


def measure_pair(subject: Subject, subsets: int) -> tuple[list[Row], Row]:
    """All rows of a pair, and its false alarms."""
    with Forcing(subject) as forcing:
        bench, rows = Bench(forcing), []
        for failure in list_failures(subject):
            rows.append(bench.measure(failure))
            print_row(rows[-1])
        alarms = bench.count_alarms(subsets)
    print(f"{subject.pair.name}: {subsets} honest subsets of {ITEMS}: {alarms['verdicts']}", flush=True)
    return rows, alarms


def print_markdown(known: Row) -> None:
    """The table of the documentation: loss under the default ranges, verdict and score."""
    pairs = list(dict.fromkeys(row["pair"] for row in known["rows"]))
    cells = {
        (row["failure"], row["pair"]): f"{one['loss_pp']:+.2f}, {one['verdict']} {one['score']:.2f}"
        for row in known["rows"]
        for one in [row[str(METHODS[0])]]
    }
    print("|".join(["", " set ", *(f" {pair} " for pair in pairs), ""]))
    print("|".join(["", *["---"] * (len(pairs) + 1), ""]))
    for failure in dict.fromkeys(failure for failure, _ in cells):
        print("|".join(["", f" {failure} ", *(f" {cells.get((failure, pair), '')} " for pair in pairs), ""]))


def main() -> None:
    """Run the pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", default=CHOSEN, metavar="PAIR")
    parser.add_argument("--packages", type=Path, default=os.environ.get("ASSAY_ZOO_PACKAGES"))
    parser.add_argument("--subsets", type=int, default=SUBSETS)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--markdown", action="store_true", help="print the table of FILE and measure nothing")
    options = parser.parse_args()
    places = Places(Path(options.packages) if options.packages else None, SCRATCH / "zoo")
    known = json.loads(options.output.read_bytes()) if options.output and options.output.exists() else {}
    if options.markdown:
        print_markdown(known)
        return
    for name in options.pairs:
        rows, honest = measure_pair(open_subject(PAIRS[name](places)), options.subsets)
        known = add_pair(known, name, rows, honest)
        if options.output is not None:
            options.output.write_bytes(msgspec.json.format(msgspec.json.encode(known), indent=1))
    print(json.dumps(known))
    for text in known["missed"]:
        print(f"missed: {text}", file=sys.stderr)
    sys.exit(1 if known["missed"] else 0)


def add_pair(known: Row, name: str, rows: list[Row], honest: Row) -> Row:
    """The line of all pairs, those measured earlier kept."""
    every = [row for row in known.get("rows", []) if row["pair"] != name] + rows
    alarms = [one for one in known.get("honest", []) if one["pair"] != name] + [honest]
    return {
        "bench": "poor_calibration",
        "machine": dict(describe_machine().facts()),
        "rows": every,
        "honest": alarms,
        "missed": list_missed(every) + [f"{one['pair']}: {text}" for one in alarms for text in one["reasons"]],
    }


if __name__ == "__main__":
    main()
