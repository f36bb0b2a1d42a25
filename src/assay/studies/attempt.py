"""One candidate on its way to a trial: realised, built, opened, scored; stored as soon as it is whole."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx_ir as ir

from assay.calibrate.ranges import solve_ranges
from assay.core.errors import BackendError, UnsupportedPlan
from assay.core.plan import Candidate, Plan
from assay.core.trial import TrialStatus
from assay.graph.realise import realise
from assay.graph.save import save_model
from assay.studies.building import Built, build_artifact, probe_artifact
from assay.studies.scoring import ItemScorer, name_scores
from assay.studies.worker import Probe
from assay.studies.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is known of a candidate before the artifacts are timed together.

    Attributes:
        reason: why it failed or is unsupported.
        address: of the artifact in the store, empty where nothing was built.
        probe: what the first opening showed.
    """

    candidate: Candidate
    status: TrialStatus
    reason: str = ""
    address: str = ""
    probe: Probe | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


def attempt_candidate(space: Workspace, candidate: Candidate) -> Attempt:
    """Try a candidate, or read how it went; a runtime's failure is its result.

    Raises:
        StoreError: the store cannot be written; nothing that was finished is lost.
    """
    stored = space.store.read(f"trials/{candidate.id}", Attempt)
    if stored is not None and is_whole(space, stored):
        space.progress.say(f"{candidate.id}: known from an earlier run")
        return stored
    try:
        attempt = make_attempt(space, candidate)
    except UnsupportedPlan as error:
        attempt = Attempt(candidate, TrialStatus.UNSUPPORTED, str(error))
    except BackendError as error:
        attempt = Attempt(candidate, TrialStatus.FAILED, str(error))
    space.store.write(f"trials/{candidate.id}", attempt)
    return attempt


def is_whole(space: Workspace, attempt: Attempt) -> bool:
    """Whether everything that a stored attempt stands on is still there."""
    if attempt.status is not TrialStatus.OK:
        return True
    scores = space.store.read_arrays(name_scores(attempt.candidate))
    return scores is not None and space.store.artifact(attempt.address).is_dir()


def make_attempt(space: Workspace, candidate: Candidate) -> Attempt:
    """Realise, build, open and score a candidate.

    Raises:
        BackendError: the runtime refused, crashed or hung.
    """
    backend = space.backends[candidate.runtime]
    target = space.target(candidate.runtime)
    support = backend.supports(candidate.plan, target)
    if not support.supported:
        raise UnsupportedPlan(support.reason)
    built = build_candidate(space, candidate)
    probe = probe_artifact(built, space.sample, target, space.request.trial_seconds)
    score_candidate(space, candidate, built.folder)
    versions = dict(backend.versions()) | dict(space.versions)
    return Attempt(candidate, TrialStatus.OK, "", built.address, probe, versions)


def build_candidate(space: Workspace, candidate: Candidate) -> Built:
    """Realise a candidate's plan as ONNX and build it.

    Raises:
        BackendError: the runtime refused, crashed or hung.
    """
    backend = space.backends[candidate.runtime]
    target = space.target(candidate.runtime)
    realised = realise_plan(space, candidate.plan)
    with tempfile.TemporaryDirectory(prefix=".realised.", dir=space.store.measurements) as name:
        path = Path(name, "model.onnx")
        save_model(realised, path)
        return build_artifact(space.store, path, candidate, target, backend.versions(), space.request.trial_seconds)


def realise_plan(space: Workspace, plan: Plan) -> ir.Model:
    """The model that a plan describes, from the form that its repairs give the float model.

    Raises:
        UnsupportedPlan: the model cannot be brought into the plan's form.
        BackendError: the runtime cannot observe the model.
    """
    if space.calibrator is None:
        if plan.scheme is not None:
            raise UnsupportedPlan("INT8 needs calibration data", "give --calibration")
        return realise(space.subject.prepared, plan)
    if plan.scheme is None:
        observed = space.calibrator.observe()
        return realise(observed.model, plan, observed.calibration)
    observed = space.calibrator.observe(plan.scheme.repairs)
    ranges = solve_ranges(observed.calibration, plan.scheme)
    return realise(observed.model, plan, observed.calibration, ranges, space.calibrator.observe_moments(plan))


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
