"""Opening a study: the model, the data, the task and the runtimes, all checked before anything takes time."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from assay.backends.backend import Backend
from assay.core.errors import RequestError
from assay.core.fitness import Fitness
from assay.core.precision import Precision
from assay.core.session import Dataset, Metric, SelfLabelled, Task
from assay.core.tensor import Feeds
from assay.data.cache import remember
from assay.data.calibration_set import STATISTICS_FOLDER, is_set
from assay.data.grouping import find_rule
from assay.data.open import open_dataset
from assay.measure.machine import describe_machine
from assay.measure.tasks.table import find_metric, fit_task, load_task
from assay.studies.calibrating import Calibrator, Pool
from assay.studies.decoding import Speaker, find_speaker
from assay.studies.elsewhere import find_runtimes
from assay.studies.holding import check_device
from assay.studies.judging import asks_only_calibrated, find_refusal, judge_study, refuse_unfit
from assay.studies.kept_tokenizer import keep_tokenizer
from assay.studies.original import Check, find_running
from assay.studies.own_labels import find_label, hold_labels, named_data
from assay.studies.progress import Progress
from assay.studies.request import StudyRequest
from assay.studies.sample import take_sample
from assay.studies.scoring_batch import find_scoring_batch
from assay.studies.set_statistics import ObservedModel
from assay.studies.showing import refuse_hopeless
from assay.studies.split import split_items
from assay.studies.store import StudyStore
from assay.studies.subject import Subject, count_with, load_subject
from assay.studies.thresholds import check_rule
from assay.studies.traffic import Traffic, draw_traffic
from assay.studies.workspace import Workspace

REMEMBERED_BYTES = 512 << 20
TOOLS = ("assay-precision", "numpy", "onnx", "onnx-ir")
OBSERVED = (Precision.INT8, Precision.FP8, Precision.FP16)


def open_workspace(request: StudyRequest, progress: Progress) -> Workspace:
    """Check everything that a study needs, and observe the model where a plan will want it.

    Raises:
        InputError: the model, the data or the request is wrong.
        BackendError: no runtime is available, or the FP32 model does not run.
        StoreError: the folder cannot be written.
    """
    progress.start("reading the model and the data", None)
    subject = load_subject(request.model)
    check_request(request, subject)
    task, metric = open_task(request, subject)
    evaluation = open_evaluation(request, subject, task)
    check_lengths(evaluation, subject)
    split = split_items(len(evaluation), request.tuning_items)
    pool = open_pool(request, subject)
    runtimes = find_runtimes(request.runtimes, request.build_for)
    store = open_store(request, subject, pool, evaluation, runtimes.tools)
    check = Check(
        evaluation, check_rule(request.threshold, task, evaluation), metric, store.measurements, request.limits
    )
    reference = runtimes.here[choose_reference(request, subject, tuple(runtimes.here), check, store, progress)]
    progress.finish()
    refuse_hopeless(request, len(evaluation), metric)
    observed = open_calibrator(request, subject, pool, reference, store, progress)
    speaker = find_speaker(subject.signature, evaluation) if isinstance(task, SelfLabelled) else None
    sample, traffic = find_calls(request, evaluation, speaker)
    return Workspace(
        request=request,
        progress=progress,
        store=store,
        subject=count_with(subject, sample),
        task=task,
        metric=metric,
        backends=runtimes.here,
        missing=runtimes.missing,
        evaluation=evaluation,
        split=split,
        calibrator=None if observed is None else observed[1],
        fitness=None if observed is None else judge_request(request, subject, *observed, evaluation),
        sample=sample,
        versions=find_versions(),
        traffic=traffic,
        speaker=speaker,
        scoring_items=find_scoring_batch(subject.signature, evaluation),
        elsewhere=runtimes.elsewhere,
    )


def open_task(request: StudyRequest, subject: Subject) -> tuple[Task, Metric]:
    """The task, fitted to the model, and the metric that is tolerated to fall.

    Raises:
        RequestError: there is no such task or metric.
        ModelError: the model's outputs are not those that the task was told of.
    """
    name = request.requirements.tolerance.metric
    task = fit_task(load_task(request.task, name), request.settings, subject.signature)
    return task, find_metric(task, name)


def open_store(
    request: StudyRequest, subject: Subject, pool: Pool | None, evaluation: Dataset, backends: Mapping[str, Backend]
) -> StudyStore:
    """The study's folder, with a place for measurements that depend on the same things as these.

    Raises:
        StoreError: the folder cannot be written.
    """
    observed = pool.dataset.fingerprint if pool else ""
    environment = describe_environment(backends)
    key = request.measurement_key(subject.provenance.sha256, observed, evaluation.fingerprint, environment)
    store = StudyStore(request.output, key)
    keep_tokenizer(request.evaluation.preprocess, request.output)
    return store


def open_calibrator(
    request: StudyRequest,
    subject: Subject,
    pool: Pool | None,
    reference: Backend,
    store: StudyStore,
    progress: Progress,
) -> tuple[ObservedModel, Calibrator] | None:
    """The model as it is observed, and what observes it; None where no plan needs that."""
    if pool is None or not set(OBSERVED) & set(request.precisions):
        return None
    model = ObservedModel(request.model.name, subject.prepared, reference, subject.fixed_batch)
    return model, Calibrator(model, pool, store, progress)


def find_calls(request: StudyRequest, evaluation: Dataset, speaker: Speaker | None) -> tuple[Feeds, Traffic | None]:
    """What latency is measured with: one call, and the calls as they come where items differ in length.

    A language model with a cache is timed at one step of generating, at the first context that is asked for.
    """
    step = None if speaker is None else speaker.make_step(request.generation.context, request.batch)
    if step is not None:
        return step, None
    traffic = draw_traffic(evaluation, request.batch)
    return (take_sample(evaluation, request.batch) if traffic is None else traffic.typical), traffic


def open_evaluation(request: StudyRequest, subject: Subject, task: Task) -> Dataset:
    """The evaluation items, with their labels held against the model.

    Raises:
        DataError: the data cannot be read, or do not fit the model or the task.
    """
    found = open_dataset(request.evaluation, subject.signature, find_label(task))
    hold_labels(found, task, subject.signature, request.evaluation.path)
    return remember(found, REMEMBERED_BYTES)


def choose_reference(
    request: StudyRequest, subject: Subject, names: tuple[str, ...], check: Check, store: StudyStore, progress: Progress
) -> str:
    """The runtime that observes the model: the first that runs it, or the one that an earlier run found.

    Raises:
        InputError: the model and the data do not fit each other or the task.
        BackendError: no runtime runs the model.
    """
    known = store.read("reference", str)
    if known is not None:
        return known
    with named_data(request.evaluation.path):
        found = find_running(names, request.model, subject, check, progress)
    store.write("reference", found)
    return found


def check_request(request: StudyRequest, subject: Subject) -> None:
    """Refuse a batch that the model cannot take, and a device whose limits nothing here can hold.

    Raises:
        RequestError: the model fixes another batch, or a limit cannot be measured.
    """
    check_device(request)
    fixed = subject.fixed_batch
    if fixed is not None and fixed != request.batch:
        hint = f"give --batch {fixed}, or export the model with a dynamic batch axis"
        raise RequestError(f"batch = {request.batch}, but the model fixes its batch at {fixed}", hint)


def check_lengths(evaluation: Dataset, subject: Subject) -> None:
    """Refuse items of different lengths for a model that fixes a batch of several: not every batch would be full.

    Raises:
        RequestError: naming the batch.
    """
    if find_rule(evaluation) is not None and (subject.fixed_batch or 1) > 1:
        message = f"items differ in length, and the model fixes its batch at {subject.fixed_batch}"
        raise RequestError(message, "export the model with a dynamic batch axis")


def open_pool(request: StudyRequest, subject: Subject) -> Pool | None:
    """The items to calibrate with."""
    if request.calibration is None:
        return None
    dataset = open_dataset(request.calibration, subject.signature)
    folder = Path(request.calibration.path)
    return Pool(dataset, request.calibration_items, folder / STATISTICS_FOLDER if is_set(folder) else None)


def judge_request(
    request: StudyRequest, subject: Subject, model: ObservedModel, calibrator: Calibrator, evaluation: Dataset
) -> Fitness | None:
    """Verdict on the calibration items, by a sample of production or by the evaluation items.

    Raises:
        MeasurementError: they are unfit, the request does not accept that, and asks for nothing that needs none.
        BackendError: the runtime cannot observe the model.
    """
    others = open_production(request, subject) or open_apart(request, subject, evaluation)
    fitness = judge_study(model, subject.traits, calibrator, others)
    if asks_only_calibrated(request.precisions, subject.traits):
        refuse_unfit(fitness, accepted=request.accept_unfit)
    elif find_refusal(fitness, accepted=request.accept_unfit):
        calibrator.progress.say("the calibration items are unfit: what needs them is refused, the rest goes on")
    return fitness


def open_apart(request: StudyRequest, subject: Subject, evaluation: Dataset) -> Dataset:
    """The evaluation items; each text for itself where an item has several, as the calibration items are."""
    preprocess = request.evaluation.preprocess
    if preprocess is None or preprocess.text is None or not preprocess.text.beside:
        return evaluation
    return open_dataset(replace(request.evaluation, apart=True, columns=()), subject.signature)


def open_production(request: StudyRequest, subject: Subject) -> Dataset | None:
    """A sample of what the model is served, where one is named."""
    return None if request.production is None else open_dataset(request.production, subject.signature)


def describe_environment(backends: Mapping[str, Backend]) -> str:
    """The machine and every tool: what is measured here does not hold elsewhere."""
    tools = {name: sorted(backend.versions().items()) for name, backend in backends.items()}
    return f"{describe_machine().fingerprint} {find_versions()} {tools}"


def find_versions() -> dict[str, str]:
    """Versions of Assay and what it stands on."""
    versions = {name: metadata.version(name) for name in TOOLS}
    versions["assay"] = versions.pop("assay-precision")
    return {"python": platform.python_version(), **versions}
