"""The outcome of a field: who is chosen, or who is best while none is, and whom more data could help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from assay.core.decision import DecisionStatus
from assay.core.trial import Quality
from assay.decide.assess import Assessment, is_model_itself
from assay.decide.field import Field
from assay.decide.finding import Verdict

ItemPlanner = Callable[[Quality, float, float], int | None]
"""From a quality, a margin and a confidence to the items that would settle it, or None."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer before it is put in words.

    Attributes:
        leader: the chosen one, or the best so far where none is chosen.
        contender: the undecided trial that would be chosen instead, if the data could tell that all of them pass.
        items_needed: evaluation items that would settle the contender.
    """

    status: DecisionStatus
    leader: Assessment
    contender: Assessment | None = None
    items_needed: int | None = None

    @property
    def chosen(self) -> Assessment | None:
        """The leader where it is chosen."""
        return self.leader if self.status is DecisionStatus.CHOSEN else None


def settle(field: Field, plan_items: ItemPlanner) -> Outcome:
    """Chosen, none or undecided.

    Undecided where only FP32 could be chosen while an undecided trial would beat it: then the answer hangs on what
    the data cannot tell. Where a reduced precision is certified, it is chosen, and a faster undecided one is named.
    """
    leader = field.best(field.having(Verdict.MEETS))
    undecided = tuple(a for a in field.having(Verdict.UNDECIDED) if a.is_hopeful)
    if leader is None and not undecided:
        return Outcome(DecisionStatus.NONE, _nearest(field))
    contenders = [a for a in undecided if leader is None or field.beats(a, leader)]
    contender = field.best(contenders)
    items = None if contender is None else _items(field, contender, plan_items)
    if leader is None:
        return Outcome(DecisionStatus.UNDECIDED, contender or undecided[0], contender, items)
    hangs = contender is not None and is_model_itself(leader.trial)
    status = DecisionStatus.UNDECIDED if hangs else DecisionStatus.CHOSEN
    return Outcome(status, leader, contender, items)


def _items(field: Field, assessment: Assessment, plan_items: ItemPlanner) -> int | None:
    """Items that would settle one trial's quality, where that is what is undecided."""
    quality, loss = assessment.evidence.quality, assessment.loss
    if quality is None or loss is None or assessment.quality.verdict is not Verdict.UNDECIDED:
        return None
    return plan_items(quality, loss.margin, field.requirements.confidence)


def _nearest(field: Field) -> Assessment:
    """The best of those that fail: quality kept before all, then the least excess over a limit."""
    return min(
        field.assessments,
        key=lambda a: (
            a.quality.verdict is not Verdict.MEETS,
            max(finding.excess for finding in a.findings),
            field.cost(a),
            a.trial.id,
        ),
    )
