"""Explains an INT8 trial of a finished study: which groups of nodes cost it its answers, and what may mend them."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from assay.backends.table import load_backend
from assay.calibrate.clipping import measure_clipping
from assay.calibrate.ranges import solve_ranges
from assay.core.calibration import Calibration, TensorRange
from assay.core.errors import DataError, ModelError, RequestError
from assay.core.plan import Candidate, Plan, Scheme
from assay.core.precision import Precision
from assay.core.sensitivity import Blame, NodeGroup, Sensitivities, TensorFacts
from assay.core.session import Dataset
from assay.core.target import Target
from assay.core.trial import Trial
from assay.data.open import open_dataset
from assay.data.subset import every
from assay.decide.blame import Circumstances, Offered, blame_group, rank_groups
from assay.graph.group_facts import measure_channels, measure_weights
from assay.graph.groups import Grouping, find_groups
from assay.graph.realise import list_kept, list_nonfinite, realise
from assay.graph.scales import encode_activation
from assay.graph.simulate import simulate
from assay.measure.tasks.table import find_metric, load_task
from assay.studies.asked import read_request
from assay.studies.calibrating import Calibrator, Observed
from assay.studies.named_trials import find_measurements
from assay.studies.opening import find_backends, open_pool
from assay.studies.progress import Progress
from assay.studies.record import StudyRecord
from assay.studies.request import StudyRequest
from assay.studies.sensitivities import Questions, measure_sensitivities, measure_settings, open_passes
from assay.studies.set_statistics import ObservedModel, observe_model
from assay.studies.split import split_items
from assay.studies.store import StudyStore, load_record, locked
from assay.studies.subject import Subject, load_subject

ITEMS = 32


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a plan's groups cost.

    Attributes:
        trial: id of the trial that was explained.
        scheme: of its plan.
        metric: whose item scores the loss is of, where the task has them.
        blames: all groups, the worst first.
        sensitivities: of the same groups, in the order in which they run.
    """

    trial: str
    scheme: Scheme
    metric: str
    blames: tuple[Blame, ...]
    sensitivities: Sensitivities


@dataclass(frozen=True, slots=True)
class Realised:
    """A plan in both forms.

    Attributes:
        observed: the float model that was realised, with its statistics.
        model: the plan as ONNX.
        ranges: of the activations.
        grouping: of what the plan quantizes.
    """

    scheme: Scheme
    observed: Observed
    model: ir.Model
    ranges: Mapping[str, TensorRange]
    grouping: Grouping


