"""From the trials of a study to its decision."""

from __future__ import annotations

from collections.abc import Sequence

from assay.core.decision import Decision, DecisionStatus
from assay.core.requirements import Requirements
from assay.core.trial import Trial
from assay.decide.chain import chain_fallbacks
from assay.decide.field import Field
from assay.decide.outcome import ItemPlanner, settle
from assay.decide.reasons import explain
from assay.decide.resolve import plan_items as approximate_items
from assay.decide.sentence import mention_refused, phrase


def conclude(
    requirements: Requirements, trials: Sequence[Trial], plan_items: ItemPlanner = approximate_items
) -> Decision:
    """Choose the best trial that is proven to meet every requirement.

    The reference and every FP32 trial that really ran in FP32 are the model itself: they pass the quality gate unless
    they are proven worse. All others pass when the bound of their loss is within the tolerance. Latency is held to
    its constraints by the upper bound of its interval, throughput by the lower. The order of the trials does not
    matter.

    Args:
        requirements: tolerance, constraints and objective.
        trials: all of a study, one of them the reference; ids are unique.
        plan_items: how many items would settle a quality; a normal approximation unless given.

    Raises:
        MeasurementError: the reference was not measured.
    """
    field = Field.of(requirements, trials)
    outcome = settle(field, plan_items)
    chosen = outcome.chosen
    fallbacks = () if chosen is None else chain_fallbacks(field, chosen)
    return Decision(
        status=outcome.status,
        chosen=None if chosen is None else chosen.trial.id,
        fallbacks=fallbacks,
        sentence=phrase(field, outcome) + mention_refused(trials),
        best=outcome.leader.trial.id if outcome.status is not DecisionStatus.CHOSEN else None,
        front=field.front(),
        reasons=explain(field, outcome, trials, fallbacks),
        items_needed=outcome.items_needed,
    )
