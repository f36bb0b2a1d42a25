"""How often a variant that is too bad is accepted, for metrics that are no means of items.

From populations whose loss is known, samples are drawn, and a variant is accepted where the upper bound of its loss
at 95% confidence is within the tolerance. The tolerance is the true loss itself, so that every acceptance is false;
also 80% of it (beyond the tolerance), and a relative tolerance that is the true loss over the reference's value. Beside
it the rule of comparing point estimates, and the power where the tolerance is twice and four times the true loss.

F1, precision and recall are drawn as counts of the eight kinds of items, the others as items of populations of
200,000; where a cell accepts more than 4% of its first samples, 1,000 to 3,000 are drawn. Sizes go from the least at
which the functional does not refuse up to 20,000 items.

    python bench/asymptotic_coverage.py --output bench/results/asymptotic_coverage.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from coverage_populations import (
    Population,
    make_classes,
    make_clicks,
    make_documents,
    make_labels,
    make_pairs,
    make_scored,
)
from numpy.typing import NDArray
from scipy.special import betaincinv
from scipy.stats import rankdata

from assay.core.errors import MeasurementError
from assay.measure.functionals.auc import Auc
from assay.measure.functionals.functional import Functional
from assay.measure.functionals.table import load_functional
from assay.measure.machine import describe_machine
from assay.measure.statistics.influence import bound_above

Floats = NDArray[np.float64]
CONFIDENCE = 0.95
MOST = 0.06
SIZES = (300, 1000, 5000, 20_000)
DRAWS_OF_COUNTS = 12_000
ELEMENTS, FEWEST_DRAWS, MOST_DRAWS = 1_000_000, 100, 1000
SUSPECT, MORE_DRAWS, MORE_ELEMENTS = 0.04, 3000, 20_000_000
CHUNK = 1_000_000
LOWER_IS_BETTER = {"rmse", "mae", "perplexity", "normalized-entropy"}


@dataclass(frozen=True)
class Drawn:
    """Samples of one population at one size: loss, its upper bound and the reference's value, one each."""

    loss: Floats
    bound: Floats
    reference: Floats
    refused: int


Cell = tuple[str, str, float, float, int]
"""Functional, what breaks, share of positives or its like, flips, items."""
Row = dict[str, Any]


def measure_row(cell: Cell, true: tuple[float, float], got: Drawn) -> Row:
    """One line of the table; ``true`` are the population's loss and reference value."""
    name, breaks, share, flips, n = cell
    loss, reference = true
    draws = len(got.loss)
    accepted = int((got.bound <= loss).sum())
    relative = (got.bound <= loss / abs(reference) * np.abs(got.reference)).mean()
    return {
        "functional": name,
        "breaks": breaks,
        "positives": share,
        "flips": flips,
        "n": n,
        "loss": round(loss, 6),
        "draws": draws,
        "refused": got.refused,
        "false_accept": accepted / draws,
        "upper_99": bound_rate(accepted, draws, 0.99),
        "lower_99": 1 - bound_rate(draws - accepted, draws, 0.99),
        "false_accept_relative": float(relative),
        "false_accept_beyond": float((got.bound <= 0.8 * loss).mean()),
        "point_rule": float((got.loss <= loss).mean()),
        "power_2x": float((got.bound <= 2 * loss).mean()),
        "power_4x": float((got.bound <= 4 * loss).mean()),
    }


def bound_rate(hits: int, draws: int, confidence: float) -> float:
    """Upper bound of a rate (Clopper-Pearson)."""
    return 1.0 if hits == draws else float(betaincinv(hits + 1, draws - hits, confidence))


# Counts of eight kinds of items: predicted by the reference, by the variant, true.
KINDS = np.array([(r, v, t) for t in (0, 1) for r in (0, 1) for v in (0, 1)], np.float64)
BEFORE, AFTER, TRUTH = KINDS.T


