"""What sensitivities of all groups take from one simulated model, and how they rank beside real builds.

Run: ``python bench/sensitivity.py`` or ``... STUDY.toml [STUDY.toml ...] --items 32 --builds 12``. For each model, the
noise of every group alone and of all groups up to it is measured on the same items. Then some groups, spread evenly
over the graph, are built for real by ``Plan.overrides`` and run by the runtime's own integer kernels: quantized alone,
everything else kept in FP32 (a plan then leaves a residual Add in floats, for no integers follow it), and the other
way round, everything quantized but this group, which tells what keeping it gains.

Prints a table and one JSON line; ``--output`` keeps the line. Wall seconds are of a machine that may do other work;
CPU seconds are of this process.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
from scipy.stats import spearmanr

from assay.backends.table import load_backend
from assay.calibrate.observe import observe
from assay.calibrate.ranges import solve_ranges
from assay.core.calibration import Calibration, TensorRange
from assay.core.plan import Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod, Repair
from assay.core.sensitivity import Damage, NodeGroup, Sensitivities
from assay.core.session import Dataset, Session
from assay.core.target import Target
from assay.data.open import open_dataset
from assay.data.subset import every, first
from assay.graph.channels import list_channel_axes
from assay.graph.expose import expose, observable_tensors
from assay.graph.groups import Grouping, find_groups
from assay.graph.ingest import load_model
from assay.graph.prepare import prepare
from assay.graph.realise import list_kept, list_nonfinite, realise
from assay.graph.save import save_model
from assay.graph.signature import describe_signature
from assay.graph.simulate import simulate
from assay.measure.machine import describe_machine
from assay.measure.noise import NoiseMeter
from assay.measure.tasks.table import load_task
from assay.studies.compose import compose_request
from assay.studies.config import StudyFile, anchor, override, read_study_file
from assay.studies.progress import Silent
from assay.studies.request import StudyRequest
from assay.studies.sensitivities import Questions, measure_sensitivities, measure_settings, open_passes

ROOT = Path(__file__).parents[1]
SUBJECTS = (
    (ROOT / "examples/fashion/study.toml", "residual.onnx"),
    (ROOT / "examples/fashion/study.toml", "separable.onnx"),
    (ROOT / "examples/imagenet/study.toml", ""),
)
RUNTIMES = ("onnxruntime", "openvino")
BATCH = 16
THREADS = 2
CALIBRATION_ITEMS = 128


@dataclass(frozen=True)
class Subject:
    """A float model with what was observed of it, and the items that noise is measured on."""

    name: str
    request: StudyRequest
    model: ir.Model
    calibration: Calibration
    items: Dataset


@dataclass(frozen=True)
class Case:
    """A plan for a runtime."""

    runtime: str
    plan: Plan
    ranges: dict[str, TensorRange]
    grouping: Grouping


@contextmanager
def open_model(model: ir.Model, plan: Plan, runtime: str) -> Iterator[Session]:
    """A session of a realised model."""
    target, backend = Target(runtime=runtime, threads=THREADS), load_backend(runtime)
    with tempfile.TemporaryDirectory() as name:
        path, built = Path(name, "model.onnx"), Path(name, "built")
        built.mkdir()
        save_model(model, path)
        backend.build(path, built, plan, target)
        with backend.open(built, target) as session:
            yield session


def load_subject(study: Path, model: str, items: int) -> Subject:
    """A model, observed."""
    keys = anchor(read_study_file(study), study.parent)
    request = compose_request(override(keys, StudyFile(model=str(study.parent / model))) if model else keys)
    if request.calibration is None:
        raise SystemExit(f"{study} has no calibration data")
    source = load_model(request.model)
    prepared, signature = prepare(source), describe_signature(source)
    names = observable_tensors(prepared)
    calibration = first(open_dataset(request.calibration, signature), CALIBRATION_ITEMS)
    with open_model(expose(prepared, names), Plan(Precision.FP32), "onnxruntime") as session:
        observed = observe(session, calibration, names, BATCH, channels=list_channel_axes(prepared))
    evaluation = open_dataset(request.evaluation, signature)
    spread = range(0, len(evaluation), max(1, len(evaluation) // items))
    return Subject(request.model.stem, request, prepared, observed, every(evaluation, list(spread)[:items]))


def make_case(subject: Subject, runtime: str) -> Case:
    """The runtime's first INT8 form, with mean shifts corrected."""
    dialect = load_backend(runtime).dialects(Target(runtime=runtime))[0]
    plan = Plan(Precision.INT8, scheme=Scheme(dialect, Placement.CHAIN, RangeMethod.MSE, (Repair.BIAS,)))
    assert plan.scheme is not None  # noqa: S101 - for the type checker
    ranges = solve_ranges(subject.calibration, plan.scheme)
    kept = list_kept(plan) | list_nonfinite(subject.model, subject.calibration)
    return Case(runtime, plan, ranges, find_groups(subject.model, plan.scheme, ranges, kept))


