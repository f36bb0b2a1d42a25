"""Size and build time of TensorRT engines for GPUs that are not here: T4 (sm75), A100 (sm80), A4000 (sm86).

Run: ``python bench/engines.py resnet50 NAME=MODEL.onnx[:CALIBRATION.npz] ... --devices sm75,sm80,sm86``. ``resnet50``
is made with random weights; the others are files. FP32, FP16, BF16 and INT8 with the rest in FP16 are realised as a
study would, from the calibration items or else from random ones, which change neither size nor time. Engines take
batches of 1 to 32 and, where lengths are open, 1 to 512 tokens. The time is the wall time of parsing, building and
writing, the median of ``--rounds`` builds in one process on this machine. Nothing runs: no GPU is needed, and none is
used.

Prints a table; ``--output`` keeps it as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from networks import write_resnet50

from assay.backends.backend import Backend
from assay.backends.table import load_backend
from assay.calibrate.observe import observe
from assay.calibrate.ranges import solve_ranges
from assay.core.calibration import Calibration
from assay.core.errors import BackendError, UnsupportedPlan
from assay.core.plan import Plan, Scheme
from assay.core.precision import CastStyle, Precision, RangeMethod
from assay.core.target import Target
from assay.core.tensor import Array, Signature
from assay.data.open import open_dataset
from assay.data.source import DataSource
from assay.data.subset import every
from assay.graph.channels import list_channel_axes
from assay.graph.expose import observable_tensors
from assay.graph.realise import realise
from assay.graph.save import save_model
from assay.measure.machine import describe_machine
from assay.studies.exposing import open_exposed
from assay.studies.subject import Subject, load_subject

RUNTIME, OBSERVER = "tensorrt", "onnxruntime"
ITEMS = 8
LENGTH = 128
WORDS = 1000
"""Random integers are below this, where the model does not say how many rows it looks up."""


@dataclass(frozen=True)
class Engine:
    """A row of the table.

    Attributes:
        seconds: median over the rounds; None where nothing was built.
        refused: why nothing was built.
    """

    network: str
    device: str
    plan: str
    size_bytes: int | None
    seconds: float | None
    refused: str


def draw_items(signature: Signature, path: Path) -> None:
    """Write random items for every input: normal floats, small integers, masks of ones."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Array] = {}
    for spec in signature.inputs:
        shape = [ITEMS, *(axis if isinstance(axis, int) else LENGTH for axis in (spec.shape or ())[1:])]
        dtype = np.dtype(spec.dtype)
        if dtype.kind == "f":
            arrays[spec.name] = rng.standard_normal(shape).astype(dtype)
        else:
            high = 2 if spec.rows is None else min(spec.rows, WORDS)
            arrays[spec.name] = rng.integers(1, max(2, high), shape).astype(dtype)
    np.savez(path, allow_pickle=False, **arrays)  # type: ignore[arg-type] # of NumPy's stub


def calibrate(subject: Subject, items: Path) -> Calibration:
    """Statistics of all activations over the first items."""
    dataset = open_dataset(DataSource(path=str(items)), subject.signature)
    dataset = every(dataset, list(range(min(ITEMS, len(dataset)))))
    tensors = observable_tensors(subject.prepared)
    channels = list_channel_axes(subject.prepared)
    with (
        tempfile.TemporaryDirectory(prefix="assay-bench-") as scratch,
        open_exposed(subject.prepared, tensors, load_backend(OBSERVER), Path(scratch)) as session,
    ):
        return observe(session, dataset, tensors, subject.fixed_batch or 1, channels=channels, threads=1)


def list_plans(backend: Backend, subject: Subject, target: Target) -> Iterator[Plan]:
    """FP32, both 16-bit floats, and INT8 with the rest that the runtime expects to be fastest."""
    typed = CastStyle.TYPED
    yield Plan(Precision.FP32)
    yield Plan(Precision.FP16, cast=typed)
    yield Plan(Precision.BF16, cast=typed)
    scheme = Scheme(backend.dialects(target)[0], subject.traits.placements[0], RangeMethod.MSE)
    rest = backend.rests(target)[0]
    yield Plan(Precision.INT8, rest=rest, scheme=scheme, cast=None if rest is Precision.FP32 else typed)


def build_plan(
    backend: Backend, subject: Subject, calibration: Calibration, plan: Plan, target: Target, rounds: int
) -> tuple[int, float]:
    """Bytes of the engine and seconds of a build.

    Raises:
        BackendError: the plan or the model is refused.
    """
    support = backend.supports(plan, target)
    if not support.supported:
        raise UnsupportedPlan(support.reason)
    ranges = None if plan.scheme is None else solve_ranges(calibration, plan.scheme)
    realised = realise(subject.prepared, plan, calibration, ranges)
    seconds, size = [], 0
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as scratch:
        model = Path(scratch, "model.onnx")
        save_model(realised, model)
        for number in range(rounds):
            built = Path(scratch, f"built{number}")
            built.mkdir()
            began = time.perf_counter()
            backend.build(model, built, plan, target)
            seconds.append(time.perf_counter() - began)
            size = next(built.glob("*.engine")).stat().st_size
    return size, statistics.median(seconds)


def measure_network(name: str, model: Path, items: Path | None, devices: list[str], rounds: int) -> Iterator[Engine]:
    """All engines of a network."""
    subject, backend = load_subject(model), load_backend(RUNTIME)
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as scratch:
        if items is None:
            items = Path(scratch, "items.npz")
            draw_items(subject.signature, items)
        calibration = calibrate(subject, items)
    for device in devices:
        target = Target(RUNTIME, device=device)
        for plan in list_plans(backend, subject, target):
            try:
                size, seconds = build_plan(backend, subject, calibration, plan, target, rounds)
            except BackendError as error:
                row = Engine(name, device, plan.name, None, None, error.message)
            else:
                row = Engine(name, device, plan.name, size, seconds, "")
            told = row.refused or f"{row.size_bytes:>12,} bytes {row.seconds:6.2f} s"
            print(f"{name:20s} {device:6s} {row.plan:24s} {told}", flush=True)
            yield row


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", metavar="NAME=MODEL.onnx[:CALIBRATION.npz]")
    parser.add_argument("--devices", default="sm75,sm80,sm86")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    rows: list[Engine] = []
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as scratch:
        for text in asked.networks:
            name, _, files = text.partition("=")
            model, _, items = files.partition(":")
            path = Path(model) if model else Path(scratch, "resnet50.onnx")
            if not model:
                write_resnet50(path)
            devices = asked.devices.split(",")
            rows += measure_network(name, path, Path(items) if items else None, devices, asked.rounds)
    if asked.output is not None:
        backend = load_backend(RUNTIME)
        document = {
            "machine": describe_machine().facts(),
            "versions": dict(backend.versions()),
            "rounds": asked.rounds,
            "engines": [vars(row) for row in rows],
        }
        asked.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