def divide_kinds(breaks: str, share: float, flips: float) -> Floats:
    """Probabilities of the eight kinds, of a model with recall and precision 0.85."""
    found, missed = 0.85 * share, 0.15 * share
    alarm, quiet = 0.15 * share, 1 - 1.15 * share
    of_positives = flips * share
    lost, won, alarmed, calmed = {
        "misses": (of_positives, 0.0, 0.0, 0.0),
        "false alarms": (0.0, 0.0, of_positives, 0.0),
        "both ways": (0.6 * of_positives, 0.4 * of_positives, 0.6 * of_positives, 0.4 * of_positives),
        "everywhere": (flips * found, flips * missed, flips * quiet, flips * alarm),
    }[breaks]
    won, calmed = min(won, 0.9 * missed), min(calmed, 0.9 * alarm)
    return np.array([quiet - alarmed, alarmed, calmed, alarm - calmed, missed - won, won, lost, found - lost])


def weigh_counts(name: str, said: Floats, counts: Floats) -> tuple[Floats, Floats, Floats]:
    """Value, influence of each kind and the worst change, of many samples of counts ``[draws, 8]``."""
    numerator, denominator = {
        "f1": (2 * said * TRUTH, said + TRUTH),
        "precision": (said * TRUTH, said),
        "recall": (said * TRUTH, TRUTH),
    }[name]
    n = counts.sum(axis=-1)
    total = np.maximum(counts @ denominator, 1.0 if n.max() > 2 else 0.0)
    value, mean = counts @ numerator / total, total / n
    most = {"f1": 2 - value, "precision": np.maximum(value, 1 - value), "recall": np.ones_like(value)}[name]
    return value, (numerator - value[..., None] * denominator) / mean[..., None], most / mean


def draw_counts(name: str, probabilities: Floats, n: int, rng: np.random.Generator) -> Drawn:
    """Samples of counts; the first is held against the package's own functional."""
    counts = rng.multinomial(n, probabilities, size=DRAWS_OF_COUNTS).astype(np.float64)
    least = counts @ (BEFORE if name == "precision" else TRUTH)
    kept = counts[least >= 30]
    (old, before, harm), (new, after, worse) = (weigh_counts(name, said, kept) for said in (BEFORE, AFTER))
    bound = bound_above(old - new, before - after, np.maximum(harm, worse), CONFIDENCE, kept)
    if n <= SIZES[1]:
        items = np.repeat(KINDS, kept[0].astype(int), axis=0)
        pair = [np.column_stack([items[:, side], items[:, side], items[:, 2]]) for side in (0, 1)]
        again = draw_bound(load_functional(name), pair[0], pair[1])
        if not np.allclose(again, (old[0] - new[0], bound[0]), atol=1e-7):
            raise SystemExit(f"{name}: the package bounds {again}, the counts {bound[0]}")
    return Drawn(old - new, bound, old, len(counts) - len(kept))


def draw_bound(functional: Functional, before: Floats, after: Floats) -> tuple[float, float]:
    """Loss and its bound of one sample, higher is better."""
    loss = functional.value(before) - functional.value(after)
    changes = functional.influence(before) - functional.influence(after)
    worst = max(functional.worst(before), functional.worst(after))
    return loss, float(bound_above(np.array(loss), changes, np.array(worst), CONFIDENCE))


def draw_items(
    functional: Functional, population: Population, n: int, sign: int, rng: np.random.Generator, draws: int
) -> Drawn:
    """Samples of items from a population, bounded many at once."""
    before, after = population
    losses, bounds, references, refused = [], [], [], 0
    waiting: list[tuple[float, Floats, float]] = []
    for draw in range(draws):
        chosen = rng.integers(0, len(before), n)
        one, two = before[chosen], after[chosen]
        try:
            functional.check(one)
        except MeasurementError:
            refused += 1
        else:
            old, new = (take_value(functional, part) for part in (one, two))
            worst = max(functional.worst(one), functional.worst(two))
            waiting.append((sign * (old - new), sign * (functional.influence(one) - functional.influence(two)), worst))
            losses.append(sign * (old - new))
            references.append(old)
        if waiting and (len(waiting) * n >= CHUNK or draw == draws - 1):
            loss, changes, worsts = zip(*waiting, strict=True)
            bounds.append(bound_above(np.array(loss), np.stack(changes), np.array(worsts), CONFIDENCE))
            waiting = []
    empty = np.empty(0)
    return Drawn(np.array(losses), np.concatenate(bounds or [empty]), np.array(references), refused)


