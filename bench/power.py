"""Whether the planner keeps its promises: promised against simulated power, and what a sequential study adds.

Run: ``python bench/power.py [--replications 20000] [--streams 2000] [--output FILE]``. Variants with known flip rates
(0.5 to 10%) and net losses (none, and a quarter of the margin) are planned for at margins of 0.5 to 5 pp, 95% and a
power of 80%; then so many items are drawn again and again, and the certificate is asked:

- fixed: the exact test of all items, as ``assay plan`` plans it. Its decisions are also asked of the bound itself, for
  some of the outcomes, and must be the same.
- sequential: a study of ``study_items`` items: search split, looks, and at the end the exact test at half of the error
  rate. The promise is that of the last test; certifying early adds to it, giving up where it is hopeless takes from it.
- bounded: scores between 0 and 1, planned by the deviation of an item's difference.

Prints tables and one JSON line; ``--output`` keeps the line.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from simulated_designs import ALPHA, certify, finish_bounded, finish_flips, run_sequence

from assay.core.certificate import Design
from assay.measure.machine import describe_machine
from assay.measure.statistics.trinomial import bound_loss
from assay.studies.planning import Supposed, count_search_items, count_study_items, plan_certificate, plan_study

RATES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.10)
MARGINS = (0.005, 0.01, 0.02, 0.05)
FACTORS = (0.0, 0.25)
CONFIDENCE = 1 - ALPHA
POWER = 0.8
MOST_ITEMS = 60_000
BATCH_ITEMS = 4_000_000
AUDITED = 150
MOST_SHORT = 3.0
CHANGES = (0.02, 0.05, 0.2)
"""Shares of the queries whose score changes."""


def simulate_fixed(replications: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The plan of one variant's certificate."""
    rows = []
    for rate, margin, factor in grid():
        supposed = Supposed("top1", rate, factor * margin)
        began = time.perf_counter()
        plan = plan_certificate(supposed, margin, CONFIDENCE, POWER)
        seconds = time.perf_counter() - began
        if plan.items is None:
            continue
        lost_rate, won_rate = supposed.rates
        drawn = rng.multinomial(plan.items, (lost_rate, won_rate, 1 - lost_rate - won_rate), replications)
        accepted = certify(drawn[:, 0], drawn[:, 1], plan.items, margin, CONFIDENCE)
        some = rng.permutation(replications)[:AUDITED]
        bounds = [bound_loss(int(lost), int(won), plan.items, CONFIDENCE) for lost, won in drawn[some, :2]]
        row = describe(rate, margin, factor, plan.items, plan.power, accepted)
        other = int(np.sum((np.array(bounds) <= margin) != accepted[some]))
        rows.append({**row, "least": plan.least_items, "other_by_bound": other, "plan_s": round(seconds, 2)})
        print_row(rows[-1])
    return rows


