"""A check before a study trusts itself: the prepared model still computes what the user's file computes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from assay.backends.table import make_target
from assay.core.errors import BackendError, BuildFailed, ModelError
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.session import Dataset, Metric, Task
from assay.core.tensor import Outputs
from assay.graph.ingest import load_model
from assay.graph.save import save_model
from assay.measure.quality import check_task
from assay.studies.building import raise_reply, run_worker
from assay.studies.cores import count_cores
from assay.studies.files import SCRATCH
from assay.studies.isolation import Limits
from assay.studies.progress import Progress
from assay.studies.remote_session import RemoteSession
from assay.studies.sample import take_sample
from assay.studies.subject import Subject
from assay.studies.worker import BuildJob

TOLERATED = 1e-3
"""Largest deviation, relative to the largest output: folding moves results by rounding errors only."""


@dataclass(frozen=True, slots=True)
class Check:
    """What a model is checked with.

    Attributes:
        scratch: an existing folder for the models; a sweep removes what a killed run left.
        limits: of the processes that run them.
    """

    dataset: Dataset
    task: Task
    metric: Metric
    scratch: Path
    limits: Limits


def find_running(names: Iterable[str], model: Path, subject: Subject, check: Check, progress: Progress) -> str:
    """The first runtime that runs the user's model in FP32; the others are said.

    Raises:
        ModelError: the outputs do not fit the task, or preparing the model changed what it computes.
        DataError: the targets do not fit the task.
        BuildFailed: no runtime runs it.
    """
    failures: list[str] = []
    for name in names:
        try:
            check_original(model, subject, name, check)
        except BackendError as error:
            failures.append(str(error))
            progress.say(f"{name} does not run the model as it is: {error}")
            continue
        return name
    message = f"no runtime can run the FP32 model, so there is no reference: {'; '.join(failures)}"
    raise BuildFailed(message, "see `assay doctor`")


def check_original(model: Path, subject: Subject, runtime: str, check: Check) -> None:
    """Run the user's model and the prepared one on a few items, in processes of their own; check the task on the way.

    Raises:
        ModelError: the outputs do not fit the task, or preparing the model changed what it computes.
        DataError: the targets do not fit the task.
        BackendError: the runtime cannot run the model.
    """
    target = make_target(runtime, threads=count_cores())
    feeds = take_sample(check.dataset, subject.fixed_batch or 1)
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=check.scratch) as name:
        folder = Path(name)
        save_model(load_model(model), folder / "original.onnx")
        save_model(subject.prepared, folder / "prepared.onnx")
        found: list[Outputs] = []
        for kind in ("original", "prepared"):
            built = folder / kind
            built.mkdir()
            job = BuildJob(str(folder / f"{kind}.onnx"), str(built), Plan(Precision.FP32), target)
            raise_reply(run_worker(job, check.limits), BuildFailed)
            with RemoteSession(built, target, check.limits, "checking the model") as session:
                if kind == "original":
                    check_task(session, check.dataset, check.task, check.metric)
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