def take_value(functional: Functional, items: Floats) -> float:
    """The functional's value; the area under the curve from ranks, which takes less time than scikit-learn's checks."""
    if not isinstance(functional, Auc):
        return functional.value(items)
    positive = items[:, 2] == 1
    hits = int(positive.sum())
    return float((rankdata(items[:, 0])[positive].sum() - hits * (hits + 1) / 2) / (hits * (len(items) - hits)))


def draw_enough(
    functional: Functional, population: Population, n: int, sign: int, rng: np.random.Generator, loss: float
) -> Drawn:
    """Some samples, and many more where the first ones accept more than 4%."""
    first = draw_items(functional, population, n, sign, rng, int(np.clip(ELEMENTS // n, FEWEST_DRAWS, MOST_DRAWS)))
    if not len(first.loss) or (first.bound <= loss).mean() <= SUSPECT:
        return first
    more = draw_items(functional, population, n, sign, rng, min(MORE_DRAWS, MORE_ELEMENTS // n) - len(first.loss))
    pairs = [(first.loss, more.loss), (first.bound, more.bound), (first.reference, more.reference)]
    return Drawn(*(np.concatenate(pair) for pair in pairs), refused=first.refused + more.refused)


Maker = Callable[[str, float, float, np.random.Generator], Population]
ITEMS: tuple[tuple[tuple[str, ...], Maker, tuple[float, ...], tuple[tuple[str, float], ...]], ...] = (
    (("auc",), make_scored, (0.01, 0.1, 0.5),
     (("unrelated", 0.002), ("unrelated", 0.02), ("unrelated", 0.2), ("dead", 0.02), ("noise", 0.1))),
    (("average-precision",), make_scored, (0.05, 0.5), (("unrelated", 0.02), ("dead", 0.2))),
    (("f1-micro", "f1-macro"), make_labels, (0.03, 0.2), (("all missed", 0.02), ("one by one", 0.2))),
    (("f1-macro-classes",), make_classes, (0.03, 0.25), (("dead", 0.02), ("confused", 0.2))),
    (("pearson", "spearman"), make_pairs, (0.9,),
     (("unrelated", 0.002), ("unrelated", 0.02), ("unrelated", 0.2), ("turned", 0.02), ("noise", 0.1))),
    (("pearson", "spearman"), make_pairs, (0.99,), (("unrelated", 0.02),)),
    (("rmse", "mae"), make_pairs, (0.9, 0.99), (("unrelated", 0.002), ("unrelated", 0.05))),
    (("perplexity",), make_documents, (0.0, 1.0),
     (("doubled", 0.002), ("doubled", 0.02), ("doubled", 0.2), ("noise", 0.05))),
    (("normalized-entropy",), make_clicks, (0.02, 0.1),
     (("unrelated", 0.02), ("unrelated", 0.2), ("dead", 0.02), ("noise", 0.05))),
)  # fmt: skip
LEAST = {"pearson": 200, "spearman": 200, "rmse": 200, "mae": 200, "perplexity": 200}


def run_counts(rng: np.random.Generator) -> Iterator[Row]:
    """F1, precision and recall."""
    for name in ("f1", "precision", "recall"):
        for breaks in ("misses", "false alarms", "both ways", "everywhere"):
            for share in (0.01, 0.05, 0.2, 0.5):
                for flips in (0.002, 0.01, 0.05, 0.2):
                    parts = divide_kinds(breaks, share, flips)
                    old, new = (float(weigh_counts(name, said, parts[None])[0][0]) for said in (BEFORE, AFTER))
                    if old - new < 1e-9:
                        continue
                    for n in list_sizes(max(100, round(33 / share))):
                        got = draw_counts(name, parts, n, rng)
                        yield measure_row((name, breaks, share, flips, n), (old - new, old), got)


def run_items(places: Iterable[int]) -> Iterator[Row]:
    """The functionals of scores, numbers, documents and labels: these lines of the list."""
    for place in places:
        names, make, shares, breakages = ITEMS[place]
        rng = np.random.default_rng([2, place])
        for share in shares:
            for breaks, flips in breakages:
                before, after = make(breaks, share, flips, rng)
                for name in names:
                    functional, sign = load_functional(name), -1 if name in LOWER_IS_BETTER else 1
                    old, new = functional.value(before), functional.value(after)
                    if sign * (old - new) <= 0:
                        continue
                    for n in list_sizes(LEAST.get(name, max(100, round(36 / share) if share else 100))):
                        got = draw_enough(functional, (before, after), n, sign, rng, sign * (old - new))
                        if len(got.loss) <= got.refused:
                            continue  # mostly refused: below the least number of items
                        yield measure_row((name, breaks, share, flips, n), (sign * (old - new), old), got)


def list_sizes(least: int) -> list[int]:
    """The least size and the larger ones of the grid."""
    return [least, *(n for n in SIZES if n > 1.2 * least)]


def summarise(rows: list[Row]) -> list[Row]:
    """One line for each functional."""
    lines = []
    for name in dict.fromkeys(row["functional"] for row in rows):
        own = [row for row in rows if row["functional"] == name]
        worst = max(own, key=lambda row: row["false_accept"])
        lines.append(
            {
                "functional": name,
                "cells": len(own),
                "draws": sum(row["draws"] for row in own),
                "false_accept": pool(own),
                "worst_cell": worst["false_accept"],
                "worst_upper_99": worst["upper_99"],
                "worst_beyond": max(row["false_accept_beyond"] for row in own),
                "worst_relative": max(row["false_accept_relative"] for row in own),
                "cells_surely_above_6%": sum(row["lower_99"] > MOST for row in own),
                "point_rule": float(np.median([row["point_rule"] for row in own])),
                "point_rule_worst": max(row["point_rule"] for row in own),
                "false_accept_by_size": {
                    size: round(pool([row for row in own if low <= row["n"] < high]), 4)
                    for size, low, high in (("to 999", 0, 1000), ("to 4999", 1000, 5000), ("from 5000", 5000, 10**9))
                },
                "power_2x": {n: read_power(own, "power_2x", n) for n in (1000, 5000, 20_000)},
                "power_4x": {n: read_power(own, "power_4x", n) for n in (1000, 5000, 20_000)},
            }
        )
    return lines


def pool(rows: list[Row]) -> float:
    """False acceptances of all cells together."""
    draws = sum(row["draws"] for row in rows)
    return sum(row["false_accept"] * row["draws"] for row in rows) / max(1, draws)


def read_power(rows: list[Row], key: str, n: int) -> float | None:
    """Median power over the cells of one size."""
    found = [row[key] for row in rows if row["n"] == n and row["draws"]]
    return round(float(np.median(found)), 3) if found else None


def main() -> None:
    """Run all cells."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    started = time.perf_counter()
    rows = [*run_counts(np.random.default_rng(1)), *run_items(range(len(ITEMS)))]
    for line in summarise(rows):
        print_line(line)
    result = {
        "bench": "asymptotic_coverage",
        "confidence": CONFIDENCE,
        "seconds": round(time.perf_counter() - started),
        "machine": dict(describe_machine().facts()),
        "summary": summarise(rows),
        "rows": rows,
    }
    print(json.dumps({**result, "rows": len(rows)}))
    if options.output is not None:
        options.output.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))


def print_line(line: Row) -> None:
    """One functional."""
    print(
        f"{line['functional']:<18}{line['cells']:>4} cells: falsely accepted {100 * line['false_accept']:.2f}%, "
        f"worst cell {100 * line['worst_cell']:.1f}% (99% bound {100 * line['worst_upper_99']:.1f}%), "
        f"relative {100 * line['worst_relative']:.1f}%, beyond {100 * line['worst_beyond']:.1f}%; "
        f"point estimates {100 * line['point_rule']:.0f}%, worst {100 * line['point_rule_worst']:.0f}%; "
        f"power at 2x {line['power_2x']}, at 4x {line['power_4x']}"
    )


if __name__ == "__main__":
    main()
