"""The rate at which an artifact keeps the latency constraint when queries arrive at random: what the cost stands on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from assay.core.estimate import Estimate
from assay.core.requirements import Constraint, Objective, Requirements
from assay.measure.scenarios.find_rate import find_rate
from assay.studies.attempt import Attempt
from assay.studies.opened import open_attempt
from assay.studies.store import address_of
from assay.studies.workspace import Workspace

SERVE_SECONDS = 12.0
"""For each artifact; no more than the whole latency measurement may take."""
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


def serve_attempts(space: Workspace, attempts: Sequence[Attempt]) -> Mapping[str, ServedRate]:
    """The rate of every artifact that ran, or what an earlier run found; nothing where no rate is asked for.

    Raises:
        BackendError: an artifact that has run before fails now.
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
        found[attempt.candidate.id] = serve_attempt(space, attempt, bound)
        space.progress.advance()
    space.progress.finish()
    space.store.write(name, found)
    return found


def serve_attempt(space: Workspace, attempt: Attempt, bound: Constraint) -> ServedRate:
    """The rate of one artifact, one call at a time."""
    with open_attempt(space, attempt) as session:
        found = find_rate(
            (session,),
            (space.sample,),
            bound,
            confidence=space.request.requirements.confidence,
            seconds=min(SERVE_SECONDS, space.request.latency_seconds),
            rng=np.random.default_rng(SEED),
        )
    return ServedRate(found.estimate, found.reason)