def measure_all(subject: Subject, case: Case, picked: Sequence[int]) -> tuple[Sensitivities, tuple[Damage, ...]]:
    """Sensitivities of all groups, and what all groups but one of the picked ones do."""
    realised = realise(subject.model, case.plan, subject.calibration, case.ranges)
    task = load_task(subject.request.task)
    questions = Questions(subject.items, task, task.metrics[0])
    simulated = simulate(subject.model, realised, case.grouping)
    settings = [np.arange(len(simulated.groups)) != index for index in picked]
    with tempfile.TemporaryDirectory() as name, open_passes(simulated, Path(name)) as passes:
        found = measure_sensitivities(passes, questions, Silent())
        return found, measure_settings(passes, questions, settings, Silent())


def measure_built(subject: Subject, case: Case, kept: Sequence[NodeGroup]) -> float:
    """Noise of a real build with some groups kept in FP32."""
    overrides = tuple((name, Precision.FP32) for group in kept for name in group.nodes)
    plan = replace(case.plan, overrides=overrides)
    realised = realise(subject.model, plan, subject.calibration, case.ranges)
    meter = NoiseMeter()
    with (
        open_model(subject.model, Plan(Precision.FP32), case.runtime) as reference,
        open_model(realised, plan, case.runtime) as built,
    ):
        for batch in subject.items.batches(BATCH):
            meter.add(reference.run(batch.feeds), built.run(batch.feeds))
    return meter.noise


def run_case(subject: Subject, case: Case, builds: int) -> dict[str, object]:
    """One row of the table."""
    groups = case.grouping.groups
    picked = sorted({len(groups) * number // builds for number in range(min(builds, len(groups)))})
    began, cpu = time.perf_counter(), time.process_time()
    measure_all(subject, case, [])
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    found, kept = measure_all(subject, case, picked)
    together = measure_built(subject, case, [])
    began, cpu = time.perf_counter(), time.process_time()
    alone = [measure_built(subject, case, [other for other in groups if other is not groups[i]]) for i in picked]
    build_seconds, build_cpu = time.perf_counter() - began, time.process_time() - cpu
    gains = [together - measure_built(subject, case, [groups[index]]) for index in picked]
    simulated = [found.groups[index].alone.noise for index in picked]
    return {
        "model": subject.name,
        "runtime": case.runtime,
        "plan": case.plan.name,
        "groups": len(groups),
        "items": found.items,
        "passes": found.passes,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "builds": len(picked),
        "seconds_a_build": build_seconds / len(picked),
        "cpu_seconds_a_build": build_cpu / len(picked),
        "rank_correlation_alone": float(spearmanr(simulated, alone).statistic),
        "rank_correlation_gain": float(spearmanr([found.together.noise - one.noise for one in kept], gains).statistic),
        "noise_together_simulated": found.together.noise,
        "noise_together_built": together,
        "noise_sum_of_alone": sum(one.alone.noise for one in found.groups),
        "checked": [
            {
                "group": groups[index].name,
                "alone": one,
                "alone_built": other,
                "gain": found.together.noise - left.noise,
                "gain_built": gain,
            }
            for index, one, other, left, gain in zip(picked, simulated, alone, kept, gains, strict=True)
        ],
    }


def print_row(row: dict[str, object]) -> None:
    """One line of the table."""
    columns = ("model", "runtime", "groups", "passes", "cpu_seconds", "cpu_seconds_a_build")
    columns += ("rank_correlation_alone", "rank_correlation_gain")
    cells = [f"{row[name]:.3g}" if isinstance(row[name], float) else str(row[name]) for name in columns]
    print(" | ".join(cells), flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", type=Path)
    parser.add_argument("--items", type=int, default=32)
    parser.add_argument("--builds", type=int, default=12)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    subjects = [(study, "") for study in options.studies] or list(SUBJECTS)
    print("model | runtime | groups | passes | CPU s | CPU s a real build | rank alone | rank gain")
    rows = []
    for study, model in subjects:
        subject = load_subject(study, model, options.items)
        for runtime in RUNTIMES:
            rows.append(run_case(subject, make_case(subject, runtime), options.builds))
            print_row(rows[-1])
    line = json.dumps({"machine": describe_machine().facts(), "rows": rows})
    print(line)
    if options.output is not None:
        options.output.write_text(line + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
