"""Which candidates are certified, and in what order, from what the search items showed.

Testing one hypothesis after the other, each at the full error rate, and stopping at the first that is not certified
keeps the chance of any false certificate at that rate (fixed-sequence testing; Angelopoulos et al., Learn then Test,
Annals of Applied Statistics 2025). The order may depend on everything but the certification items: so those candidates
are taken that nothing else beats in both the loss on the search items and the objective, the safest first (Pareto
testing; Laufer-Goldshtein et al., Efficiently controlling multiple risks with Pareto testing, ICLR 2023).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from assay.core.requirements import Requirements
from assay.core.trial import Trial
from assay.decide import words
from assay.decide.assess import Assessment, Loss, describe_loss, is_model_itself
from assay.decide.field import Field, count_flips
from assay.decide.finding import Verdict
from assay.decide.objective import describe_cost

EQUAL_RISK = 0.25
"""Share of the margin by which one candidate may look riskier than a dearer one and still take its place."""
HARMLESS = 0.5
"""Share of the margin up to which a loss on the search items speaks against nothing."""


@dataclass(frozen=True, slots=True)
class TestOrder:
    """What is to be certified.

    Attributes:
        order: trial ids in the order of testing.
        worse: trial id -> how the search items prove it worse.
        untested: trial id -> why no item is spent on it.
    """

    __test__ = False  # not a test case, whatever its name

    order: tuple[str, ...]
    worse: Mapping[str, str] = field(default_factory=dict)
    untested: Mapping[str, str] = field(default_factory=dict)


def order_tests(requirements: Requirements, trials: Sequence[Trial]) -> TestOrder:
    """The candidates worth certifying, the safest first, each cheaper than all before it.

    FP32 is the model itself and needs no certificate.

    Args:
        requirements: tolerance, constraints and objective.
        trials: measured ones, with their quality on the search items; one is the reference.

    Raises:
        MeasurementError: the reference was not measured.
    """
    field_ = Field.of(requirements, trials)
    floor = _find_floor(field_)
    worse: dict[str, str] = {}
    untested: dict[str, str] = {}
    worth: list[Assessment] = []
    for assessment in field_.assessments:
        if assessment.trial.reference or is_model_itself(assessment.trial):
            continue
        if assessment.quality.verdict is Verdict.FAILS:
            worse[assessment.trial.id] = _describe_search(assessment)
            continue
        reason = _find_reason(field_, assessment, floor)
        if reason:
            untested[assessment.trial.id] = reason
        else:
            worth.append(assessment)
    chain: list[Assessment] = []
    for assessment in sorted(worth, key=_rank):
        untested |= _take(field_, chain, assessment)
    return TestOrder(tuple(a.trial.id for a in chain), worse, untested)


def _take(field_: Field, chain: list[Assessment], assessment: Assessment) -> dict[str, str]:
    """Put an assessment at the end of the chain where it pays; tells who is left out, and why."""
    better = next((kept for kept in chain if not field_.beats(assessment, kept)), None)
    if better is not None and _is_preferred(field_, assessment, better):
        # It would be chosen over the other, so it has to be tested, and before it.
        chain.insert(chain.index(better), assessment)
        return {}
    if better is not None:
        cost = describe_cost(field_.requirements, assessment.evidence)
        best = describe_cost(field_.requirements, better.evidence)
        named = words.name_candidate(better.trial.candidate)
        reason = f"{named} looks no riskier on the search items and is no dearer ({best} against {cost})"
        return {assessment.trial.id: reason}
    left: dict[str, str] = {}
    while chain and _replaces(assessment, chain[-1]):
        named = words.name_candidate(assessment.trial.candidate)
        left[chain.pop().trial.id] = f"{named} is cheaper, and hardly riskier on the search items"
    chain.append(assessment)
    return left


def _is_preferred(field_: Field, assessment: Assessment, rival: Assessment) -> bool:
    """Whether one that the objective cannot tell from a rival has the higher precision, and no loss worth the name.

    On a few search items a lower precision may look safer by luck; where both are as fast, nobody would deploy it.
    """
    higher = assessment.trial.candidate.plan.precision.bits > rival.trial.candidate.plan.precision.bits
    if not higher or assessment.loss is None or field_.beats(rival, assessment):
        return False
    return assessment.loss.point <= HARMLESS * assessment.loss.margin


def _replaces(cheaper: Assessment, dearer: Assessment) -> bool:
    """Whether a cheaper candidate is hardly riskier than a dearer one of the same number of bits."""
    if cheaper.loss is None or dearer.loss is None:
        return False
    same = cheaper.trial.candidate.plan.precision.bits == dearer.trial.candidate.plan.precision.bits
    return same and _judge_risk(cheaper.loss) - _judge_risk(dearer.loss) <= EQUAL_RISK * cheaper.loss.margin


def _judge_risk(loss: Loss) -> float:
    """The bound of a loss on the search items, where a gain counts for nothing.

    What moves many answers gains on some draw of a few items, and among many candidates one always does. On other items
    it gains nothing: it must not be tested before one that moves no answer, and keep it from its test by failing.
    """
    return loss.upper + max(0.0, -loss.point)


def _rank(assessment: Assessment) -> tuple[float, float, int, int, str]:
    """The safest first: by the risk that the search items show, then the loss itself, the higher precision.

    Where the items are too few for an interval, all bounds are alike and the loss orders.
    """
    loss = assessment.loss
    risk, point = (0.0, 0.0) if loss is None else (_judge_risk(loss), max(0.0, loss.point))
    bits = assessment.trial.candidate.plan.precision.bits
    return (round(risk, 12), point, -bits, count_flips(assessment), assessment.trial.id)


def _find_floor(field_: Field) -> Assessment | None:
    """The best FP32 that may keep the constraints: what does not beat it needs no certificate."""
    return field_.best(
        a
        for a in field_.assessments
        if is_model_itself(a.trial)
        and a.quality.verdict is Verdict.MEETS
        and all(finding.verdict is not Verdict.FAILS for finding in a.constraints)
    )


def _find_reason(field_: Field, assessment: Assessment, floor: Assessment | None) -> str:
    """Why no item is spent on a candidate; empty where some are."""
    broken = next((finding for finding in assessment.constraints if finding.verdict is Verdict.FAILS), None)
    if broken is not None:
        return f"{broken.words}, so nothing hangs on its certificate"
    if floor is not None and not field_.beats(assessment, floor):
        cost, best = (describe_cost(field_.requirements, a.evidence) for a in (assessment, floor))
        named = words.name_candidate(floor.trial.candidate)
        return f"it is no better than {named}, which is the model itself ({cost} against {best})"
    return ""


def _describe_search(assessment: Assessment) -> str:
    """How the search items prove a candidate worse."""
    quality, loss = assessment.evidence.quality, assessment.loss
    if quality is None or loss is None:
        return assessment.quality.words
    return f"on {words.format_count(quality.n)} search items it {describe_loss(quality, loss)}"
