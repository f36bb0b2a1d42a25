"""A detector whose heads die when all its operators are quantized: caught, the node named, the form mended.

NanoDet with its boxes decoded inside the graph, as detectors are exported: one output with boxes in pixels and scores
within 1. ONNX Runtime's own `quantize_static` quantizes every operator that it can. Assay's guard looks at the output
beside FP32's, its trace names the node where the fault begins, and that node is left out of the next form, together
with what runs along with it, until no guard fires. Run: ``python bench/dead_heads.py --packages DIR`` (see README.md).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import msgspec
import onnx
import onnx_ir as ir
from detection_pair import join, judge
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from zoo.nanodet import DECODED_INSIDE, decode_inside, make_nanodet
from zoo.pair import Places

from assay.backends.table import load_backend
from assay.core.fault import Fault
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.session import Dataset, Scores
from assay.core.target import Target
from assay.core.tensor import Array, Feeds
from assay.data.open import open_dataset
from assay.data.subset import first
from assay.graph.fault_source import find_sources, list_fused
from assay.measure.guards import GuardSummary, OutputGuard, find_faults
from assay.measure.machine import describe_machine
from assay.measure.tasks.detection import MAP, MAP50
from assay.studies.guarding import TRACED_ITEMS, find_inner_faults
from assay.studies.subject import load_subject

CALIBRATED = 64
MOST_MENDS = 4


class Reader(CalibrationDataReader):  # type: ignore[misc]  # the vendor's class is untyped
    """Calibration items one by one."""

    def __init__(self, dataset: Dataset) -> None:
        self._batches: Iterator[Feeds] = (batch.feeds for batch in dataset.batches(1))

    def get_next(self) -> dict[str, Array] | None:
        feeds = next(self._batches, None)
        return None if feeds is None else dict(feeds)


def quantize(source: Path, into: Path, calibration: Dataset, kept: Collection[str]) -> None:
    """Every operator that ONNX Runtime quantizes, but for the nodes that are kept."""
    quantize_static(
        source,
        into,
        Reader(calibration),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=sorted(kept),
    )


def score(model: Path, scratch: Path, dataset: Dataset) -> tuple[Scores, GuardSummary]:
    """The task's scores of all pictures, and what the guard saw of the output."""
    backend, target = load_backend("onnxruntime"), Target("onnxruntime")
    built = scratch / f"built-{model.stem}"
    built.mkdir(exist_ok=True)
    backend.build(model, built, Plan(Precision.FP32), target)
    guard, parts = OutputGuard(), []
    with backend.open(built, target) as session:
        for batch in dataset.batches(1):
            outputs = session.run(batch.feeds)
            guard.add(outputs, batch.size)
            parts.append(DECODED_INSIDE.score(outputs, batch.targets))
    return join(parts), guard.summarise()


def find_guilty(prepared: ir.Model, realised: Path, items: Dataset, scratch: Path, fault: Fault) -> tuple[ir.Node, ...]:
    """The nodes where a fault of the output begins."""
    inner = find_inner_faults((prepared, ir.load(realised)), items, 1, load_backend("onnxruntime"), scratch)
    nodes = find_sources(prepared, inner, fault.tensor)
    if not nodes:
        raise SystemExit("the trace does not show the fault")
    return nodes


def main() -> None:
    """FP32, everything quantized, and mended until no guard fires."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, default=os.environ.get("ASSAY_ZOO_PACKAGES"))
    parser.add_argument("--scratch", type=Path, default=Path(__file__).parent / "scratch" / "zoo")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    started = time.perf_counter()
    pair = make_nanodet(Places(options.packages, options.scratch))
    folder = options.scratch / "dead_heads"
    folder.mkdir(exist_ok=True)
    onnx.save(decode_inside(onnx.load(pair.model)), folder / "exported.onnx")
    subject = load_subject(folder / "exported.onnx")
    ir.save(subject.prepared, folder / "float.onnx")
    evaluation = open_dataset(pair.evaluation, subject.signature)
    calibration = first(open_dataset(pair.calibration, subject.signature), CALIBRATED)
    reference, healthy = score(folder / "float.onnx", folder, evaluation)
    kept: list[str] = []
    rows: list[dict[str, Any]] = []
    for step in range(MOST_MENDS + 1):
        quantized = folder / f"quantized-{step}.onnx"
        quantize(folder / "float.onnx", quantized, calibration, kept)
        scores, seen = score(quantized, folder, evaluation)
        name = f"{len(kept)} nodes kept" if kept else "all operators quantized"
        lines = [judge(name, metric, reference, scores) for metric in (MAP50, MAP)]
        faults = find_faults(healthy, seen)
        row = {"kept": tuple(kept), "figures": lines, "faults": [fault.words for fault in faults], "nodes": ""}
        rows.append(row)
        if not faults:
            print("    no guard fires")
            break
        nodes = find_guilty(subject.prepared, quantized, first(evaluation, TRACED_ITEMS), folder, faults[0])
        row["nodes"] = ", ".join(f"{node.name} ({node.op_type})" for node in nodes)
        print(f"    caught: {'; '.join(fault.words for fault in faults)}\n    begins at {row['nodes']}")
        around = [name for node in nodes for name in list_fused(subject.prepared, str(node.name))]
        kept += [name for name in dict.fromkeys(around) if name not in kept]
    result = {
        "bench": "dead_heads",
        "seconds": round(time.perf_counter() - started),
        "machine": dict(describe_machine().facts()),
        "rows": rows,
    }
    print(json.dumps({**result, "rows": len(rows)}))
    if options.output is not None:
        options.output.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))


if __name__ == "__main__":
    main()
