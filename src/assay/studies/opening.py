"""Opening a study: the model, the data, the task and the runtimes, all checked before anything takes time."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata

from assay.backends.backend import Backend
from assay.backends.table import load_backend
from assay.core.calibration import Calibration
from assay.core.errors import BackendUnavailable, RequestError
from assay.core.precision import Precision
from assay.core.session import Dataset, Metric, Task
from assay.data.cache import remember
from assay.data.open import open_dataset
from assay.data.subset import first
from assay.measure.machine import describe_machine
from assay.measure.tasks.table import load_task
from assay.studies.calibrating import calibrate_model
from assay.studies.original import check_original
from assay.studies.progress import Progress
from assay.studies.request import StudyRequest
from assay.studies.sample import take_sample
from assay.studies.store import StudyStore
from assay.studies.subject import Subject, load_subject
from assay.studies.workspace import Workspace

REMEMBERED_BYTES = 512 << 20
TOOLS = ("assay-precision", "numpy", "onnx", "onnx-ir")
MOST_ITEMS = 300
"""Calibration items that a study uses where it may choose."""
OBSERVED = (Precision.INT8, Precision.FP16)


def open_workspace(request: StudyRequest, progress: Progress) -> Workspace:
    """Check everything that a study needs, and observe the model where a plan will want it.

    Raises:
        InputError: the model, the data or the request is wrong.
        BackendError: no runtime is available, or the FP32 model does not run.
        StoreError: the folder cannot be written.
    """
    progress.start("reading the model and the data", None)
    subject = load_subject(request.model)
    check_batch(request, subject)
    task = load_task(request.task)
    metric = find_metric(task, request.requirements.tolerance.metric)
    evaluation = remember(open_dataset(request.evaluation, subject.signature), REMEMBERED_BYTES)
    calibration_data = open_calibration(request, subject)
    backends, missing = find_backends(request.runtimes)
    key = request.measurement_key(
        subject.provenance.sha256,
        calibration_data.fingerprint if calibration_data else "",
        evaluation.fingerprint,
        describe_environment(backends),
    )
    store = StudyStore(request.output, key)
    reference = next(iter(backends.values()))
    progress.finish()
    if store.read("checked", bool) is None:
        check_original(request.model, subject, reference, evaluation, task, metric)
        store.write("checked", value=True)
    calibration: Calibration | None = None
    if calibration_data is not None and set(OBSERVED) & set(request.precisions):
        calibration = calibrate_model(
            subject.prepared, calibration_data, reference, store, subject.fixed_batch, progress
        )
    return Workspace(
        request=request,
        progress=progress,
        store=store,
        subject=subject,
        task=task,
        metric=metric,
        backends=backends,
        missing=missing,
        evaluation=evaluation,
        calibration=calibration,
        sample=take_sample(evaluation, request.batch),
        versions=find_versions(),
    )


def check_batch(request: StudyRequest, subject: Subject) -> None:
    """Refuse a batch that the model cannot take.

    Raises:
        RequestError: the model fixes another one.
    """
    fixed = subject.fixed_batch
    if fixed is not None and fixed != request.batch:
        hint = f"give --batch {fixed}, or export the model with a dynamic batch axis"
        raise RequestError(f"batch = {request.batch}, but the model fixes its batch at {fixed}", hint)


def find_metric(task: Task, name: str) -> Metric:
    """The metric that the tolerance names.

    Raises:
        RequestError: the task has no such metric.
    """
    for metric in task.metrics:
        if metric.name == name:
            return metric
    known = ", ".join(metric.name for metric in task.metrics)
    raise RequestError(f"task {task.name} has no metric {name!r}", f"its metrics are {known}")


def open_calibration(request: StudyRequest, subject: Subject) -> Dataset | None:
    """The calibration items, at most as many as the request wants."""
    if request.calibration is None:
        return None
    dataset = open_dataset(request.calibration, subject.signature)
    return first(dataset, request.calibration_items or MOST_ITEMS)


def find_backends(names: tuple[str, ...]) -> tuple[Mapping[str, Backend], Mapping[str, str]]:
    """The runtimes that are available here, and why the others are not.

    Raises:
        BackendUnavailable: none is.
    """
    backends: dict[str, Backend] = {}
    missing: dict[str, str] = {}
    for name in names:
        backend = load_backend(name)
        availability = backend.probe()
        if availability.available:
            backends[name] = backend
        else:
            missing[name] = f"{availability.missing}; {availability.remedy}"
    if not backends:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        raise BackendUnavailable(f"no runtime is available: {reasons}", "see `assay doctor`")
    return backends, missing


def describe_environment(backends: Mapping[str, Backend]) -> str:
    """The machine and every tool: what is measured here does not hold elsewhere."""
    tools = {name: sorted(backend.versions().items()) for name, backend in backends.items()}
    return f"{describe_machine().fingerprint} {find_versions()} {tools}"


def find_versions() -> dict[str, str]:
    """Versions of Assay and what it stands on."""
    versions = {name: metadata.version(name) for name in TOOLS}
    versions["assay"] = versions.pop("assay-precision")
    return {"python": platform.python_version(), **versions}
