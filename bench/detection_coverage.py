"""How often a detector that is too bad is accepted by the interval of its mAP.

Simulated detectors: images with 1 to 4 objects, some hard to see; the reference finds most of them with a score and an
overlap, and has false alarms; the variant loses some, blurs boxes and scores, or adds false alarms. The true loss is
that of 2,000,000 images, of the area under the interpolated precision that COCO's 101 points approximate. Samples are
drawn, and a variant is accepted where the upper bound of its loss at 95% confidence is within the tolerance, which is
the true loss itself: every acceptance is false. Beside it the rule of comparing point estimates, and the power where
the tolerance is four times the true loss.

Run: ``python bench/detection_coverage.py --processes 2 --output bench/results/detection_coverage.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from assay.core.errors import MeasurementError
from assay.core.session import Metric, Scores
from assay.measure.functionals.average_precision import AveragePrecision
from assay.measure.functionals.table import load_functional
from assay.measure.machine import describe_machine
from assay.measure.statistics.paired import compare
from assay.measure.tasks.detection import MAP, MAP50, RECALL, RECORD

CONFIDENCE = 0.95
OBJECTS, ALARMS = 4, 6
ROWS = OBJECTS + ALARMS
POPULATION, POPULATION_PARTS = 100_000, 20
DRAWS = {100: 100, 300: 200, 1000: 400, 3000: 600}
DRAWS_OF_ALL = {100: 100, 300: 100, 1000: 300}

Boxes = NDArray[np.float64]


@dataclass(frozen=True)
class Variant:
    """A population of images and what a variant does to them.

    Attributes:
        skew: classes are as frequent as ``1 / rank^skew``.
        lost: share of objects lost, in images that are hit at five times this rate.
        lost_class: share of the objects of the rarest class that are lost.
        noise: standard deviation of what is added to scores.
        blur: share of detections that meet one overlap less.
        alarms: share of empty places that become a false alarm.
        levels: number of distinct scores of the variant, as an INT8 head has; 0 for all.
    """

    name: str
    classes: int = 10
    skew: float = 0.0
    lost: float = 0.0
    lost_class: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    alarms: float = 0.0
    levels: int = 0


VARIANTS = (
    Variant("a bit of all", lost=0.02, noise=0.03, blur=0.02, alarms=0.02),
    Variant("rare losses", lost=0.004),
    Variant("30 classes, skewed", classes=30, skew=1.0, lost=0.02, noise=0.03, blur=0.02, alarms=0.02),
    Variant("the rarest class alone", classes=20, skew=1.0, lost_class=0.1),
    Variant("noisy scores", noise=0.1, blur=0.1, alarms=0.1),
    Variant("one class, few scores", classes=1, lost=0.01, noise=0.02, levels=50),
)


def draw_pair(rng: np.random.Generator, n: int, variant: Variant) -> tuple[Boxes, Boxes]:
    """Records of reference and variant on ``n`` images."""
    frequency = 1 / np.arange(1, variant.classes + 1) ** variant.skew
    kinds = rng.choice(variant.classes, (n, ROWS), p=frequency / frequency.sum()).astype(np.float64)
    there = np.arange(OBJECTS) < rng.integers(1, OBJECTS + 1, n)[:, None]
    ease = rng.beta(2, 1, (n, 1))
    real = np.arange(ROWS) < OBJECTS
    hit = np.pad(there & (rng.random((n, OBJECTS)) < 0.95 * ease), ((0, 0), (0, ALARMS)))
    alarm = np.pad(np.arange(ALARMS) < rng.poisson(1.5, (n, 1)), ((0, 0), (OBJECTS, 0)))
    shape = np.where(real, 4, 1.5), np.where(real, 2, 4)
    scores = rng.beta(*shape, (n, ROWS)) * np.where(real, 0.5 + 0.5 * ease, 1)
    meets = rng.binomial(10, 0.45 + 0.5 * ease, (n, ROWS)) * hit
    before = write_records(kinds, there, hit | alarm, scores, meets)
    gone = (rng.random((n, 1)) < 5 * variant.lost) & (rng.random((n, ROWS)) < 0.2)
    gone |= (kinds == variant.classes - 1) & (rng.random((n, ROWS)) < variant.lost_class)
    new = ~real & (rng.random((n, ROWS)) < variant.alarms)
    scores = scores + variant.noise * rng.normal(size=(n, ROWS))
    if variant.levels:
        scores = np.round(scores * variant.levels) / variant.levels
    meets = np.maximum(meets - (rng.random((n, ROWS)) < variant.blur), 0)
    return before, write_records(kinds, there, (hit & ~gone) | alarm | new, scores, meets)


def write_records(
    kinds: Boxes, there: NDArray[np.bool_], found: NDArray[np.bool_], scores: Boxes, meets: Boxes
) -> Boxes:
    """The record of detections and objects; a detection that meets k overlaps matches at the k lowest."""
    record = np.zeros((len(kinds), ROWS + OBJECTS, 3))
    record[:, :ROWS, 0] = np.where(found, kinds, -1)
    record[:, :ROWS, 1] = np.where(found, np.clip(scores, 0.01, 1), 0)
    record[:, :ROWS, 2] = np.where(found, 2.0**meets - 1, 0)
    record[:, ROWS:, 0] = np.where(there, kinds[:, :OBJECTS], -1)
    return record


def find_loss(metric: Metric, variant: Variant) -> tuple[float, float]:
    """True loss, and the standard error with which it is known; of the area that COCO's 101 points approximate."""
    functional, losses = load_functional(metric.functional), []
    measure = functional.area if isinstance(functional, AveragePrecision) else functional.value
    for seed in range(POPULATION_PARTS):
        before, after = draw_pair(np.random.default_rng(10_000 + seed), POPULATION, variant)
        losses.append(measure(before) - measure(after))
    return float(np.mean(losses)), float(np.std(losses, ddof=1) / np.sqrt(POPULATION_PARTS))