def explain_study(folder: Path, name: str, items: int, progress: Progress) -> Explanation:
    """Explain a trial.

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
        split = split_items(len(evaluation))
        chosen = sorted(split.order[: min(items, split.search)].tolist())
        store = StudyStore(folder, find_measurements(folder).name)
        return explain_trial(store, trial, request, subject, every(evaluation, chosen), progress)


def pick_trial(record: StudyRecord, name: str, folder: Path) -> Candidate:
    """The named trial, else the chosen one, else the fastest INT8 trial.

    Raises:
        RequestError: there is no such trial, or it is not in INT8.
    """
    integer = {t.id: t for t in record.trials if t.candidate.plan.scheme is not None}
    if name and name not in integer:
        known = {trial.id: trial for trial in record.trials}
        if name in known:
            message = f"{name} is in {known[name].candidate.plan.precision}, and only INT8 trials are explained"
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
    evaluation = open_dataset(request.evaluation, subject.signature)
    if evaluation.fingerprint != record.evaluation.fingerprint:
        raise DataError(f"{request.evaluation.path} has changed since the study", "run the study again")
    return evaluation


def explain_trial(
    store: StudyStore, trial: Candidate, request: StudyRequest, subject: Subject, items: Dataset, progress: Progress
) -> Explanation:
    """Explain one trial of an opened study.

    Args:
        store: holds the statistics of the study; what is missing is observed and kept there.
        trial: in INT8.
        request: of the study.
        subject: its model.
        items: to measure on.
        progress: is told of every step.

    Raises:
        BackendError: the model cannot be run.
        ModelError: the plan quantizes nothing.
    """
    backends, _ = find_backends(request.runtimes)
    model = ObservedModel(request.model.name, subject.prepared, next(iter(backends.values())), subject.fixed_batch)
    form = realise_again(store, trial.plan, request, subject, model, progress)
    metric = find_metric(load_task(request.task), request.requirements.tolerance.metric)
    questions = Questions(items, load_task(request.task), metric, subject.fixed_batch)
    few = subject.fixed_batch is not None and len(items) < subject.fixed_batch
    observed = replace(model, prepared=form.observed.model)
    seen = form.observed.calibration if few else observe_model(observed, items, progress)
    with (
        tempfile.TemporaryDirectory(prefix="assay-") as scratch,
        open_passes(simulate(form.observed.model, form.model, form.grouping), Path(scratch)) as passes,
    ):
        found = measure_sensitivities(passes, questions, progress)
        suspects = rank_groups(found)
        guilty = [suspect.sensitivity.group.name for suspect in suspects if suspect.guilty]
        settings = [np.array([group.name != name for group in passes.groups]) for name in guilty]
        kept = dict(zip(guilty, measure_settings(passes, questions, settings, progress), strict=True))
    weights = measure_weights(form.observed.model, form.model, form.grouping.groups)
    offered = Offered(form.scheme, subject.traits.repairs, find_floats(trial.runtime))
    blames = []
    for suspect in suspects:
        group = suspect.sensitivity.group
        tensors = describe_tensors(group, form, seen)
        around = Circumstances(found.together, kept.get(group.name), tensors, weights[group.name])
        blames.append(blame_group(suspect, around, offered))
    return Explanation(trial.id, form.scheme, metric.name, tuple(blames), found)


def realise_again(
    store: StudyStore, plan: Plan, request: StudyRequest, subject: Subject, model: ObservedModel, progress: Progress
) -> Realised:
    """The plan of a trial as it was realised, from the stored statistics.

    Raises:
        RequestError: the plan is not in INT8, or the study has no calibration items.
        BackendError: the model cannot be observed.
    """
    pool = open_pool(request, subject)
    if plan.scheme is None or pool is None:
        raise RequestError(f"{store.root} has no calibration items for {plan.name}", "name an INT8 trial")
    calibrator = Calibrator(model, pool, store, progress)
    observed = calibrator.observe(plan.scheme.repairs)
    ranges = solve_ranges(observed.calibration, plan.scheme)
    realised = realise(observed.model, plan, observed.calibration, ranges, calibrator.observe_moments(plan))
    kept = list_kept(plan) | list_nonfinite(observed.model, observed.calibration)
    grouping = find_groups(observed.model, plan.scheme, ranges, kept)
    return Realised(plan.scheme, observed, realised, ranges, grouping)


def find_floats(runtime: str) -> tuple[Precision, ...]:
    """Formats that a runtime has for what an INT8 plan keeps."""
    backend = load_backend(runtime)
    return backend.rests(Target(runtime=runtime)) if backend.probe().available else (Precision.FP32,)


def describe_tensors(group: NodeGroup, form: Realised, seen: Calibration) -> list[TensorFacts]:
    """What eight bits do to the activations of a group.

    Args:
        group: of the plan.
        form: the plan.
        seen: statistics of the items that the groups were measured on.
    """
    dialect = form.scheme.dialect
    facts = []
    for name in form.grouping.tensors[group.name]:
        statistics, calibrated = seen.tensors.get(name), form.observed.calibration.tensors.get(name)
        limits = form.ranges.get(form.grouping.sources[name])
        if statistics is None or limits is None or not statistics.count:
            continue
        encoding = encode_activation(limits, dialect.activation, symmetric=dialect.symmetric)
        step, coding = float(encoding.scale), encoding.format
        low, high = (step * (code - encoding.zero_point) for code in (coding.lowest, coding.highest))
        cost = measure_clipping(statistics, low, high, step)
        channels = None if calibrated is None else calibrated.channels
        spread = None if channels is None else measure_channels(channels, step)
        facts.append(
            TensorFacts(
                name=name,
                limits=limits,
                low=statistics.low,
                high=statistics.high,
                clip_rate=cost.rate,
                clipping=cost.clipping,
                rounding=cost.rounding if spread is None else spread.rounding,
                outlying=None if spread is None else spread.outlying,
                dead=None if spread is None else spread.dead,
            )
        )
    return facts
