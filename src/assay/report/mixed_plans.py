"""The searches over mixed plans: what was tried where an INT8 form strained the tolerance, and how it went."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from assay.core.mixing import MixedPlan, MixedSearch
from assay.decide import words
from assay.report import cells
from assay.report.rows import Row
from assay.studies.record import StudyRecord


@dataclass(frozen=True, slots=True)
class MixedRow:
    """A mixed plan in the order of the search.

    Attributes:
        row: its trial.
        cells: groups in floats, predicted and measured latency, signal to noise.
    """

    place: int
    row: Row
    kept: str
    predicted: str
    measured: str
    noise: str


@dataclass(frozen=True, slots=True)
class MixedTable:
    """One search.

    Attributes:
        base: the form that strained the tolerance.
        sentence: how its groups were measured, and why the search ended.
    """

    base: Row
    sentence: str
    rows: tuple[MixedRow, ...]


class MixedPlanDocument(msgspec.Struct, frozen=True):
    """A mixed plan; ``noise`` is the simulated relative error power of the outputs."""

    trial: str
    groups_in_floats: int
    predicted_ms: float
    noise: float


class MixedSearchDocument(msgspec.Struct, frozen=True):
    """A search over mixed plans of one INT8 form; ``noise`` is null where its values are not finite."""

    base: str
    groups: int
    items: int
    passes: int
    noise: float | None
    drafts: int
    seconds: float
    plans: tuple[MixedPlanDocument, ...]
    stopped: str


def list_mixed(record: StudyRecord, rows: Sequence[Row]) -> tuple[MixedTable, ...]:
    """Every search of a study."""
    by_id = {row.trial.id: row for row in rows}
    return tuple(_describe(search, by_id) for search in record.mixed if search.base in by_id)


def show_mixed(record: StudyRecord) -> tuple[MixedSearchDocument, ...]:
    """Every search as JSON."""
    return tuple(
        MixedSearchDocument(
            base=search.base,
            groups=search.groups,
            items=search.items,
            passes=search.passes,
            noise=search.noise if search.noise >= 0 else None,
            drafts=search.drafts,
            seconds=search.seconds,
            plans=tuple(
                MixedPlanDocument(plan.trial, plan.kept, plan.predicted_ms, plan.noise) for plan in search.plans
            ),
            stopped=search.stopped,
        )
        for search in record.mixed
    )


def _describe(search: MixedSearch, by_id: Mapping[str, Row]) -> MixedTable:
    """One search in words."""
    base = by_id[search.base]
    rows = tuple(
        _describe_plan(place, plan, search, by_id[plan.trial])
        for place, plan in enumerate(search.plans, 1)
        if plan.trial in by_id
    )
    if not search.passes:
        return MixedTable(base, f"It strains the tolerance. No mixed plan was tried: {search.stopped}.", rows)
    measured = (
        f"It strains the tolerance, so some of its {search.groups} groups of nodes were left in floats. What each "
        f"costs and loses was measured in {search.passes} passes of {search.items} items, {search.seconds:.0f} s; "
        f"{search.drafts} plans were simulated."
    )
    if rows:
        measured += " Predicted is the fastest call of a plan alone, measured the median beside all other trials."
    ended = f"{'The search' if rows else 'No mixed plan was tried: the search'} ended because {search.stopped}."
    return MixedTable(base, f"{measured} {ended}", rows)


def _describe_plan(place: int, plan: MixedPlan, search: MixedSearch, row: Row) -> MixedRow:
    """One plan in the words of its cells."""
    evidence = row.trial.evidence
    return MixedRow(
        place=place,
        row=row,
        kept=f"{plan.kept} of {search.groups}",
        predicted=words.format_ms(plan.predicted_ms),
        measured=cells.NOTHING if evidence is None else words.format_ms(evidence.latency.p50.value),
        noise=f"{-10 * math.log10(plan.noise):.1f} dB" if plan.noise > 0 else "no noise",
    )
