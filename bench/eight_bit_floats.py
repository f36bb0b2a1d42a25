"""What FP8 loses beside INT8, as a CPU without 8-bit floats can tell: the graphs run node by node, as they stand.

Run: ``python bench/eight_bit_floats.py`` or ``... STUDY.toml [STUDY.toml ...] --items 1000``. INT8 is the form that
TensorRT takes (symmetric s8, weights per channel, float biases) without repairs, with pairs on operands as FP8 has
them, and as a chain; both have their rest in FP32. Told are the signal to noise of the first output beside FP32's, in
dB, the share of items whose largest output is FP32's, and of those where it is the label.

Prints a table and one JSON line; ``--output`` keeps the line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from assay.backends.tensorrt.plans import DIALECT, FLOAT_DIALECT
from assay.calibrate.ranges import solve_float_ranges, solve_ranges
from assay.core.plan import FloatScheme, Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod
from assay.core.session import Dataset
from assay.graph.realise import realise

from sensitivity import SUBJECTS, Subject, load_subject  # isort: skip

METHODS = (RangeMethod.MIN_MAX, RangeMethod.MSE)
BATCH = 64


def list_plans() -> Iterator[Plan]:
    """INT8 and FP8, all with the rest in FP32."""
    for method in METHODS:
        for placement in Placement:
            yield Plan(Precision.INT8, scheme=Scheme(DIALECT, placement, method))
        yield Plan(Precision.FP8, floats=FloatScheme(FLOAT_DIALECT, method))


def make_model(subject: Subject, plan: Plan) -> ir.Model:
    """A plan as ONNX."""
    if plan.scheme is not None:
        return realise(subject.model, plan, subject.calibration, solve_ranges(subject.calibration, plan.scheme))
    if plan.floats is not None:
        return realise(subject.model, plan, subject.calibration, solve_float_ranges(subject.calibration, plan.floats))
    return subject.model


def run(model: ir.Model, items: Dataset) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """First output of every item, and the labels."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    given, labels = [], []
    for batch in items.batches(BATCH):
        given.append(np.asarray(session.run(None, dict(batch.feeds))[0], np.float64))
        labels.append(np.asarray(batch.targets, np.int64).reshape(-1))
    return np.concatenate(given), np.concatenate(labels)


def measure(subject: Subject) -> Iterator[dict[str, object]]:
    """One row for each form of a model."""
    reference, labels = run(subject.model, subject.items)
    yield {"model": subject.name, "plan": "fp32", "right": float((reference.argmax(-1) == labels).mean())}
    for plan in list_plans():
        got, _ = run(make_model(subject, plan), subject.items)
        ratio = 10 * np.log10(np.square(reference).sum() / np.square(reference - got).sum())
        same, right = (float((got.argmax(-1) == wanted).mean()) for wanted in (reference.argmax(-1), labels))
        yield {"model": subject.name, "plan": plan.name, "db": round(float(ratio), 2), "same": same, "right": right}


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", type=Path, nargs="*")
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    subjects = [(study, "") for study in given.studies] or list(SUBJECTS[:2])
    rows = []
    for study, model in subjects:
        for row in measure(load_subject(study, model, given.items)):
            print("  ".join(f"{value:.4f}" if isinstance(value, float) else str(value) for value in row.values()))
            rows.append(row)
    line = json.dumps({"items": given.items, "rows": rows})
    print(line)
    if given.output is not None:
        given.output.write_text(line + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
