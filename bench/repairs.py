"""What each repair of INT8 gives, alone and together: noise of the logits, agreement and top-1, seconds and memory.

Run: ``python bench/repairs.py`` or ``... STUDY.toml [STUDY.toml ...] --items 1000``. Every form of INT8 of ONNX Runtime
and OpenVINO is quantized with least squared error ranges and each set of repairs, and run on the evaluation items.
Prints a table and one JSON line; ``--output`` keeps the line.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.backends.table import load_backend
from assay.calibrate.moments import observe_moments
from assay.calibrate.observe import observe
from assay.calibrate.ranges import solve_ranges
from assay.core.calibration import Calibration
from assay.core.moments import LayerMoments
from assay.core.plan import IntegerDialect, Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod, Repair
from assay.core.session import Dataset, Session
from assay.core.target import Target
from assay.data.open import open_dataset
from assay.data.subset import first
from assay.graph.channels import list_channel_axes
from assay.graph.expose import expose, observable_tensors
from assay.graph.ingest import load_model
from assay.graph.layer_inputs import list_moment_layers
from assay.graph.prepare import prepare
from assay.graph.realise import needed_tensors, realise
from assay.graph.repair import RESCALING, list_repairs, repair_model
from assay.graph.save import save_model
from assay.graph.signature import describe_signature
from assay.measure.machine import describe_machine
from assay.studies.compose import compose_request
from assay.studies.config import StudyFile, anchor, override, read_study_file

ROOT = Path(__file__).parents[1]
SUBJECTS = (
    (ROOT / "examples/fashion/study.toml", "residual.onnx"),
    (ROOT / "examples/fashion/study.toml", "separable.onnx"),
    (ROOT / "examples/imagenet/study.toml", ""),
)
BATCH = 8
THREADS = 2
CALIBRATION_ITEMS = 300
MIB = 1 << 20


@dataclass(frozen=True)
class Cost:
    """What a step took."""

    seconds: float
    peak_mib: float


@dataclass(frozen=True)
class Observed:
    """A float model, repaired or not, and what was seen of it."""

    model: ir.Model
    calibration: Calibration
    seconds: float


@contextmanager
def open_model(model: ir.Model, plan: Plan, runtime: str = "onnxruntime") -> Iterator[Session]:
    """A session of a realised model."""
    target, backend = Target(runtime=runtime, threads=THREADS), load_backend(runtime)
    with tempfile.TemporaryDirectory() as name:
        path, built = Path(name, "model.onnx"), Path(name, "built")
        built.mkdir()
        save_model(model, path)
        backend.build(path, built, plan, target)
        with backend.open(built, target) as session:
            yield session


@contextmanager
def clocked(costs: list[Cost]) -> Iterator[None]:
    """Adds the seconds of a step and the largest memory that its arrays took at once."""
    tracemalloc.start()
    begin = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - begin
        costs.append(Cost(seconds, tracemalloc.get_traced_memory()[1] / MIB))
        tracemalloc.stop()


def collect(model: ir.Model, plan: Plan, items: Dataset, runtime: str = "onnxruntime") -> NDArray[np.float32]:
    """First output for all items."""
    with open_model(model, plan, runtime) as session:
        parts = [next(iter(session.run(batch.feeds).values())) for batch in items.batches(BATCH)]
    return np.concatenate([np.asarray(part, np.float32).reshape(len(part), -1) for part in parts])


def observe_model(model: ir.Model, items: Dataset) -> Observed:
    """Statistics of every activation, with the channels that repairs ask for."""
    names = observable_tensors(model)
    begin = time.perf_counter()
    with open_model(expose(model, names), Plan(Precision.FP32)) as session:
        calibration = observe(session, items, names, BATCH, channels=list_channel_axes(model))
    return Observed(model, calibration, time.perf_counter() - begin)


def list_sets(prepared: ir.Model) -> list[tuple[Repair, ...]]:
    """No repair, each alone, both of the weights, all that rescale, and all together."""
    possible = list_repairs(prepared)
    rescaling = tuple(repair for repair in possible if repair in RESCALING)
    sets = [(), *((repair,) for repair in possible), (Repair.BIAS, Repair.ROUND), rescaling, possible]
    sets.append(tuple(repair for repair in possible if repair is not Repair.ROUND))
    return list(dict.fromkeys(sets))


def list_dialects() -> list[tuple[str, IntegerDialect]]:
    """Every form of INT8 of both runtimes."""
    runtimes = ("onnxruntime", "openvino")
    return [(name, dialect) for name in runtimes for dialect in load_backend(name).dialects(Target(runtime=name))]


class Subject:
    """One model with its data, and what was observed of its repaired forms."""

    def __init__(self, study: Path, model: str, items: int) -> None:
        keys = anchor(read_study_file(study), study.parent)
        keys = override(keys, StudyFile(model=str(study.parent / model))) if model else keys
        request = compose_request(keys)
        if request.calibration is None:
            raise SystemExit(f"{study} has no calibration data")
        self.name = request.model.stem
        source = load_model(request.model)
        self.prepared = prepare(source)
        signature = describe_signature(source)
        calibration = open_dataset(request.calibration, signature)
        evaluation = open_dataset(request.evaluation, signature)
        self.items = first(calibration, min(len(calibration), request.calibration_items or CALIBRATION_ITEMS))
        self.evaluation = first(evaluation, min(len(evaluation), items))
        self.reference = collect(self.prepared, Plan(Precision.FP32), self.evaluation)
        self._observed: dict[tuple[object, ...], Observed] = {}
        self._moments: dict[tuple[object, ...], tuple[Mapping[str, LayerMoments], Cost]] = {}

    def rescale(self, scheme: Scheme) -> Observed:
        """The model with the repairs that rewrite floats."""
        chosen = tuple(repair for repair in scheme.repairs if repair in RESCALING)
        key = (*chosen, scheme.dialect.per_channel)
        if () not in self._observed:
            self._observed[()] = observe_model(self.prepared, self.items)
        if chosen and key not in self._observed:
            plain = self._observed[()]
            begin = time.perf_counter()
            per_channel = scheme.dialect.per_channel
            model = repair_model(plain.model, chosen, plain.calibration, per_channel=per_channel)
            seconds = time.perf_counter() - begin
            again = observe_model(model, self.items)
            self._observed[key] = Observed(model, again.calibration, seconds + again.seconds)
        return self._observed[key if chosen else ()]

    def observe_moments(self, observed: Observed, plan: Plan) -> tuple[Mapping[str, LayerMoments] | None, Cost]:
        """Moments for adaptive rounding."""
        layers = list_moment_layers(observed.model, plan)
        if plan.scheme is None or Repair.ROUND not in plan.scheme.repairs:
            return None, Cost(0.0, 0.0)
        key = (id(observed), *layers)
        if key not in self._moments:
            costs: list[Cost] = []
            tensors = sorted({layer.tensor for layer in layers})
            with open_model(expose(observed.model, tensors), Plan(Precision.FP32)) as session, clocked(costs):
                moments = observe_moments(session, self.items, layers, BATCH)
            self._moments[key] = (moments, costs[0])
        return self._moments[key]

    def measure(self, runtime: str, dialect: IntegerDialect, repairs: tuple[Repair, ...]) -> dict[str, object]:
        """One row."""
        scheme = Scheme(dialect, Placement.CHAIN, RangeMethod.MSE, repairs)
        plan = Plan(Precision.INT8, scheme=scheme)
        observed = self.rescale(scheme)
        moments, moments_cost = self.observe_moments(observed, plan)
        needed = needed_tensors(observed.model, plan)
        tensors = {name: one for name, one in observed.calibration.tensors.items() if name in needed}
        calibration = Calibration(tensors, observed.calibration.data, observed.calibration.items)
        ranges = solve_ranges(calibration, scheme)
        costs: list[Cost] = []
        with clocked(costs):
            quantized = realise(observed.model, plan, calibration, ranges, moments)
        found = collect(quantized, plan, self.evaluation, runtime)
        return {
            "model": self.name,
            "runtime": runtime,
            "form": f"{dialect.name}{'' if dialect.per_channel else '-tensor'}",
            "repairs": "+".join(repairs) or "none",
            "sqnr_db": round(measure_sqnr(self.reference, found), 2),
            "agreement": round(float((found.argmax(axis=1) == self.reference.argmax(axis=1)).mean()), 4),
            "top1": self.score(found),
            "observe_s": round(observed.seconds, 2),
            "moments_s": round(moments_cost.seconds, 2),
            "quantize_s": round(costs[0].seconds, 2),
            "peak_mib": round(max(moments_cost.peak_mib, costs[0].peak_mib), 1),
        }

    def score(self, found: NDArray[np.float32]) -> float | None:
        """Top-1 where the items are labelled."""
        targets = [batch.targets for batch in self.evaluation.batches(BATCH)]
        known = [np.asarray(target).reshape(-1) for target in targets if target is not None]
        return round(float((found.argmax(axis=1) == np.concatenate(known)).mean()), 4) if known else None


def measure_sqnr(reference: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Signal to quantization noise of all outputs, in dB."""
    wide = reference.astype(np.float64)
    return float(10 * np.log10(np.square(wide).sum() / np.square(wide - found).sum()))


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", type=Path)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--per-tensor", action="store_true", help="also with one scale per weight")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    dialects = list_dialects()
    if options.per_tensor:
        dialects += [(name, replace(one, per_channel=False)) for name, one in dialects]
    rows = []
    for study, model in [(study, "") for study in options.studies] or SUBJECTS:
        subject = Subject(study, model, options.items)
        for runtime, dialect in dialects:
            for repairs in list_sets(subject.prepared):
                rows.append(subject.measure(runtime, dialect, repairs))
                print("  ".join(f"{value!s:<12}" for value in rows[-1].values()), flush=True)
    line = {"bench": "repairs", "machine": dict(describe_machine().facts()), "rows": rows}
    print(json.dumps(line))
    if options.output is not None:
        options.output.write_bytes(msgspec.json.format(msgspec.json.encode(line), indent=1))


if __name__ == "__main__":
    main()