def run_cell(metric: Metric, variant: Variant, n: int, draws: int, loss: float) -> dict[str, Any]:
    """Samples of one size."""
    rng = np.random.default_rng(n)
    bounds, losses, refused = [], [], 0
    said = np.zeros(n, dtype=np.int64)
    for _ in range(draws):
        before, after = (Scores({}, said, records={RECORD: record}) for record in draw_pair(rng, n, variant))
        try:
            quality = compare(metric, before, after, CONFIDENCE)
        except MeasurementError:
            refused += 1
            continue
        bounds.append(-quality.low)
        losses.append(-quality.difference)
    kept = len(bounds)
    accepted = int(np.count_nonzero(np.array(bounds) <= loss))
    return {
        "metric": metric.name,
        "variant": variant.name,
        "n": n,
        "draws": draws,
        "refused": refused,
        "true_loss": loss,
        "mean_loss": float(np.mean(losses)) if kept else None,
        "mean_bound": float(np.mean(bounds)) if kept else None,
        "false_accept": accepted / kept if kept else None,
        "upper_99": float(betaincinv(accepted + 1, kept - accepted, 0.99)) if kept > accepted else None,
        "point_rule": float(np.mean(np.array(losses) <= loss)) if kept else None,
        "power_at_4": float(np.mean(np.array(bounds) <= 4 * loss)) if kept else None,
    }


def run_sizes(metric: Metric, variant: Variant, share: float) -> list[dict[str, Any]]:
    """Every size of one metric and variant; ``share`` of the draws."""
    loss, error = find_loss(metric, variant)
    sizes = DRAWS if metric.name == MAP50.name else DRAWS_OF_ALL
    cells = ((n, max(1, round(draws * share))) for n, draws in sizes.items())
    return [run_cell(metric, variant, n, draws, loss) | {"true_loss_error": error} for n, draws in cells]


def run_all(share: float, processes: int) -> Iterator[dict[str, Any]]:
    """Every metric and variant."""
    # False alarms are no loss of recall: there the other faults alone are drawn.
    pairs = [(metric, variant) for metric in (MAP50, MAP) for variant in VARIANTS]
    pairs += [(RECALL, replace(variant, alarms=0.0)) for variant in VARIANTS]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for rows in pool.map(run_sizes, *zip(*pairs, strict=True), [share] * len(pairs)):
            for row in rows:
                print_row(row)
                yield row


def print_row(row: dict[str, Any]) -> None:
    """One line of the table, in percentage points."""
    head = f"{row['metric']:<9} {row['variant']:<23} n={row['n']:<5} true {100 * row['true_loss']:6.2f}"
    if row["false_accept"] is None:
        print(f"{head}  all refused", flush=True)
        return
    print(
        f"{head} mean {100 * row['mean_loss']:6.2f} bound {100 * row['mean_bound']:6.2f}"
        f"  falsely accepted {100 * row['false_accept']:5.2f}% (99%: {100 * row['upper_99']:5.2f}%)"
        f"  point rule {100 * row['point_rule']:5.1f}%  power at 4x {100 * row['power_at_4']:5.1f}%"
        f"  refused {row['refused']}",
        flush=True,
    )


def main() -> None:
    """Run all cells."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--share", type=float, default=1.0, help="share of the draws, for a quick look")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    started = time.perf_counter()
    rows = list(run_all(options.share, options.processes))
    known = [row for row in rows if row["false_accept"] is not None]
    result = {
        "bench": "detection_coverage",
        "confidence": CONFIDENCE,
        "seconds": round(time.perf_counter() - started),
        "machine": dict(describe_machine().facts()),
        "worst_false_accept": max(row["false_accept"] for row in known),
        "mean_false_accept": float(np.mean([row["false_accept"] for row in known])),
        "mean_point_rule": float(np.mean([row["point_rule"] for row in known])),
        "rows": rows,
    }
    print(json.dumps({**result, "rows": len(rows)}))
    if options.output is not None:
        options.output.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))


if __name__ == "__main__":
    main()
