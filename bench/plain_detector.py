"""Plain all-operator INT8 beside what a study chose, for a detector whose boxes are decoded inside.

The network of ``examples/detection`` with one output of boxes in pixels and scores within 1, as YOLOs are exported:
FP32, ONNX Runtime's own `quantize_static` of every operator that it can, and the artifact that the finished study
chose; metric, dead outputs, speed. YOLOv8n's network with random weights, which detects nothing, has its outputs and
its speed beside that. Run ``examples/detection/fetch.py`` and ``yolov8.py`` there, then
``assay study examples/detection/study-decoded.toml``, then ``python bench/plain_detector.py``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import onnx_ir as ir
from dead_heads import quantize
from detection_pair import join, judge

from assay.backends.table import load_backend
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.session import Batch, Dataset, Scores, Session, Task
from assay.core.target import Target
from assay.data.open import open_dataset
from assay.data.subset import first
from assay.measure.guards import GuardSummary, OutputGuard, find_faults
from assay.measure.latency import estimate_speedup, measure_latency
from assay.measure.machine import describe_machine
from assay.measure.tasks.detection import MAP, MAP50, RECALL
from assay.measure.tasks.table import fit_task, load_task
from assay.studies.compose import compose_request
from assay.studies.config import anchor, read_study_file
from assay.studies.named_trials import find_measurements
from assay.studies.request import StudyRequest
from assay.studies.store import StudyStore, load_record
from assay.studies.subject import Subject, load_subject

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "detection"
STUDY = EXAMPLE / "study-decoded.toml"
RANDOM = EXAMPLE / "files" / "yolov8n_random.onnx"
CALIBRATED = 64
RANDOM_ITEMS = 24
CONFIDENCE = 0.95
PLAIN, FP32 = "plain INT8, all operators", "FP32"


@dataclass
class Seen:
    """What one model gave on all items."""

    guard: GuardSummary
    scores: list[Scores] = field(default_factory=list)


def build(model: Path, folder: Path) -> Path:
    """The model as ONNX Runtime opens it."""
    folder.mkdir()
    load_backend("onnxruntime").build(model, folder, Plan(Precision.FP32), Target("onnxruntime"))
    return folder


def look(session: Session, items: Dataset, task: Task | None) -> Seen:
    """Run every item; scores where there is a task."""
    guard, scores = OutputGuard(), []
    for batch in items.batches(1):
        outputs = session.run(batch.feeds)
        guard.add(outputs, batch.size)
        if task is not None:
            scores.append(task.score(outputs, batch.targets))
    return Seen(guard.summarise(), scores)


class DrawnPictures:
    """Pictures of smooth noise, for a network that detects nothing."""

    fingerprint, labelled = "drawn", False

    def __init__(self, shape: tuple[int, ...], name: str) -> None:
        self._shape, self._name = shape, name

    def __len__(self) -> int:
        """Number of pictures."""
        return RANDOM_ITEMS

    def batches(self, size: int) -> Any:  # noqa: ANN401 - of a protocol whose type says it
        """One by one, whatever is asked."""
        del size
        rng = np.random.default_rng(1)
        for start in range(RANDOM_ITEMS):
            coarse = rng.uniform(0, 1, (1, 3, self._shape[2] // 16, self._shape[3] // 16))
            yield Batch({self._name: coarse.repeat(16, axis=2).repeat(16, axis=3).astype(np.float32)}, None, start)


def measure(
    folders: Mapping[str, tuple[Path, str]], items: Dataset, task: Task | None, threads: int, seconds: float
) -> list[dict[str, Any]]:
    """Metric, faults and speed of each, the first being the reference."""
    with ExitStack() as stack:
        sessions = {
            name: stack.enter_context(load_backend(runtime).open(folder, Target(runtime, threads=threads)))
            for name, (folder, runtime) in folders.items()
        }
        feeds = next(iter(items.batches(1))).feeds
        timed = measure_latency(sessions, feeds, budget_s=seconds, needed=300)
        seen = {name: look(session, items, task) for name, session in sessions.items()}
    base = next(iter(folders))
    rows = []
    for name in folders:
        faults = find_faults(seen[base].guard, seen[name].guard)
        speedup = estimate_speedup(timed[base], timed[name], CONFIDENCE)
        row: dict[str, Any] = {
            "variant": name,
            "p50_ms": float(np.median(timed[name].calls_ms)),
            "speedup": [speedup.low, speedup.value, speedup.high],
            "faults": [fault.words for fault in faults],
        }
        if task is not None:
            pair = join(seen[base].scores), join(seen[name].scores)
            row["metrics"] = [judge(name, metric, *pair) for metric in (MAP, MAP50, RECALL)]
        print(
            f"{name:<34} {row['p50_ms']:8.2f} ms, {speedup.value:.2f}x FP32; {'; '.join(row['faults']) or 'no fault'}"
        )
        rows.append(row)
    return rows


def find_chosen(request: StudyRequest) -> tuple[str, Path, str]:
    """What the finished study chose: trial, folder, runtime."""
    record = load_record(request.output)
    trial = next(one for one in record.trials if one.id == record.decision.chosen)
    store = StudyStore(request.output, find_measurements(request.output).name)
    return trial.id, store.artifact(trial.artifact), trial.candidate.runtime


def compare_studied(study: Path, scratch: Path, seconds: float) -> list[dict[str, Any]]:
    """The trained pair."""
    request = compose_request(anchor(read_study_file(study), study.parent))
    subject = load_subject(request.model)
    task = fit_task(load_task(request.task), request.settings, subject.signature)
    if request.calibration is None:
        raise SystemExit(f"{study} names no calibration data")
    calibration = first(open_dataset(request.calibration, subject.signature), CALIBRATED)
    folders = make_plain(subject, calibration, scratch)
    name, folder, runtime = find_chosen(request)
    folders[f"Assay's choice, {name}"] = (folder, runtime)
    return measure(folders, open_dataset(request.evaluation, subject.signature), task, request.threads, seconds)


def make_plain(subject: Subject, calibration: Dataset, scratch: Path) -> dict[str, tuple[Path, str]]:
    """FP32 and every operator quantized."""
    scratch.mkdir()
    ir.save(subject.prepared, scratch / "float.onnx")
    quantize(scratch / "float.onnx", scratch / "plain.onnx", calibration, ())
    return {
        FP32: (build(scratch / "float.onnx", scratch / "fp32"), "onnxruntime"),
        PLAIN: (build(scratch / "plain.onnx", scratch / "int8"), "onnxruntime"),
    }


def compare_random(scratch: Path, seconds: float) -> list[dict[str, Any]]:
    """YOLOv8n with random weights."""
    subject = load_subject(RANDOM)
    spec = subject.signature.inputs[0]
    shape = tuple(side for side in spec.shape or () if isinstance(side, int))
    items = DrawnPictures(shape, spec.name)
    return measure(make_plain(subject, items, scratch), items, None, 1, seconds)


def main(arguments: Sequence[str] | None = None) -> None:
    """Both tables and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=STUDY)
    parser.add_argument("--seconds", type=float, default=40.0, help="of the latency measurement of each table")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    with TemporaryDirectory() as work:
        found = {"trained": compare_studied(options.study, Path(work, "trained"), options.seconds)}
        if RANDOM.exists():
            found["random weights"] = compare_random(Path(work, "random"), options.seconds)
    result = {
        "bench": "plain_detector",
        "seconds": round(time.perf_counter() - started),
        "machine": dict(describe_machine().facts()),
        **found,
    }
    print(json.dumps({"bench": result["bench"], "seconds": result["seconds"]}))
    if options.output is not None:
        options.output.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))


if __name__ == "__main__":
    main()
