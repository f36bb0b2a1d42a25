"""A mixed form that is built to learn what tensors between groups of different formats cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from assay.core.errors import BackendError
from assay.core.mixing import Mix
from assay.core.plan import Candidate
from assay.core.precision import Precision
from assay.graph.groups import Grouping
from assay.studies.attempt import Attempt, build_candidate
from assay.studies.workspace import Workspace


@dataclass(frozen=True, slots=True)
class CrossedForm:
    """A built form in which every second group stays in floats.

    Attributes:
        mix: format of every group.
        folder: of the artifact.
    """

    mix: Mix
    folder: Path


def find_float(space: Workspace, forms: Mapping[Precision, Attempt]) -> Precision:
    """Format in which a runtime keeps groups fastest, as it says, among those whose form ran."""
    runtime = forms[Precision.INT8].candidate.runtime
    rests = space.backends[runtime].rests(space.target(runtime))
    return next((precision for precision in rests if precision in forms), Precision.FP32)


def build_crossed(space: Workspace, grouping: Grouping, base: Attempt, kept: Precision) -> CrossedForm | None:
    """Build the form; None where the runtime cannot, or there is nothing to mix.

    Args:
        space: of the study.
        grouping: of the base.
        base: the form that quantizes all groups.
        kept: format of every second group.

    Raises:
        StoreError: the study's folder cannot be written.
    """
    mix = tuple(kept if index % 2 == 0 else Precision.INT8 for index in range(len(grouping.groups)))
    if Precision.INT8 not in mix:
        return None
    plan = base.candidate.plan
    nodes = {
        name: kept
        for group, precision in zip(grouping.groups, mix, strict=True)
        for name in group.nodes
        if precision is kept
    }
    overrides = tuple(sorted(({name: kept for name, _ in plan.overrides} | nodes).items()))
    candidate = Candidate(base.candidate.runtime, replace(plan, rest=kept, overrides=overrides))
    runtime = candidate.runtime
    if not space.backends[runtime].supports(candidate.plan, space.target(runtime)).supported:
        return None
    try:
        return CrossedForm(mix, build_candidate(space, candidate).folder)
    except BackendError as error:
        space.progress.say(f"{runtime}: what groups of different formats cost each other is a guess: {error}")
        return None
