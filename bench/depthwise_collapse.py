"""A depthwise network that collapses under a plain quantizer with one scale for each weight, and what rescues it.

Run: ``python bench/depthwise_collapse.py [--items 10000] [--output FILE]``. Subjects: the separable network on
Fashion-MNIST as it was trained; the same network with the channels of every activation scaled by random powers of two
from 1/32 to 32, which cancel out bit for bit, a state in which folded batch normalization can leave networks (Nagel et
al. 2019, on MobileNetV2); and EfficientNet-Lite0 where its example was fetched, whose ReLU6 keeps channels from being
scaled across it.
The plain quantizers are ``onnxruntime.quantization.quantize_static`` and Assay's own without repairs, both min-max.
Prints a table and one JSON line; ``--output`` keeps the line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import msgspec
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.backends.table import load_backend
from assay.calibrate.ranges import solve_ranges
from assay.core.plan import Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod, Repair
from assay.core.target import Target
from assay.graph.channel_groups import list_groups
from assay.graph.ingest import load_model
from assay.graph.prepare import prepare
from assay.graph.realise import realise
from assay.graph.repair import list_repairs
from assay.graph.rescale import rescale_group
from assay.graph.save import save_model
from assay.measure.machine import describe_machine

from repairs import BATCH, ROOT, Subject, collect, measure_sqnr  # isort: skip

SCRATCH = Path(__file__).parent / "scratch"
FASHION, IMAGENET = ROOT / "examples/fashion/study.toml", ROOT / "examples/imagenet/study.toml"
SEPARABLE, LITE = FASHION.parent / "separable.onnx", IMAGENET.parent / "files/efficientnet_lite0.onnx"
LARGEST_EXPONENT = 5
Row = dict[str, object]


def scale_channels(model: ir.Model) -> ir.Model:
    """The same function with every scalable channel at a random scale."""
    scaled, rng = model.clone(), np.random.default_rng(1)
    for group in list_groups(scaled.graph):
        rescale_group(group, np.exp2(rng.integers(-LARGEST_EXPONENT, LARGEST_EXPONENT + 1, group.channels)))
    return scaled


def quantize_plainly(model: Path, subject: Subject) -> ir.Model:
    """ONNX Runtime's own tool: quantize/dequantize pairs, min-max, u8 activations, one s8 scale for each weight."""
    from onnxruntime.quantization import (  # noqa: PLC0415 - slow to import
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        """The calibration items in batches."""

        def __init__(self) -> None:
            self._parts: Iterator[Mapping[str, NDArray[np.generic]]] = (
                batch.feeds for batch in subject.items.batches(BATCH)
            )

        def get_next(self) -> dict[str, NDArray[np.generic]] | None:
            """The next batch."""
            part = next(self._parts, None)
            return None if part is None else dict(part)

    into = SCRATCH / f"{model.stem}-plain.onnx"
    quantize_static(
        str(model),
        str(into),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=False,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return load_model(into)


def measure(subject: Subject, name: str, found: NDArray[np.float32]) -> Row:
    """One row."""
    row: Row = {
        "model": subject.name,
        "quantizer": name,
        "top1": subject.score(found),
        "agreement": round(float((found.argmax(axis=1) == subject.reference.argmax(axis=1)).mean()), 4),
        "sqnr_db": round(measure_sqnr(subject.reference, found), 2) if found is not subject.reference else None,
    }
    print(
        f"{row['model']:<20}{row['quantizer']:<46}{row['top1']!s:>9}{row['agreement']!s:>9}{row['sqnr_db']!s:>8}",
        flush=True,
    )
    return row


def quantize(subject: Subject, repairs: tuple[Repair, ...], *, per_channel: bool, ranges: RangeMethod) -> ir.Model:
    """Assay's model in ONNX Runtime's first form of INT8."""
    dialect = load_backend("onnxruntime").dialects(Target(runtime="onnxruntime"))[0]
    scheme = Scheme(replace(dialect, per_channel=per_channel), Placement.CHAIN, ranges, repairs)
    plan = Plan(Precision.INT8, scheme=scheme)
    observed = subject.rescale(scheme)
    moments, _cost = subject.observe_moments(observed, plan)
    return realise(observed.model, plan, observed.calibration, solve_ranges(observed.calibration, scheme), moments)


def compare(study: Path, model: Path, items: int) -> list[Row]:
    """All rows of one network."""
    subject = Subject(study, str(model), items)
    rows = [measure(subject, "fp32", subject.reference)]
    plain = Plan(Precision.FP32)
    rows.append(
        measure(
            subject,
            "onnxruntime quantize_static, one scale, min-max",
            collect(quantize_plainly(model, subject), plain, subject.evaluation),
        )
    )
    possible = list_repairs(subject.prepared)
    sets = [("without repairs", ()), *((one.value, (one,)) for one in possible[:1]), ("all repairs", possible)]
    for per_channel, form in ((False, "one scale"), (True, "per channel")):
        for label, repairs in sets:
            ranges = RangeMethod.MSE if repairs == possible else RangeMethod.MIN_MAX
            quantized = quantize(subject, repairs, per_channel=per_channel, ranges=ranges)
            name = f"assay {form}, {label}, {ranges}"
            rows.append(measure(subject, name, collect(quantized, plain, subject.evaluation)))
    return rows


def write(model: ir.Model, name: str) -> Path:
    """A made network beside the other scratch files."""
    SCRATCH.mkdir(exist_ok=True)
    path = SCRATCH / f"{name}.onnx"
    save_model(model, path)
    return path


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--only", choices=("fashion", "imagenet"))
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    SCRATCH.mkdir(exist_ok=True)
    subjects = []
    if options.only != "imagenet":
        scaled = write(scale_channels(prepare(load_model(SEPARABLE))), "separable-scaled")
        subjects += [(FASHION, SEPARABLE), (FASHION, scaled)]
    if options.only != "fashion" and LITE.exists():
        subjects.append((IMAGENET, LITE))
    rows = [row for study, model in subjects for row in compare(study, model, options.items)]
    line = {
        "bench": "depthwise_collapse",
        "machine": dict(describe_machine().facts()),
        "versions": {name: metadata.version(name) for name in ("onnxruntime", "numpy", "onnx")},
        "rows": rows,
    }
    print(json.dumps(line))
    if options.output is not None:
        options.output.write_bytes(msgspec.json.format(msgspec.json.encode(line), indent=1))


if __name__ == "__main__":
    main()
