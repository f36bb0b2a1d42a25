"""The rate at which an artifact keeps the latency constraint when queries arrive at random: what the cost stands on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assay.core.estimate import Estimate
from assay.core.requirements import Constraint, Objective, Requirements
from assay.studies.attempt import Attempt
from assay.studies.store import address_of
from assay.studies.timing_apart import Culprit, name_entry, run_timing
from assay.studies.timing_worker import RateJob
from assay.studies.workspace import Workspace

SERVE_SECONDS = 12.0
"""For each artifact; no more than the whole latency measurement may take."""
PATIENCE = 4
"""The search may take so many times the asked time, where calls are slow."""
SEED = 20


@dataclass(frozen=True, slots=True)
class ServedRate:
    """What the search for a rate found of one artifact.

    Attributes:
        estimate: items per second, its lower bound certified; None where no rate was.
        reason: why there is none.
    """

    estimate: Estimate | None
    reason: str


def find_bound(requirements: Requirements) -> Constraint | None:
    """The constraint that a rate is searched for: the one on the highest percentile, where the objective is cost."""
    if requirements.objective is not Objective.COST:
        return None
    bounds = [(c.quantity.quantile, c) for c in requirements.constraints if c.quantity.quantile is not None]
    return max(bounds, key=lambda pair: pair[0])[1] if bounds else None


def serve_attempts(space: Workspace, attempts: Sequence[Attempt]) -> Mapping[str, ServedRate] | Culprit:
    """The rate of every artifact that ran, or what an earlier run found; nothing where no rate is asked for.

    Returns:
        The rates by trial id, or the artifact that failed.
    """
    requirements = space.request.requirements
    bound = find_bound(requirements)
    if bound is None:
        return {}
    name = f"rates-{address_of(bound.quantity, bound.limit, bound.confidence or requirements.confidence)}"
    stored = space.store.read(name, dict[str, ServedRate])
    if stored is not None and set(stored) == {attempt.candidate.id for attempt in attempts}:
        return stored
    space.progress.start(f"finding the rates that keep {bound.text}", len(attempts))
    found: dict[str, ServedRate] = {}
    for attempt in attempts:
        served = serve_attempt(space, attempt, bound)
        if isinstance(served, Culprit):
            return served
        found[attempt.candidate.id] = served
        space.progress.advance()
    space.progress.finish()
    space.store.write(name, found)
    return found


def serve_attempt(space: Workspace, attempt: Attempt, bound: Constraint) -> ServedRate | Culprit:
    """The rate of one artifact, one call at a time."""
    request = space.request
    seconds = min(SERVE_SECONDS, request.latency_seconds)
    job = RateJob(name_entry(space, attempt), bound, request.requirements.confidence, seconds, SEED)
    # One mark is all there is before the answer: the search itself may take its time.
    patience_s = request.trial_seconds + PATIENCE * seconds
    reply = run_timing(job, space.calls, request.limits, patience_s, lambda _steps: None)
    return reply if isinstance(reply, Culprit) else ServedRate(reply.rate, reply.rate_note)
