"""One candidate on its way to a trial: realised, built, opened, scored; stored as soon as it is whole."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx_ir as ir

from assay.calibrate.ranges import solve_float_ranges, solve_ranges
from assay.core.errors import BackendError, BuildFailed, UnsupportedPlan
from assay.core.fault import Fault
from assay.core.plan import Candidate, Plan
from assay.core.precision import Precision, Repair
from assay.core.trial import TrialStatus
from assay.graph.realise import list_refused, realise
from assay.graph.save import save_model
from assay.studies.building import Built, build_artifact, probe_artifact
from assay.studies.isolation import Limits
from assay.studies.judging import needs_items
from assay.studies.scoring import ItemScorer, name_scores
from assay.studies.worker import Probe
from assay.studies.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is known of a candidate before the artifacts are timed together.

    Attributes:
        reason: why it failed, is unsupported or was refused.
        address: of the artifact in the store, empty where nothing was built.
        probe: what the first opening showed.
        limits: that it failed under; more may be enough.
        faults: outputs that are broken whatever the metric says; an attempt with one has failed.
    """

    candidate: Candidate
    status: TrialStatus
    reason: str = ""
    address: str = ""
    probe: Probe | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    limits: Limits | None = None
    faults: tuple[Fault, ...] = ()


def attempt_candidate(space: Workspace, candidate: Candidate) -> Attempt:
    """Try a candidate, or read how it went; a runtime's failure is its result.

    What is refused is not stored: another run may accept it.

    Raises:
        StoreError: the store cannot be written; nothing that was finished is lost.
    """
    if space.refusal and needs_items(candidate.plan):
        return Attempt(candidate, TrialStatus.REFUSED, space.refusal)
    stored = read_attempt(space, candidate)
    if stored is not None and is_whole(space, stored):
        space.progress.say(f"{candidate.id}: known from an earlier run")
        return stored
    try:
        attempt = make_attempt(space, candidate)
    except UnsupportedPlan as error:
        attempt = Attempt(candidate, TrialStatus.UNSUPPORTED, str(error))
    except BackendError as error:
        attempt = Attempt(candidate, TrialStatus.FAILED, str(error), limits=space.request.limits)
    space.store.write(f"trials/{candidate.id}", attempt)
    return attempt


def read_attempt(space: Workspace, candidate: Candidate) -> Attempt | None:
    """What is stored of a candidate."""
    return space.store.read(f"trials/{candidate.id}", Attempt)


def is_whole(space: Workspace, attempt: Attempt) -> bool:
    """Whether everything that a stored attempt stands on is still there; a failure stands on its limits."""
    if attempt.status is TrialStatus.FAILED:
        return attempt.limits == space.request.limits
    if attempt.status is TrialStatus.BUILT:
        return space.store.artifact(attempt.address).is_dir()
    if attempt.status is not TrialStatus.OK:
        return True
    scores = space.store.read_arrays(name_scores(attempt.candidate))
    return scores is not None and space.store.artifact(attempt.address).is_dir()


def make_attempt(space: Workspace, candidate: Candidate) -> Attempt:
    """Realise, build, open and score a candidate; only build one for a device that is not here.

    Raises:
        BackendError: the runtime refused, crashed or hung.
    """
    backend = space.find_backend(candidate)
    target = space.build_target(candidate)
    support = backend.supports(candidate.plan, target)
    if not support.supported:
        raise UnsupportedPlan(support.reason)
    built = build_candidate(space, candidate)
    versions = dict(backend.versions()) | dict(space.versions)
    if candidate.device:
        reason = space.find_elsewhere(candidate).reason
        return Attempt(candidate, TrialStatus.BUILT, reason, built.address, versions=versions)
    probe = probe_artifact(built, space.sample, target, space.request.limits)
    score_candidate(space, candidate, built.folder)
    return Attempt(candidate, TrialStatus.OK, "", built.address, probe, versions)


def build_candidate(space: Workspace, candidate: Candidate) -> Built:
    """Realise a candidate's plan as ONNX and build it.

    Raises:
        BackendError: the runtime refused, crashed or hung.
    """
    backend, target = space.find_backend(candidate), space.build_target(candidate)
    realised = realise_plan(space, candidate.plan)
    with tempfile.TemporaryDirectory(prefix=".realised.", dir=space.store.measurements) as name:
        path = Path(name, "model.onnx")
        save_model(realised, path)
        return build_artifact(space.store, path, candidate, target, backend.versions(), space.request.limits)


def realise_plan(space: Workspace, plan: Plan) -> ir.Model:
    """The model that a plan describes, from the form that its repairs give the float model.

    Raises:
        UnsupportedPlan: the model cannot be brought into the plan's form.
        BackendError: the runtime cannot observe the model.
    """
    if plan.weights is not None and not plan.weights.smooth:
        return realise(space.subject.prepared, plan)
    if space.calibrator is None:
        if plan.quantizes:
            raise UnsupportedPlan(f"{plan.precision.upper()} needs calibration data", "give --calibration")
        return realise(space.subject.prepared, plan)
    if plan.floats is not None:
        observed = space.calibrator.observe()
        ranges = solve_float_ranges(observed.calibration, plan.floats)
        return realise(observed.model, plan, observed.calibration, ranges)
    if plan.scheme is None:
        observed = space.calibrator.observe((Repair.SMOOTH,) if plan.weights is not None else ())
        return realise(observed.model, plan, observed.calibration)
    observed = space.calibrator.observe(plan.scheme.repairs)
    ranges = solve_ranges(observed.calibration, plan.scheme)
    moments = space.calibrator.observe_moments(plan)
    realised = realise(observed.model, plan, observed.calibration, ranges, moments, space.calibrator.rounded)
    for node, reason in list_refused(observed.model, plan, observed.calibration).items():
        space.progress.say(f"{plan.name}: node {node!r} stays in fp32: {reason}")
    return realised


def score_candidate(space: Workspace, candidate: Candidate, built: Path) -> None:
    """Score an artifact over the search items; the scores are stored.

    Raises:
        BackendError: the runtime failed on an item.
    """
    with ItemScorer(space, candidate, built) as scorer:
        space.progress.start(f"{candidate.id}: scoring", space.split.search)
        try:
            scorer.score(space.split.search)
        finally:
            space.progress.finish()


def fail_attempt(space: Workspace, attempt: Attempt, reason: str) -> Attempt:
    """An attempt that went well so far and has failed now; stored, so that the next run knows.

    Raises:
        StoreError: the store cannot be written.
    """
    failed = replace(attempt, status=TrialStatus.FAILED, reason=reason, probe=None, limits=space.request.limits)
    space.store.write(f"trials/{attempt.candidate.id}", failed)
    space.progress.say(f"{attempt.candidate.id}: {failed.status}: {reason}")
    return failed


def check_reference(attempts: Sequence[Attempt]) -> None:
    """Refuse to go on when no runtime runs the FP32 model.

    Raises:
        BuildFailed: with the reason of the first runtime.
    """
    full = [a for a in attempts if a.candidate.plan.precision is Precision.FP32]
    if not any(a.status is TrialStatus.OK for a in full):
        reasons = "; ".join(f"{a.candidate.runtime}: {a.reason}" for a in full)
        raise BuildFailed(
            f"no runtime can run the FP32 model, so there is no reference: {reasons}", "see `assay doctor`"
        )
