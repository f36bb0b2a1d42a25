"""Explanations as a reader meets them: which groups cost a trial its answers, in which format each of them runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assay.core.explanation import Explanation
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.sensitivity import Blame, Damage, NodeGroup, Proposal
from assay.core.trial import Trial
from assay.decide import words
from assay.decide.blame import is_by_loss
from assay.report.cells import NOTHING
from assay.report.rows import Row, Standing

MOST_ROWS = 8
"""Guilty groups that are told one by one; the document has all."""
FIRST = (Standing.CHOSEN, Standing.BEST)


@dataclass(frozen=True, slots=True)
class GuiltyRow:
    """A guilty group as short texts.

    Attributes:
        values: what its noisiest activation had on the items.
        limits: what the plan lets it have.
        format: that the marked trial runs it in; empty where none is marked.
    """

    rank: int
    name: str
    operators: str
    share: str
    loss: str
    alone: str
    so_far: str
    kept: str
    tensor: str
    values: str
    limits: str
    clipped: str
    outlying: str
    format: str
    proposals: tuple[Proposal, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """An explanation beside the trial that it is of.

    Attributes:
        marked: the mixed trial whose formats the graph shows, or None.
        formats: of the groups of the graph in that trial, in their order; empty where none is marked.
    """

    explanation: Explanation
    row: Row
    marked: Row | None
    formats: tuple[Precision, ...]

    @property
    def measure(self) -> str:
        """What shares are of."""
        return "loss" if is_by_loss(self.explanation.sensitivities) else "noise"

    @property
    def guilty(self) -> tuple[Blame, ...]:
        """The groups that cause at least an equal share, the worst first."""
        return tuple(blame for blame in self.explanation.blames if blame.proposals)

    @property
    def sentence(self) -> str:
        """The measurement and its outcome."""
        found, guilty = self.explanation.sensitivities, self.guilty
        kept = sum(not group.quantized for group in self.explanation.graph.groups)
        several = f"All {words.format_count(len(found.groups))} quantized groups together leave"
        said = several if len(found.groups) > 1 else "The one quantized group leaves"
        said = f"{said} {write_db(found.together)} on {words.format_count(found.items)} items"
        said += f", with {words.format_count(kept)} kept in floats" if kept else ""
        if not guilty:
            return f"{said}; none of them stands out."
        share = sum(blame.share for blame in guilty)
        one = len(guilty) == 1
        told = "1 group causes" if one else f"{len(guilty)} groups cause"
        return f"{said}; {told} {write_share(share)} of the {self.measure} that all cause one by one."

    @property
    def rows(self) -> tuple[GuiltyRow, ...]:
        """The worst of the guilty groups."""
        formats = dict(zip((group.name for group in self.explanation.graph.groups), self.formats, strict=False))
        return tuple(_describe(blame, formats) for blame in self.guilty[:MOST_ROWS])

    @property
    def rest(self) -> str:
        """What is not told one by one; empty where all is."""
        left = self.guilty[MOST_ROWS:]
        if not left:
            return ""
        share = write_share(sum(blame.share for blame in left))
        return (
            f"{len(left)} more guilty group{'s' if len(left) > 1 else ''} with {share} together: report.json has all."
        )


def list_explained(rows: Sequence[Row], explanations: Sequence[Explanation]) -> tuple[Explained, ...]:
    """The explanations of a study's trials, that of the chosen one first, then in the order of the rows."""
    known = {explanation.trial: explanation for explanation in explanations}
    ordered = sorted(rows, key=lambda row: row.standing not in FIRST)
    return tuple(_place(known[row.trial.id], row, rows) for row in ordered if row.trial.id in known)


def _place(explanation: Explanation, row: Row, rows: Sequence[Row]) -> Explained:
    """One explanation with the mixed trial that is marked on it."""
    marked = pick_marked(row.trial, rows)
    plan = None if marked is None else marked.trial.candidate.plan
    formats = () if plan is None else tuple(find_format(group, plan) for group in explanation.graph.groups)
    return Explained(explanation, row, marked, formats)


def pick_marked(trial: Trial, rows: Sequence[Row]) -> Row | None:
    """The trial whose formats are marked on the graph of another: of its scheme and runtime, with groups in floats.

    The chosen one is preferred, then the trial itself, then the best by the objective.
    """
    own = trial.candidate

    def fits(row: Row) -> bool:
        other = row.trial.candidate
        same = (other.runtime, other.plan.scheme) == (own.runtime, own.plan.scheme)
        return same and bool(other.plan.overrides) and row.trial.evidence is not None

    found = [row for row in rows if fits(row)]
    return min(found, key=lambda row: (row.standing not in FIRST, row.trial.id != trial.id), default=None)


def find_format(group: NodeGroup, plan: Plan) -> Precision:
    """The format of a group's arithmetic in a plan."""
    kept = dict(plan.overrides)
    arithmetic = (group.name, *group.quantized, *group.nodes)
    return next((kept[name] for name in arithmetic if name in kept), plan.precision)


def _describe(blame: Blame, formats: Mapping[str, Precision]) -> GuiltyRow:
    """One group in texts."""
    one = blame.sensitivity
    fact = blame.activations[0] if blame.activations else None
    spans = ((fact.low, fact.high), (fact.limits.low, fact.limits.high)) if fact else ()
    values, limits = (f"{low:.3g} to {high:.3g}" for low, high in spans) if spans else (NOTHING, NOTHING)
    loss = one.alone.loss
    return GuiltyRow(
        rank=blame.rank,
        name=one.group.name,
        operators=" + ".join(one.group.operators),
        share=write_share(blame.share),
        loss=NOTHING if loss is None else f"{loss:.2g}",
        alone=write_db(one.alone),
        so_far=write_db(one.cumulative),
        kept=NOTHING if blame.kept is None else write_db(blame.kept),
        tensor=NOTHING if fact is None else fact.name,
        values=values,
        limits=limits,
        clipped=NOTHING if fact is None else f"{fact.clip_rate:.2%}",
        outlying=NOTHING if fact is None or fact.outlying is None else f"{fact.outlying:.1%}",
        format=formats[one.group.name].upper() if one.group.name in formats else "",
        proposals=blame.proposals,
    )


def write_share(share: float) -> str:
    """A share in percent; one that is not zero never reads as zero."""
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"  # noqa: PLR2004 - half of the last digit


def write_db(damage: Damage) -> str:
    """Signal to noise in decibels, in words where it is not finite."""
    if math.isinf(damage.noise):
        return "not finite"
    return "no noise" if damage.noise == 0 else f"{damage.sqnr_db:.1f} dB"
