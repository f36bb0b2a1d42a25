"""A check before a study trusts itself: the prepared model still computes what the user's file computes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from assay.backends.backend import Backend
from assay.core.errors import ModelError
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.session import Dataset, Metric, Task
from assay.core.target import Target
from assay.core.tensor import Outputs
from assay.graph.ingest import load_model
from assay.graph.save import save_model
from assay.measure.quality import check_task
from assay.studies.cores import count_cores
from assay.studies.sample import take_sample
from assay.studies.subject import Subject

TOLERATED = 1e-3
"""Largest deviation, relative to the largest output: folding moves results by rounding errors only."""


def check_original(
    model: Path, subject: Subject, backend: Backend, dataset: Dataset, task: Task, metric: Metric
) -> None:
    """Run the user's model and the prepared one on a few items; check the task on the way.

    Raises:
        ModelError: the outputs do not fit the task, or preparing the model changed what it computes.
        DataError: the targets do not fit the task.
        BackendError: the runtime cannot run the model.
    """
    target = Target(runtime=backend.name, threads=count_cores())
    feeds = take_sample(dataset, subject.fixed_batch or 1)
    with tempfile.TemporaryDirectory(prefix="assay-") as name:
        folder = Path(name)
        save_model(load_model(model), folder / "original.onnx")
        save_model(subject.prepared, folder / "prepared.onnx")
        found: list[Outputs] = []
        for kind in ("original", "prepared"):
            built = folder / kind
            built.mkdir()
            backend.build(folder / f"{kind}.onnx", built, Plan(Precision.FP32), target)
            with backend.open(built, target) as session:
                if kind == "original":
                    check_task(session, dataset, task, metric)
                found.append(session.run(feeds))
    original, prepared = found
    compare_outputs(original, prepared, model)


def compare_outputs(original: Outputs, prepared: Outputs, model: Path) -> None:
    """Hold the prepared model's outputs against the original's.

    Raises:
        ModelError: an output moved by more than rounding.
    """
    for name, value in original.items():
        if value.dtype.kind != "f":
            continue
        wanted = value.astype(np.float64)
        got = prepared[name].astype(np.float64)
        scale = float(np.max(np.abs(wanted), initial=0.0, where=np.isfinite(wanted))) or 1.0
        error = float(np.max(np.abs(got - wanted), initial=0.0, where=np.isfinite(wanted)))
        if not error <= TOLERATED * scale:
            message = f"{model}: preparing the model moved output {name!r} by {error:g} (its scale is {scale:g})"
            raise ModelError(message, "please report this model; study it after `onnxsim` or another simplifier")
