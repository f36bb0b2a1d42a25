"""From attempts and timings to trials, a decision and a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from assay.core.audit import ExecutionAudit
from assay.core.fitness import Fitness, Verdict
from assay.core.plan import Candidate, Plan
from assay.core.precision import Precision
from assay.core.session import Scores
from assay.core.trial import Evidence, Footprint, Quality, Trial, TrialStatus
from assay.decide.conclude import conclude
from assay.measure.machine import describe_machine
from assay.measure.statistics.paired import compare
from assay.studies.attempt import Attempt, read_scores
from assay.studies.files import measure_folder
from assay.studies.record import RECORD_SCHEMA, DataProvenance, StudyRecord
from assay.studies.timing import Timing
from assay.studies.workspace import Workspace

MOSTLY = 0.5
NOTICEABLE = 0.01


def conclude_study(
    space: Workspace, attempts: Sequence[Attempt], timings: Mapping[str, Timing], created: str, seconds: float
) -> StudyRecord:
    """The record of a study whose candidates are all tried and timed."""
    request = space.request
    reference = find_reference(attempts)
    scores = read_scores(space, reference.candidate)
    trials = tuple(make_trial(space, attempt, timings, reference, scores) for attempt in attempts)
    calibration = None
    if request.calibration is not None and space.calibrator is not None:
        observed = space.calibrator.observe().calibration
        calibration = DataProvenance(request.calibration.path, observed.data, observed.items)
    return StudyRecord(
        schema=RECORD_SCHEMA,
        title=space.title,
        created=created,
        requirements=request.requirements,
        task=request.task,
        trials=trials,
        decision=conclude(request.requirements, trials),
        model=space.subject.provenance,
        calibration=calibration,
        evaluation=DataProvenance(request.evaluation.path, space.evaluation.fingerprint, len(space.evaluation)),
        machine=describe_machine().facts(),
        versions=collect_versions(space),
        batch=request.batch,
        threads=request.threads,
        latency_samples={name: timing.samples_ms for name, timing in timings.items()},
        seconds=seconds,
        warnings=collect_warnings(space, trials),
        preprocess=request.evaluation.preprocess,
        fitness=space.fitness,
        convergence=None if space.calibrator is None else space.calibrator.convergence,
    )


def find_reference(attempts: Sequence[Attempt]) -> Attempt:
    """The FP32 model on the first runtime that runs it: what every variant is compared with."""
    return next(a for a in attempts if a.candidate.plan == Plan(Precision.FP32) and a.status is TrialStatus.OK)


def make_trial(
    space: Workspace, attempt: Attempt, timings: Mapping[str, Timing], reference: Attempt, scores: Scores
) -> Trial:
    """A trial with all its evidence, or with the reason why it has none."""
    candidate, probe = attempt.candidate, attempt.probe
    timing = timings.get(candidate.id)
    if probe is None or timing is None:
        return Trial(candidate, attempt.status, attempt.reason, versions=attempt.versions, artifact=attempt.address)
    quality = compare(space.metric, scores, read_scores(space, candidate), space.request.requirements.confidence)
    is_reference = candidate == reference.candidate
    if is_reference:
        quality = replace(quality, low=0.0, high=0.0, method="identity")
    evidence = Evidence(
        quality=quality,
        latency=timing.latency,
        throughput=timing.throughput,
        speedup=timing.speedup,
        footprint=Footprint(
            size_bytes=measure_folder(space.store.artifact(attempt.address)),
            peak_memory_bytes=probe.peak_memory_bytes,
            model_memory_bytes=probe.model_memory_bytes,
            load_ms=probe.load_ms,
            first_run_ms=probe.first_run_ms,
        ),
        audit=probe.audit,
        cpu_seconds=timing.cpu_seconds,
        energy=timing.energy,
        energy_note=timing.energy_note,
        flags=find_flags(candidate, probe.audit, attempt.nonfinite, quality),
    )
    return Trial(
        candidate,
        TrialStatus.OK,
        evidence=evidence,
        artifact=attempt.address,
        versions=attempt.versions,
        reference=is_reference,
    )


def find_flags(candidate: Candidate, audit: ExecutionAudit, nonfinite: int, quality: Quality | None) -> tuple[str, ...]:
    """Disagreements between what was asked of a runtime and what it executed, and outputs that are no numbers."""
    shares = audit.shares()
    asked = candidate.plan.precision
    flags: list[str] = []
    ran = max(shares, key=lambda precision: shares[precision])
    if any(shares.values()):
        if asked is Precision.FP32 and shares[Precision.FP32] < 1 - NOTICEABLE:
            flags.append(f"asked for fp32, but {1 - shares[Precision.FP32]:.0%} of the arithmetic ran in less")
        elif asked is not Precision.FP32 and shares[asked] < MOSTLY:
            flags.append(f"asked for {asked}, but only {shares[asked]:.0%} ran so: {shares[ran]:.0%} ran in {ran}")
    if nonfinite:
        flags.append(f"{nonfinite} output values are NaN or infinite")
    if quality is not None and quality.n and quality.value == 0 and quality.reference > 0:
        flags.append(f"{quality.metric} is 0 where the reference has {quality.reference:.4f}")
    return tuple(flags)


def list_doubts(fitness: Fitness | None) -> list[str]:
    """Why the calibration items are not to be trusted; nothing for fit ones."""
    if fitness is None or fitness.verdict is Verdict.FIT:
        return []
    return [f"the calibration items are {fitness.verdict}: {' '.join(fitness.reasons)}"]


def collect_versions(space: Workspace) -> dict[str, str]:
    """Versions of everything that shaped the study."""
    versions = dict(space.versions)
    for backend in space.backends.values():
        versions |= backend.versions()
    return versions


def collect_warnings(space: Workspace, trials: Sequence[Trial]) -> tuple[str, ...]:
    """What the reader must know before trusting the decision."""
    warnings = list_doubts(space.fitness)
    warnings += [f"{name} is not available: {reason}" for name, reason in space.missing.items()]
    for trial in trials:
        if trial.evidence is not None:
            warnings += [f"{trial.id}: {flag}" for flag in trial.evidence.flags]
    return tuple(warnings)
