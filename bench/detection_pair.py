"""NanoDet on 300 labelled pictures through the task 'detection': FP32 and INT8, mAP with its interval, and what broke.

The network's raw head is decoded by `zoo.nanodet`; what the task makes of the boxes is checked against COCO's own
evaluator. Run: ``python bench/detection_pair.py --packages DIR`` (see README.md).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from zoo.nanodet import BoxJudge, find_objects, make_nanodet
from zoo.pair import Places
from zoo.product import Product

from assay.core.errors import MeasurementError
from assay.core.session import Batch, Dataset, Metric, Scores, Session
from assay.core.tensor import Array, Outputs
from assay.measure.machine import describe_machine
from assay.measure.statistics.paired import compare
from assay.measure.tasks.detection import MAP, MAP50, MOST_DETECTIONS, RECALL, Detection
from assay.studies.flipped import show_flips

CONFIDENCE = 0.95
WORST = 3


def decode(outputs: Outputs) -> Array:
    """Detections ``[n, 100, 6]`` after suppression."""
    items = len(next(iter(outputs.values())))
    found = np.zeros((items, MOST_DETECTIONS, 6), np.float32)
    for row in range(items):
        boxes = find_objects(outputs, row)
        found[row, : len(boxes)] = boxes
    return found


def score(session: Session, dataset: Dataset) -> tuple[Scores, dict[str, float]]:
    """The task's scores of all pictures, and the metrics of COCO's evaluator."""
    parts = []

    def run() -> Iterator[tuple[Outputs, Batch]]:
        for batch in dataset.batches(1):
            outputs = session.run(batch.feeds)
            parts.append(Detection().score({"found": decode(outputs)}, batch.targets))
            yield outputs, batch

    coco = BoxJudge().judge(run())
    return join(parts), dict(coco.figures)


def join(parts: list[Scores]) -> Scores:
    """Scores of single pictures as scores of all."""
    return Scores(
        {name: np.concatenate([part.metrics[name] for part in parts]) for name in parts[0].metrics},
        np.concatenate([part.predictions for part in parts]),
        {name: np.concatenate([part.records[name] for part in parts]) for name in parts[0].records},
        np.concatenate([part.certainty for part in parts if part.certainty is not None]),
    )


def judge(name: str, metric: Metric, reference: Scores, variant: Scores) -> dict[str, Any]:
    """One line of the table, in percentage points."""
    quality = compare(metric, reference, variant, CONFIDENCE)
    bounds = -quality.difference, -quality.high, -quality.low
    loss, low, high = (100 * value for value in bounds)
    print(
        f"{name:<34} {metric.name:<9} {quality.reference:.4f} -> {quality.value:.4f}  "
        f"loss {loss:6.2f} pp [{low:6.2f}, {high:6.2f}]  worse {quality.flips_lost}, better {quality.flips_won}"
    )
    return {
        "variant": name,
        "metric": metric.name,
        "reference": quality.reference,
        "value": quality.value,
        "loss_pp": loss,
        "low_pp": low,
        "high_pp": high,
    }


def list_broken(dataset: Dataset, reference: Scores, variant: Scores) -> None:
    """The pictures on which most was lost."""
    for flip in show_flips(dataset, reference, variant, MAP, np.arange(len(dataset)), WORST):
        print(f"    picture {flip.item}: {flip.before} -> {flip.after}, PNG of {len(flip.picture)} characters")


def main() -> None:
    """FP32, then each variant that a study tries first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, default=os.environ.get("ASSAY_ZOO_PACKAGES"))
    parser.add_argument("--scratch", type=Path, default=Path(__file__).parent / "scratch" / "zoo")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    started = time.perf_counter()
    product = Product(make_nanodet(Places(options.packages, options.scratch)), options.threads)
    data = product.evaluation_data
    with product.open_float("onnxruntime") as session:
        reference, coco = score(session, data)
    rows, figures = [], {"fp32": coco}
    for variant in product.list_variants():
        if not variant.first:
            break
        with product.open_variant(variant.candidate) as session:
            scores, figures[variant.name] = score(session, data)
        try:
            lines = [judge(variant.name, metric, reference, scores) for metric in (MAP, MAP50, RECALL)]
        except MeasurementError as error:
            raise SystemExit(str(error)) from error
        rows += lines
        apart = max(
            abs(line["value"] - figures[variant.name][coco_name])
            for line, coco_name in zip(lines[:2], ("mAP50:95", "mAP50"), strict=True)
        )
        print(f"    COCO's evaluator differs by {apart:.1e}")
        list_broken(data, reference, scores)
    result = {
        "bench": "detection_pair",
        "seconds": round(time.perf_counter() - started),
        "machine": dict(describe_machine().facts()),
        "coco": figures,
        "rows": rows,
    }
    print(json.dumps({**result, "rows": len(rows)}))
    if options.output is not None:
        options.output.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))


if __name__ == "__main__":
    main()
