"""Two models or artifacts on the same items, with the certificate that a study gives: a gate for a team's CI."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from assay.core.certificate import Certificate, CertificateStatus
from assay.core.certificate import Look as TestLook
from assay.core.sample_plan import SamplePlan
from assay.core.session import Dataset, Metric, Task
from assay.core.threshold import Threshold
from assay.core.trial import Quality
from assay.data.cache import remember
from assay.data.completing import Label
from assay.data.open import open_dataset
from assay.data.source import DataSource
from assay.decide.words import format_points
from assay.measure.certification import Question, certify
from assay.measure.machine import describe_machine
from assay.measure.quality import check_task
from assay.measure.tasks.table import find_metric, fit_task, load_task
from assay.studies.compare_request import CompareRequest
from assay.studies.contenders import Contender, open_contender
from assay.studies.files import make_folder
from assay.studies.loaded import LoadedRelease
from assay.studies.opening import REMEMBERED_BYTES, find_versions
from assay.studies.own_labels import find_label, hold_labels, named_data
from assay.studies.pair_scoring import Items, SideScorer
from assay.studies.pair_thresholds import ThresholdedPair
from assay.studies.planning import Supposed, plan_quality, plan_study
from assay.studies.progress import Progress
from assay.studies.record import DataProvenance
from assay.studies.split import split_items
from assay.studies.store import locked, sweep

COMPARE_SCHEMA = 1
SCORES_FOLDER = "scores"


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison, for the record.

    Attributes:
        name: as the user named it.
        identity: content hash of what ran.
        versions: of its runtime.
        nonfinite: output values that were NaN or infinite.
        scored: items that this run has scored; the others were known from an earlier one.
        scores: file of its item scores, relative to the output folder; empty where none is kept.
        thresholds: what counts as positive under it; none where the task's own are kept.
    """

    name: str
    kind: str
    runtime: str
    identity: str
    versions: Mapping[str, str]
    nonfinite: int
    scored: int
    scores: str
    thresholds: tuple[Threshold, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison found.

    Attributes:
        created: ISO 8601, UTC.
        a: the reference.
        b: what is held against it.
        items_needed: items that would probably decide, where these cannot tell; None where none would.
        plan: how many items the tolerance takes, told before the first of them.
        machine: fact -> value.
        seconds: wall time.
        warnings: what the reader must know before trusting the answer.
    """

    schema: int
    created: str
    a: Side
    b: Side
    task: str
    tolerance: str
    certificate: Certificate
    quality: Quality
    items_needed: int | None
    plan: SamplePlan | None
    evaluation: DataProvenance
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    seconds: float
    warnings: tuple[str, ...] = ()


def compare_pair(request: CompareRequest, progress: Progress) -> Comparison:
    """Compare two models or artifacts on the same items.

    Raises:
        InputError: a model, the data or the request is wrong.
        BackendError: a runtime is missing, or fails.
        MeasurementError: too few items for the metric's method.
        StoreError: a release, a study or the output folder cannot be read or written.
    """
    with ExitStack() as stack:
        if request.output is not None:
            stack.enter_context(locked(make_folder(request.output)))
            sweep(request.output)
        return _compare(request, progress, stack)


def _compare(request: CompareRequest, progress: Progress, stack: ExitStack) -> Comparison:
    started = time.monotonic()
    task = load_task(request.task, request.tolerance.metric)
    metric = find_metric(task, request.tolerance.metric)
    progress.start("opening both and the data", None)
    sides, datasets, tasks = open_both(request, task, metric, stack)
    progress.finish()
    items = len(datasets[0])
    scorers = make_scorers(request, tasks, sides, datasets, progress)
    plan = plan_ahead(request, metric, items)
    if plan is not None and plan.least_items > items:
        progress.say(f"{items:,} items cannot certify {request.tolerance.text}: {plan.least_items:,} are the least")
    pair = ThresholdedPair(request.threshold, scorers, items, request.tuning_items)
    certificate, quality, needed = judge_pair(request, metric, pair, progress)
    return Comparison(
        schema=COMPARE_SCHEMA,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        a=describe_side(sides[0], scorers[0], request.output, pair.thresholds[0]),
        b=describe_side(sides[1], scorers[1], request.output, pair.thresholds[1]),
        task=task.name,
        tolerance=request.tolerance.text,
        certificate=certificate,
        quality=quality,
        items_needed=needed,
        plan=plan,
        evaluation=DataProvenance(request.evaluation.path, datasets[0].fingerprint, items),
        machine=describe_machine().facts(),
        versions=find_versions(),
        seconds=time.monotonic() - started,
        warnings=collect_warnings(request, sides, scorers),
    )


def open_both(
    request: CompareRequest, task: Task, metric: Metric, stack: ExitStack
) -> tuple[list[Contender], list[Dataset], list[Task]]:
    """Both sides, the items and the task for each, checked to fit each other.

    Raises:
        InputError: a model or the data are wrong, or do not fit the task.
        BackendError: a runtime is missing, or refuses a model.
    """
    named = zip((request.first, request.second), request.runtimes, strict=True)
    sides = [open_contender(name, runtime, request.threads, stack) for name, runtime in named]
    datasets = open_data(request.evaluation, sides, find_label(task))
    tasks = [fit_task(task, request.settings, side.session.signature) for side in sides]
    for side, dataset, fitted in zip(sides, datasets, tasks, strict=True):
        hold_labels(dataset, fitted, side.session.signature, request.evaluation.path)
        with named_data(request.evaluation.path):
            check_task(side.session, dataset, fitted, metric)
    return sides, datasets, tasks


def open_data(source: DataSource, sides: list[Contender], label: Label | None) -> list[Dataset]:
    """The items for each side: one data set where both take the same inputs.

    Raises:
        DataError: the data do not fit one of them.
    """
    declared = source.preprocess or next((side.preprocess for side in sides if side.preprocess), None)
    source = replace(source, preprocess=declared)
    opened = open_side(source, sides[0], label)
    same = sides[0].session.signature.inputs == sides[1].session.signature.inputs
    return [opened, opened if same else open_side(source, sides[1], label)]


def open_side(source: DataSource, side: Contender, label: Label | None) -> Dataset:
    """The items in the form that one side takes."""
    return remember(open_dataset(source, side.session.signature, label), REMEMBERED_BYTES)


def make_scorers(
    request: CompareRequest, tasks: list[Task], sides: list[Contender], datasets: list[Dataset], progress: Progress
) -> list[SideScorer]:
    """What scores each side, on the same items in the same random order."""
    source = request.evaluation
    order = split_items(len(datasets[0])).order
    folder = None if request.output is None else request.output / SCORES_FOLDER
    return [
        SideScorer(side, Items(dataset, task, order, source.target, source.columns), folder, progress)
        for side, dataset, task in zip(sides, datasets, tasks, strict=True)
    ]


def plan_ahead(request: CompareRequest, metric: Metric, items: int) -> SamplePlan | None:
    """How many items the tolerance takes if nothing flips; None for a metric that is no mean of item scores."""
    margin = request.tolerance.margin(1.0)
    if metric.functional or not 0 < margin < 1:
        return None
    return plan_study(items, Supposed(metric.name, 0.0), margin, request.confidence, several=False)


def judge_pair(
    request: CompareRequest, metric: Metric, pair: ThresholdedPair, progress: Progress
) -> tuple[Certificate, Quality, int | None]:
    """Certificate, metric, and the items that would decide where these cannot tell."""
    # A gate wants to know whether it is worse, and not only that it will not be certified: it is never given up.
    question = Question(
        metric, request.tolerance, request.confidence, request.slices, request.sequential, give_up=False
    )
    items = pair.available
    progress.start("comparing", 2 * items)

    def show(look: TestLook) -> None:
        loss, low, high = (format_points(value) for value in (look.loss, look.low, look.high))
        progress.say(f"after {look.n:,} items: a loss of {loss}, between {low} and {high}")

    try:
        found = certify(question, pair.draw, items, on_look=show)
    finally:
        progress.finish()
    needed = None
    if found.certificate.status is CertificateStatus.OPEN:
        needed = plan_quality(found.quality, found.certificate.margin, request.confidence)
    return found.certificate, found.quality, None if needed is None else max(needed, items + 1)


def describe_side(side: Contender, scorer: SideScorer, output: Path | None, thresholds: tuple[Threshold, ...]) -> Side:
    """One side for the record."""
    scores = "" if scorer.path is None or output is None else scorer.path.relative_to(output).as_posix()
    return Side(
        name=side.text,
        kind=side.kind,
        runtime=side.runtime,
        identity=side.identity,
        versions=side.versions,
        nonfinite=scorer.nonfinite,
        scored=scorer.ran,
        scores=scores,
        thresholds=thresholds,
    )


def collect_warnings(request: CompareRequest, sides: list[Contender], scorers: list[SideScorer]) -> tuple[str, ...]:
    """What the reader must know before trusting the answer."""
    warnings: list[str] = []
    for side, scorer in zip(sides, scorers, strict=True):
        if scorer.nonfinite:
            warnings.append(f"{side.text}: {scorer.nonfinite:,} output values are NaN or infinite")
        if isinstance(side.session, LoadedRelease):
            if side.session.thresholds and request.threshold is None:
                warnings.append(f"{side.text} has a threshold of its own; both are compared at the task's: --threshold")
            warnings += [f"{side.text}: {name} was passed over: {why}" for name, why in side.session.failures.items()]
    return tuple(warnings)
