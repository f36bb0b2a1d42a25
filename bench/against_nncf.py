"""Speed of every artifact of a study beside ``nncf.quantize``'s, interleaved in one process.

Run: ``python bench/against_nncf.py resnet50 --batch 16`` or ``... STUDY.toml``. The study is run (or read, where it
is finished), NNCF quantizes the same model with the same calibration items, and all artifacts are timed in rounds of
alternating order. Prints a table and one JSON line; ``--output`` keeps the line.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np

from assay.backends.table import load_backend
from assay.core.precision import Precision
from assay.core.session import Session
from assay.core.target import Target
from assay.core.trial import Trial, TrialStatus
from assay.data.open import open_dataset
from assay.graph.ingest import load_model
from assay.graph.signature import describe_signature
from assay.measure.latency import estimate_speedup, measure_latency, summarise
from assay.measure.machine import describe_machine
from assay.studies.compose import compose_request
from assay.studies.config import DataSection, StudyFile, anchor, override, read_study_file
from assay.studies.loop import run_study
from assay.studies.progress import Silent
from assay.studies.record import StudyRecord
from assay.studies.request import StudyRequest

from networks import write_resnet50  # isort: skip

WORK = Path(__file__).parent / "scratch"


class Talk(Silent):
    """Prints each line of a study."""

    def say(self, text: str) -> None:
        """Print."""
        print(text, file=sys.stderr, flush=True)


def describe_resnet50() -> StudyFile:
    """A study of a random ResNet-50 on random images; agreement is its only metric."""
    WORK.mkdir(exist_ok=True)
    model = WORK / "resnet50.onnx"
    if not model.exists():
        write_resnet50(model)
    rng = np.random.default_rng(1)
    for name, items in (("calibration", 32), ("evaluation", 32)):
        path = WORK / f"resnet50_{name}.npz"
        if not path.exists():
            np.savez(path, image=rng.normal(0, 1, (items, 3, 224, 224)).astype(np.float32))
    return StudyFile(
        model=str(model),
        task="classification",
        tolerance="agreement: 50pp",
        calibration=DataSection(path=str(WORK / "resnet50_calibration.npz")),
        evaluation=DataSection(path=str(WORK / "resnet50_evaluation.npz")),
    )


def quantize_with_nncf(request: StudyRequest, host: Path, preset: str) -> tuple[Path, float]:
    """NNCF's artifact in the form that our adapter opens, and the seconds it took."""
    import nncf  # noqa: PLC0415 - slow to import
    import openvino as ov  # noqa: PLC0415

    folder = WORK / f"nncf-{request.model.stem}-{preset}"
    signature = describe_signature(load_model(request.model))
    if request.calibration is None:
        raise SystemExit("the study has no calibration data")
    dataset = open_dataset(request.calibration, signature)
    wanted = range(request.calibration_items or 300)
    items = [dict(batch.feeds) for batch, _ in zip(dataset.batches(1), wanted, strict=False)]
    begin = time.perf_counter()
    model = ov.Core().read_model(str(request.model))
    chosen = nncf.QuantizationPreset(preset)
    quantized = nncf.quantize(model, nncf.Dataset(items), preset=chosen, subset_size=len(items))
    seconds = time.perf_counter() - begin
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(host, folder)
    for name in ("model.xml", "model.bin"):
        (folder / name).unlink()
    ov.save_model(quantized, str(folder / "model.xml"), compress_to_fp16=False)
    return folder, seconds


def find_host(record: StudyRecord, output: Path, rest: Precision) -> Path:
    """An OpenVINO INT8 artifact whose settings NNCF's model is run with."""
    for trial in record.trials:
        plan = trial.candidate.plan
        is_host = trial.candidate.runtime == "openvino" and plan.precision is Precision.INT8 and plan.rest is rest
        if is_host and trial.status is TrialStatus.OK:
            return output / "artifacts" / trial.artifact
    raise SystemExit(f"the study has no OpenVINO INT8 artifact with the rest in {rest}")


def open_trial(trial: Trial, request: StudyRequest) -> Session:
    """An artifact of the study."""
    target = Target(runtime=trial.candidate.runtime, threads=request.threads, batch=request.batch)
    return load_backend(target.runtime).open(request.output / "artifacts" / trial.artifact, target)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject", help="resnet50, or a study file")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    path = Path(options.subject)
    keys = describe_resnet50() if options.subject == "resnet50" else anchor(read_study_file(path), path.parent)
    study = WORK / f"study-{path.stem}-{options.batch}-{options.threads}"
    keys = override(keys, StudyFile(batch=options.batch, threads=options.threads, output=str(study)))
    request = compose_request(keys)
    record = run_study(request, Talk())
    compare(request, record, options.seconds, options.output)


def compare(request: StudyRequest, record: StudyRecord, seconds: float, output: Path | None) -> None:
    """Time everything against everything and print it."""
    target = Target(runtime="openvino", threads=request.threads, batch=request.batch)
    signature = describe_signature(load_model(request.model))
    feeds = next(iter(open_dataset(request.evaluation, signature).batches(request.batch))).feeds
    took: dict[str, float] = {}
    with ExitStack() as stack:
        running = [trial for trial in record.trials if trial.status is TrialStatus.OK]
        sessions = {trial.id: stack.enter_context(open_trial(trial, request)) for trial in running}
        for rest in (Precision.FP32, Precision.BF16):
            for preset in ("performance", "mixed"):
                name = f"nncf.{preset}-{rest}"
                folder, took[name] = quantize_with_nncf(request, find_host(record, request.output, rest), preset)
                sessions[name] = stack.enter_context(load_backend("openvino").open(folder, target))
        samples = measure_latency(sessions, feeds, budget_s=seconds)
    base = {name: f"{name.split('.')[0].replace('nncf', 'openvino')}.fp32" for name in sessions}
    rows = [
        {
            "artifact": name,
            "p50_ms": round(summarise(one, request.batch, 0.95).p50.value, 4),
            "over_own_fp32": round(estimate_speedup(samples[base[name]], one, 0.95).value, 2),
            "rounds": len(one.calls_ns),
        }
        for name, one in samples.items()
    ]
    rows.sort(key=lambda row: float(str(row["p50_ms"])))
    for row in rows:
        print(f"{row['artifact']:<48}{row['p50_ms']:>12}{row['over_own_fp32']:>8}x")
    line = {
        "bench": "against_nncf",
        "model": request.model.name,
        "batch": request.batch,
        "threads": request.threads,
        "machine": dict(describe_machine().facts()),
        "versions": dict(record.versions),
        "rows": rows,
    }
    print(json.dumps(line))
    if output is not None:
        output.write_bytes(msgspec.json.format(msgspec.json.encode(line), indent=1))


if __name__ == "__main__":
    main()
