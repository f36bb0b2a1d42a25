"""The last part of a pair: every contender's model in one process, in rounds of alternating order."""

from __future__ import annotations

import io
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import openvino as ov

from accuracy_control.cases import Case
from accuracy_control.olive_part import OnnxRuntimeModel
from accuracy_control.results import Row, read_row
from accuracy_control.running import properties, read_for_one
from assay.backends.openvino.settings import Settings
from assay.backends.table import load_backend
from assay.core.precision import Precision
from assay.core.session import Session
from assay.core.target import Target
from assay.core.tensor import Feeds, Outputs
from assay.graph.ingest import load_model
from assay.graph.signature import describe_signature
from assay.measure.latency import estimate_speedup, measure_latency, summarise

CONFIDENCE = 0.95
COMPUTES = {"f32": Precision.FP32, "bf16": Precision.BF16}


class Loaded:
    """A model that was kept compiled, for a contender that was stopped before it could save one."""

    def __init__(self, blob: Path, threads: int) -> None:
        compiled = ov.Core().import_model(io.BytesIO(blob.read_bytes()), "CPU", properties("f32", threads))
        self._request = compiled.create_infer_request()

    def run(self, feeds: Feeds) -> Outputs:
        """One call."""
        found = self._request.infer(dict(feeds), share_inputs=True)
        return {str(index): np.array(value) for index, value in enumerate(found.values())}


def host(case: Case, model: Path, folder: Path, compute: str) -> Path:
    """A model of one item in a folder that Assay's adapter opens, so that all are called alike."""
    folder.mkdir(parents=True, exist_ok=True)
    signature = describe_signature(load_model(case.model))
    ov.save_model(read_for_one(model), str(folder / "model.xml"), compress_to_fp16=False)
    Settings(inputs=signature.inputs, outputs=signature.outputs, compute=COMPUTES[compute]).write(folder)
    return folder


def time_all(case: Case, folder: Path, threads: int, seconds: float) -> Row:
    """Median latency of every model of a pair, and its speed beside FP32's and beside the accuracy control's."""
    target = Target("openvino", threads=threads)
    with ExitStack() as stack:
        sessions: dict[str, Session] = {}
        for name, source, compute in list_models(case, folder):
            if source.suffix == ".blob":
                sessions[name] = Loaded(source, threads)  # type: ignore[assignment]  # it is only run
                continue
            if compute == "onnxruntime":
                sessions[name] = OnnxRuntimeModel(source, threads)  # type: ignore[assignment]  # the same
                continue
            built = source if source.is_dir() else host(case, source, folder / "hosted" / name, compute)
            sessions[name] = stack.enter_context(load_backend("openvino").open(built, target))
        samples = measure_latency(sessions, case.evaluation_feeds[0], budget_s=seconds)
    rows: dict[str, Row] = {}
    for name, one in samples.items():
        over = estimate_speedup(samples["fp32"], one, CONFIDENCE)
        rows[name] = {
            "p50_ms": summarise(one, 1, CONFIDENCE).p50.value,
            "over_fp32": [over.low, over.value, over.high],
            "rounds": len(one.calls_ns),
        }
    beside = {}
    for name in samples:
        if "assay" in samples and name.startswith("nncf-accuracy-control"):
            ratio = estimate_speedup(samples[name], samples["assay"], CONFIDENCE)
            beside[name] = [ratio.low, ratio.value, ratio.high]
    return {"models": rows, "assay_over": beside}


def list_models(case: Case, folder: Path) -> list[tuple[str, Path, str]]:
    """Name, file or built folder, and compute format of each model."""
    models = [("fp32", case.model, "f32"), ("bf16", case.model, "bf16")]
    for contender in ("nncf-plain", "nncf-accuracy-control", "olive"):
        row = read_row(folder, contender)
        if row is not None and "model" in row:
            models += [(f"{contender}-{one}", folder / row["model"], one) for one in row["metric"]]
    row = read_row(folder, "assay")
    if row is not None and row["pick"] is not None:
        models.append(("assay", Path(row["pick"]["artifact"]), ""))
    return models
