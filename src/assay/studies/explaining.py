"""Explains an INT8 trial of a finished study: which groups of nodes cost it its answers, and what may mend them."""

from __future__ import annotations

import difflib
import tempfile
from pathlib import Path

from assay.backends.table import load_backend, make_target
from assay.core.errors import DataError, ModelError, RequestError
from assay.core.explanation import Explanation
from assay.core.plan import Candidate
from assay.core.precision import Precision
from assay.core.session import Dataset, Task
from assay.core.trial import Trial
from assay.data.open import open_dataset
from assay.data.subset import every
from assay.measure.tasks.table import find_metric, fit_task, load_task
from assay.measure.tasks.thresholds import ThresholdedTask
from assay.studies.asked import read_request
from assay.studies.blaming import Case, blame_groups, measure_kept, observe_items, realise_form
from assay.studies.calibrating import Calibrator
from assay.studies.elsewhere import find_runtimes
from assay.studies.explanations import keep_explanation
from assay.studies.named_trials import find_measurements
from assay.studies.opening import open_pool
from assay.studies.own_labels import find_label
from assay.studies.progress import Progress
from assay.studies.record import StudyRecord
from assay.studies.request import StudyRequest
from assay.studies.sensitivities import Questions, measure_sensitivities, open_passes
from assay.studies.set_statistics import ObservedModel
from assay.studies.split import split_items
from assay.studies.store import StudyStore, load_record, locked
from assay.studies.subject import Subject, load_subject

ITEMS = 32


def explain_study(folder: Path, name: str, items: int, progress: Progress) -> Explanation:
    """Explain a trial, and keep the explanation with the study.

    The items are the first search items of the study, those for certifying stay unseen.

    Args:
        folder: of a finished study.
        name: id of an INT8 trial; empty for the chosen one, else the fastest that fails.
        items: to measure on; at most as many as there are for searching.
        progress: is told of every step.

    Raises:
        StoreError: no finished study is there, or another run writes to it.
        RequestError: the study has no such trial, or none in INT8; or items is not positive.
        ModelError: the model is not the one that was studied.
        DataError: the data are not those of the study.
        BackendError: the model cannot be run.
    """
    if items < 1:
        raise RequestError(f"--items {items} is not positive", "give 1 or more")
    record = load_record(folder)
    trial = pick_trial(record, name, folder)
    with locked(folder):
        request = read_request(folder)
        subject = load_same_subject(request, record)
        evaluation = open_same_data(request, subject, record)
        split = split_items(len(evaluation), request.tuning_items)
        chosen = sorted(split.order[: min(items, split.search)].tolist())
        store = StudyStore(folder, find_measurements(folder).name)
        task = find_task(request, record, subject)
        explanation = explain_trial(store, trial, request, subject, every(evaluation, chosen), progress, task)
        keep_explanation(store, explanation)
        return explanation


def find_task(request: StudyRequest, record: StudyRecord, subject: Subject) -> Task:
    """The task of a study, at the thresholds of its reference."""
    task = load_task(request.task, request.requirements.tolerance.metric)
    task = fit_task(task, request.settings, subject.signature)
    reference = next(trial for trial in record.trials if trial.reference)
    values = [] if reference.evidence is None else [one.value for one in reference.evidence.thresholds]
    return ThresholdedTask(task, values) if values else task


def pick_trial(record: StudyRecord, name: str, folder: Path) -> Candidate:
    """The named trial, else the chosen one, else the fastest INT8 trial.

    Raises:
        RequestError: there is no such trial, or it is not in INT8.
    """
    integer = {t.id: t for t in record.trials if t.candidate.plan.scheme is not None}
    if name and name not in integer:
        known = {trial.id: trial for trial in record.trials}
        if name in known:
            form = known[name].candidate.plan.name
            message = f"{name} is {form}, and only INT8 with calibrated ranges is explained"
            raise RequestError(message, f"name one of {', '.join(integer)}" if integer else "")
        near = difflib.get_close_matches(name, integer, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"its INT8 trials are {', '.join(integer) or 'none'}"
        raise RequestError(f"{folder} has no trial {name!r}", hint)
    if not integer:
        raise RequestError(f"{folder} has no INT8 trial to explain", "study it with int8 among --precisions")
    if name:
        return integer[name].candidate
    if record.decision.chosen in integer:
        return integer[record.decision.chosen].candidate
    return min(integer.values(), key=find_latency).candidate


def find_latency(trial: Trial) -> float:
    """Median latency; infinite where it was not measured."""
    return float("inf") if trial.evidence is None else trial.evidence.latency.p50.value


def load_same_subject(request: StudyRequest, record: StudyRecord) -> Subject:
    """The model of a study.

    Raises:
        ModelError: it is gone or changed.
    """
    subject = load_subject(request.model)
    if subject.provenance.sha256 != record.model.sha256:
        raise ModelError(f"{request.model} has changed since it was studied", "run the study again")
    return subject


def open_same_data(request: StudyRequest, subject: Subject, record: StudyRecord) -> Dataset:
    """The evaluation items of a study.

    Raises:
        DataError: they are gone or changed.
    """
    label = find_label(load_task(request.task))
    evaluation = open_dataset(request.evaluation, subject.signature, label)
    if evaluation.fingerprint != record.evaluation.fingerprint:
        raise DataError(f"{request.evaluation.path} has changed since the study", "run the study again")
    return evaluation


def explain_trial(
    store: StudyStore,
    trial: Candidate,
    request: StudyRequest,
    subject: Subject,
    items: Dataset,
    progress: Progress,
    task: Task | None = None,
) -> Explanation:
    """Explain one trial of an opened study.

    Args:
        store: holds the statistics of the study; what is missing is observed and kept there.
        trial: in INT8.
        request: of the study.
        subject: its model.
        items: to measure on.
        progress: is told of every step.
        task: at the thresholds of the reference; the request's where None.

    Raises:
        BackendError: the model cannot be run.
        ModelError: the plan quantizes nothing.
    """
    backends = find_runtimes(request.runtimes, ()).here
    model = ObservedModel(request.model.name, subject.prepared, next(iter(backends.values())), subject.fixed_batch)
    pool = open_pool(request, subject)
    if pool is None:
        raise RequestError(f"{store.root} has no calibration items for {trial.id}", "name an INT8 trial")
    form = realise_form(trial.plan, Calibrator(model, pool, store, progress))
    name = request.requirements.tolerance.metric
    task = task or fit_task(load_task(request.task, name), request.settings, subject.signature)
    metric = find_metric(task, name)
    questions = Questions(items, task, metric, subject.fixed_batch)
    seen = observe_items(form, model, items, progress)
    with (
        tempfile.TemporaryDirectory(prefix="assay-") as scratch,
        open_passes(form.simulate(), Path(scratch)) as passes,
    ):
        found = measure_sensitivities(passes, questions, progress)
        kept = measure_kept(passes, questions, found, progress)
    case = Case(trial.id, form, subject.traits.repairs, find_floats(trial.runtime))
    return blame_groups(case, metric.name, found, kept, seen)


def find_floats(runtime: str) -> tuple[Precision, ...]:
    """Formats that a runtime has for what an INT8 plan keeps."""
    backend = load_backend(runtime)
    return backend.rests(make_target(runtime)) if backend.probe().available else (Precision.FP32,)
