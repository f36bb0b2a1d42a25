"""From attempts and timings to trials, a decision and a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from assay.core.errors import MeasurementError
from assay.core.fitness import Fitness, Verdict
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.trial import Evidence, Footprint, Trial, TrialStatus
from assay.measure.certification import Certified
from assay.measure.machine import describe_machine
from assay.measure.statistics.paired import compare
from assay.studies.attempt import Attempt
from assay.studies.certifying import certify_trials, compare_search
from assay.studies.confirming import confirm_choice, fail_trial
from assay.studies.detected import describe_detected
from assay.studies.files import measure_folder
from assay.studies.flags import find_flags, share_asked
from assay.studies.guarding import guard_trial
from assay.studies.judging import HINT
from assay.studies.one_class import describe_classes
from assay.studies.ranks import describe_ranks
from assay.studies.record import RECORD_SCHEMA, DataProvenance, StudyRecord
from assay.studies.scoring import count_nonfinite, read_scores, read_stored
from assay.studies.showing import collect_flips, pick_shown, plan_record
from assay.studies.thresholds import describe_missed, describe_thresholds
from assay.studies.timing import Timing, list_timing_warnings
from assay.studies.traffic import state_lengths
from assay.studies.worker import Probe
from assay.studies.workspace import Workspace


def conclude_study(
    space: Workspace, attempts: Sequence[Attempt], timings: Mapping[str, Timing], created: str, seconds: float
) -> StudyRecord:
    """The record of a study whose candidates are all tried and timed."""
    request = space.request
    searched, certified = certify_searched(space, attempts, timings)
    trials = tuple(finish_trial(space, describe_reference(space, trial), certified.get(trial.id)) for trial in searched)
    trials = tuple(guard_trial(space, trial, find_reference(attempts).candidate) for trial in trials)
    decision, trials, fresh = confirm_choice(space, attempts, trials)
    timings = {**timings, **fresh}
    base = next(trial for trial in trials if trial.reference)
    shown = pick_shown(trials, decision)
    return StudyRecord(
        schema=RECORD_SCHEMA,
        title=space.title,
        created=created,
        requirements=request.requirements,
        task=request.task,
        trials=trials,
        decision=decision,
        model=space.subject.provenance,
        calibration=trace_calibration(space),
        evaluation=DataProvenance(request.evaluation.path, space.evaluation.fingerprint, len(space.evaluation)),
        machine={**describe_machine().facts(), **({"held to": request.device} if request.device else {})},
        versions=collect_versions(space),
        batch=request.batch,
        threads=request.threads,
        latency_samples={name: timing.samples_ms for name, timing in timings.items()},
        seconds=seconds,
        warnings=(*collect_warnings(space, trials), *list_timing_warnings(timings, request.requirements)),
        preprocess=request.evaluation.preprocess,
        fitness=space.fitness,
        convergence=None if space.calibrator is None else space.calibrator.convergence,
        plan=plan_record(space, base, shown),
        detected=describe_detected(space, base, shown),
        flips=collect_flips(space, trials, base, shown),
        sequential=request.sequential,
        threshold=request.threshold,
        lengths=None if space.traffic is None else state_lengths(space.evaluation, space.traffic),
    )


def trace_calibration(space: Workspace) -> DataProvenance | None:
    """Where the calibration items came from; None where there are none."""
    source = space.request.calibration
    if source is None or space.calibrator is None:
        return None
    observed = space.calibrator.observe().calibration
    return DataProvenance(source.path, observed.data, observed.items)


def find_reference(attempts: Sequence[Attempt]) -> Attempt:
    """The FP32 model on the first runtime that runs it: what every variant is compared with."""
    return next(a for a in attempts if a.candidate.plan == Plan(Precision.FP32) and a.status is TrialStatus.OK)


def certify_searched(
    space: Workspace, attempts: Sequence[Attempt], timings: Mapping[str, Timing]
) -> tuple[tuple[Trial, ...], Mapping[str, Certified]]:
    """All trials, without evidence of those that failed on a certification item, and certificates by trial id.

    Raises:
        RunFailed: the reference failed.
    """
    trials = search_trials(space, attempts, timings)
    certified, failures = certify_trials(space, trials)
    for name, reason in failures.items():
        trials = fail_trial(space, attempts, trials, name, reason)
    return trials, certified


def search_trials(space: Workspace, attempts: Sequence[Attempt], timings: Mapping[str, Timing]) -> tuple[Trial, ...]:
    """All trials, with their quality on the search items."""
    reference = find_reference(attempts)
    return tuple(make_trial(space, attempt, timings.get(attempt.candidate.id), reference) for attempt in attempts)


def finish_trial(space: Workspace, trial: Trial, certified: Certified | None) -> Trial:
    """A trial with its certificate, the quality on the items that this rests on, and its flags."""
    evidence = trial.evidence
    if evidence is None:
        return trial
    if certified is not None:
        evidence = replace(evidence, quality=certified.quality, certificate=certified.certificate)
    nonfinite = count_nonfinite(space, trial.candidate)
    shapes = {name: values.shape for name, values in space.sample.items()}
    asked = share_asked(space.subject.prepared, trial.candidate.plan, shapes)
    flags = find_flags(asked, evidence.audit, nonfinite, evidence.quality)
    return replace(trial, evidence=replace(evidence, flags=flags))


def describe_reference(space: Workspace, trial: Trial) -> Trial:
    """The reference with its metric over every item that it was scored on, without those that flatter a tuned one."""
    if not trial.reference or trial.evidence is None:
        return trial
    scores = read_scores(space, trial.candidate)
    rule = space.request.threshold
    if rule is not None and rule.is_tuned and len(scores) > space.split.search:
        scores = scores.select(slice(space.split.search, len(scores)))
    try:
        quality = compare(space.metric, scores, scores, space.request.requirements.confidence)
    except MeasurementError:
        return trial
    exact = replace(quality, low=0.0, high=0.0, method="identity", asymptotic=False)
    return replace(trial, evidence=replace(trial.evidence, quality=exact))


def make_trial(space: Workspace, attempt: Attempt, timing: Timing | None, reference: Attempt) -> Trial:
    """A trial with its evidence so far, or with the reason why it has none."""
    candidate, probe = attempt.candidate, attempt.probe
    is_built = attempt.status is TrialStatus.BUILT
    if probe is None or timing is None:
        return Trial(
            candidate,
            attempt.status,
            attempt.reason,
            versions=attempt.versions,
            artifact=attempt.address,
            faults=attempt.faults,
            size_bytes=measure_folder(space.store.artifact(attempt.address)) if is_built else 0,
        )
    quality = compare_search(space, reference.candidate, candidate)
    evidence = Evidence(
        quality=quality,
        latency=timing.latency,
        throughput=timing.throughput,
        speedup=timing.speedup,
        footprint=measure_footprint(space, attempt.address, probe),
        audit=probe.audit,
        cpu_seconds=timing.cpu_seconds,
        energy=timing.energy,
        energy_note=timing.energy_note,
        served=timing.served,
        served_note=timing.served_note,
        held=timing.held,
        generation=timing.generation,
        thresholds=describe_thresholds(space, read_stored(space, candidate)),
    )
    return Trial(
        candidate,
        TrialStatus.OK,
        evidence=evidence,
        artifact=attempt.address,
        versions=attempt.versions,
        reference=candidate == reference.candidate,
    )


def measure_footprint(space: Workspace, address: str, probe: Probe) -> Footprint:
    """What an artifact costs to keep and to open."""
    return Footprint(
        size_bytes=measure_folder(space.store.artifact(address)),
        peak_memory_bytes=probe.peak_memory_bytes,
        model_memory_bytes=probe.model_memory_bytes,
        load_ms=probe.load_ms,
        first_run_ms=probe.first_run_ms,
    )


def list_doubts(fitness: Fitness | None, trials: Sequence[Trial]) -> list[str]:
    """Why the calibration items are not to be trusted, and what was refused for it; nothing for fit ones."""
    if fitness is None or fitness.verdict is Verdict.FIT:
        return []
    said = f"the calibration items are {fitness.verdict}: {' '.join(fitness.reasons)}"
    refused = sum(trial.status is TrialStatus.REFUSED for trial in trials)
    if refused:
        forms = "1 form that needs them was" if refused == 1 else f"{refused} forms that need them were"
        said += f" {forms} refused; {HINT}"
    return [said]


def collect_versions(space: Workspace) -> dict[str, str]:
    """Versions of everything that shaped the study."""
    versions = dict(space.versions)
    for backend in (*space.backends.values(), *(one.backend for one in space.elsewhere)):
        versions |= backend.versions()
    return versions


def collect_warnings(space: Workspace, trials: Sequence[Trial]) -> tuple[str, ...]:
    """What the reader must know before trusting the decision."""
    warnings = list_doubts(space.fitness, trials)
    warnings += [f"{name} is not available: {reason}" for name, reason in space.missing.items()]
    warnings += [one.sentence for one in space.elsewhere]
    for trial in trials:
        if trial.evidence is not None:
            warnings += [f"{trial.id}: {flag}" for flag in trial.evidence.flags]
            warnings += [f"{trial.id}: {missed}" for missed in describe_missed(space.request.threshold, trial.evidence)]
    scored = [trial for trial in trials if trial.evidence is not None]
    scores = {trial.id: read_scores(space, trial.candidate) for trial in scored}
    reference = next((scores[trial.id] for trial in scored if trial.reference), None)
    return (*warnings, *describe_classes(reference), *describe_ranks(reference, scores))
