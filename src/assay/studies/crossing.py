"""Mixed forms that are built to learn what tensors between groups of different formats cost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from assay.core.errors import BackendError
from assay.core.mixing import Mix
from assay.core.plan import Candidate
from assay.core.precision import Precision, Repair
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


@contextmanager
def open_crossed(
    space: Workspace, grouping: Grouping, base: Attempt, kept: Precision
) -> Iterator[tuple[CrossedForm, ...]]:
    """The forms of ``build_crossed``, which are no candidates: those that were not there before go at the end.

    Raises:
        StoreError: the study's folder cannot be written.
    """
    before = set(space.store.artifacts.iterdir())
    forms: tuple[CrossedForm, ...] = ()
    try:
        forms = build_crossed(space, grouping, base, kept)
        yield forms
    finally:
        for form in forms:
            if form.folder not in before:
                shutil.rmtree(form.folder, ignore_errors=True)


def build_crossed(space: Workspace, grouping: Grouping, base: Attempt, kept: Precision) -> tuple[CrossedForm, ...]:
    """Build two forms: one with every second group in floats, one with the others.

    Together they have every group once in integers and once in floats, as the two forms have whose groups are all
    alike. So what they take beyond these is the price of conversions, whatever single groups take.

    Args:
        space: of the study.
        grouping: of the base.
        base: the form that quantizes all groups.
        kept: format of the groups that stay in floats.

    Returns:
        Nothing where the runtime cannot, or there is nothing to mix.

    Raises:
        StoreError: the study's folder cannot be written.
    """
    count, runtime = len(grouping.groups), base.candidate.runtime
    if count < 2:  # noqa: PLR2004 - one group has no neighbour
        return ()
    mixes = [tuple(kept if index % 2 == odd else Precision.INT8 for index in range(count)) for odd in (0, 1)]
    candidates = [compose(grouping, base.candidate, mix, kept) for mix in mixes]
    supports, target = space.backends[runtime].supports, space.target(runtime)
    if not all(supports(candidate.plan, target).supported for candidate in candidates):
        return ()
    try:
        return tuple(
            CrossedForm(mix, build_candidate(space, candidate).folder)
            for mix, candidate in zip(mixes, candidates, strict=True)
        )
    except BackendError as error:
        space.progress.say(f"{runtime}: what groups of different formats cost each other is a guess: {error}")
        return ()


def compose(grouping: Grouping, base: Candidate, mix: Mix, kept: Precision) -> Candidate:
    """The candidate of a mix of integers and one other format, which is that of the rest, too."""
    overrides = {name: kept for name, _ in base.plan.overrides}
    for group, precision in zip(grouping.groups, mix, strict=True):
        overrides |= dict.fromkeys(group.nodes, kept) if precision is kept else {}
    # How weights are rounded changes no time, but takes long to find out.
    scheme, plan = base.plan.scheme, replace(base.plan, rest=kept, overrides=tuple(sorted(overrides.items())))
    if scheme is not None:
        quick = tuple(repair for repair in scheme.repairs if repair is not Repair.ROUND)
        plan = replace(plan, scheme=replace(scheme, repairs=quick))
    return Candidate(base.runtime, plan)