def simulate_sequential(streams: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The plan of a study: all its evaluation items, split, looked at, and tested."""
    rows = []
    for rate, margin, factor in grid():
        supposed = Supposed("top1", rate, factor * margin)
        plan = plan_study(None, supposed, margin, CONFIDENCE, POWER)
        # With few items a study looks once, as the fixed part has it.
        if plan.items is None or plan.items > MOST_ITEMS or plan.design is Design.FIXED:
            continue
        total = count_study_items(plan.items)
        searched = count_search_items(total)
        accepted, last, used = [], [], []
        for _ in range(0, streams, size := max(1, min(streams, BATCH_ITEMS // total))):
            uniform = rng.random((size, total), dtype=np.float32)
            losses = (uniform < supposed.rates[0]).astype(np.float64) - (uniform > 1 - supposed.rates[1])
            passed, taken = run_sequence(losses, margin, searched, finish_flips)
            accepted.append(passed)
            used.append(taken)
            last.append(finish_flips(losses[:, searched:], margin))
        row = describe(rate, margin, factor, plan.items, plan.power, np.concatenate(accepted))
        share = float(np.mean(np.concatenate(used))) / (total - searched)
        alone = round(float(np.mean(np.concatenate(last))), 4)
        rows.append({**row, "last_test": alone, "study_items": total, "share_used": round(share, 3)})
        print_row(rows[-1])
    return rows


def simulate_bounded(streams: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The plan by a deviation: a share of the queries changes by a Beta(1, 4) up or down, as NDCG does."""
    rows = []
    for rate in CHANGES:
        for margin in (0.005, 0.01, 0.02):
            for factor in FACTORS:
                loss = factor * margin
                lost_rate = (rate + 5 * loss) / 2
                if not 5 * loss <= rate:
                    continue
                supposed = Supposed("ndcg", rate / 15, loss, bounded=True)  # the mean square of a Beta(1, 4) is 1/15
                plan = plan_certificate(supposed, margin, CONFIDENCE, POWER)
                if plan.items is None or plan.items > MOST_ITEMS:
                    continue
                accepted = []
                for _ in range(0, streams, size := max(1, min(streams, BATCH_ITEMS // plan.items))):
                    which = rng.random((size, plan.items), dtype=np.float32)
                    sign = 2.0 * (which < lost_rate) - (which < rate)
                    losses = (1 - np.sqrt(np.sqrt(rng.random((size, plan.items))))) * sign
                    accepted.append(finish_bounded(losses, margin, CONFIDENCE))
                rows.append(describe(rate, margin, factor, plan.items, plan.power, np.concatenate(accepted)))
                print_row(rows[-1])
    return rows


def grid() -> list[tuple[float, float, float]]:
    """Flip rate, margin and share of the margin that is truly lost."""
    return [
        (rate, margin, factor) for rate in RATES for margin in MARGINS for factor in FACTORS if factor * margin <= rate
    ]


def describe(
    rate: float, margin: float, factor: float, items: int, promised: float, accepted: np.ndarray
) -> dict[str, Any]:
    """One cell: the promise, what came of it, and the error of the simulation."""
    share = float(accepted.mean())
    error = math.sqrt(max(share * (1 - share), 1e-4) / accepted.size)
    return {
        "flips": rate,
        "margin": margin,
        "loss": factor * margin,
        "items": items,
        "promised": round(promised, 4),
        "simulated": round(share, 4),
        "points": round(100 * (share - promised), 2),
        "error_points": round(100 * error, 2),
    }


def print_row(row: dict[str, Any]) -> None:
    """One line of a table."""
    extra = f", last test {row['last_test']:.3f}, {row['share_used']:.0%} used" if "share_used" in row else ""
    print(
        f"{100 * row['flips']:>5.1f}% flips {100 * row['margin']:>4.1f} pp margin {100 * row['loss']:>6.3f} pp loss "
        f"{row['items']:>7,} items: promised {row['promised']:.3f}, simulated {row['simulated']:.3f} "
        f"({row['points']:+.2f} +- {row['error_points']:.2f} points{extra})",
        flush=True,
    )


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Largest deviations of a table in points; a promise may fall short by 3, give or take the simulation's error."""
    points = [row["points"] for row in rows]
    return {
        "cells": len(rows),
        "largest_shortfall": min(points),
        "largest_excess": max(points),
        "meets": all(row["points"] + 2 * row["error_points"] >= -MOST_SHORT for row in rows),
    }


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replications", type=int, default=20_000)
    parser.add_argument("--streams", type=int, default=2_000)
    parser.add_argument("--parts", nargs="*", default=["fixed", "sequential", "bounded"])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    parts = {
        "fixed": lambda: simulate_fixed(options.replications, np.random.default_rng(1)),
        "sequential": lambda: simulate_sequential(options.streams, np.random.default_rng(2)),
        "bounded": lambda: simulate_bounded(options.streams, np.random.default_rng(3)),
    }
    tables = {}
    for name in options.parts:
        print(name)
        tables[name] = parts[name]()
    summary = {name: summarise(rows) for name, rows in tables.items()}
    for name, line in summary.items():
        print(f"{name}: {line}")
    line = {
        "bench": "power",
        "power": POWER,
        "confidence": CONFIDENCE,
        "machine": dict(describe_machine().facts()),
        "summary": summary,
        "tables": tables,
    }
    print(json.dumps(line))
    if options.output is not None:
        options.output.write_bytes(msgspec.json.format(msgspec.json.encode(line), indent=1))


if __name__ == "__main__":
    main()
