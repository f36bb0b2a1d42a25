"""The decision in one sentence for a human."""

from __future__ import annotations

from collections.abc import Sequence

from assay.core.decision import DecisionStatus
from assay.core.precision import Precision
from assay.core.requirements import Objective, ToleranceKind
from assay.core.trial import Quality, Trial, TrialStatus
from assay.decide import words
from assay.decide.assess import Assessment, is_model_itself
from assay.decide.field import Field
from assay.decide.finding import Verdict
from assay.decide.objective import SUPERLATIVES, describe_cost
from assay.decide.outcome import Outcome


def phrase(field: Field, outcome: Outcome) -> str:
    """One sentence with runtime, precision, speed-up, loss, their bounds, the confidence and n."""
    if outcome.status is DecisionStatus.NONE:
        return _phrase_none(outcome.leader)
    if outcome.status is DecisionStatus.UNDECIDED:
        return _phrase_undecided(field, outcome)
    if is_model_itself(outcome.leader.trial):
        return _phrase_whole(field, outcome)
    return _phrase_reduced(field, outcome)


def mention_refused(trials: Sequence[Trial]) -> str:
    """A further sentence on what nothing was built of; empty where nothing was refused."""
    formats = sorted({t.candidate.plan.precision.upper() for t in trials if t.status is TrialStatus.REFUSED})
    if not formats:
        return ""
    return f" {' and '.join(formats)} from calibration items was refused, since these are unfit."


def _phrase_reduced(field: Field, outcome: Outcome) -> str:
    """A reduced precision is chosen."""
    chosen = outcome.leader
    text = f"{name(chosen)} {_speed(field, chosen)}{_objective(field, chosen)}"
    quality, loss = chosen.evidence.quality, chosen.loss
    if quality is not None and loss is not None:
        preposition = "of" if quality.higher_is_better else "in"
        text += (
            f" and {words.format_loss(quality, loss.point)} {preposition} {quality.metric} "
            f"({_bound(quality, loss.upper)}, {words.format_count(quality.n)} items), "
            f"within the tolerated {words.format_metric(quality, loss.margin)}{_relate(field, quality)}"
            f"{_mention_thresholds(field, chosen)}"
        )
    return f"{text}{_keep_constraints(field, chosen)}{_mention_contender(field, outcome)}."


def _phrase_whole(field: Field, outcome: Outcome) -> str:
    """FP32 itself is chosen: reduced precision does not pay, and why."""
    chosen = outcome.leader
    start = f"{name(chosen)} stays the choice"
    if not chosen.trial.reference:
        start += f" and {_speed(field, chosen)}"
    reduced = field.by_cost(a for a in field.assessments if a.trial.candidate.plan.precision is not Precision.FP32)
    kept = _keep_constraints(field, chosen)
    if not reduced:
        return f"{start}: no reduced precision could be measured here{kept}."
    return f"{start}: no reduced precision pays here, since {_why_not(field, chosen, reduced[0])}{kept}."


def _relate(field: Field, quality: Quality) -> str:
    """What a relative tolerance is a share of."""
    tolerance = field.requirements.tolerance
    if tolerance.kind is not ToleranceKind.RELATIVE:
        return ""
    return f" ({tolerance.amount * 100:g}% of FP32's {words.format_significant(quality.reference)})"


def _mention_thresholds(field: Field, chosen: Assessment) -> str:
    """The thresholds that go with the statement, where each variant has its own."""
    mine, theirs = chosen.evidence.thresholds, field.reference.evidence.thresholds
    if not any(one.items for one in mine):
        return ""
    if len(mine) == 1 and len(theirs) == 1:
        said = (words.format_significant(one.value) for one in (mine[0], theirs[0]))
        return ", each at its own threshold ({} and FP32's {})".format(*said)
    return f", each at its own {words.format_count(len(mine))} thresholds"


def _keep_constraints(field: Field, chosen: Assessment) -> str:
    """How the chosen one keeps the constraints, and with what confidence everything that is said of it holds at once.

    Each statement is false with its own probability at most, so that one of them is with their sum at most
    (Bonferroni), however they depend on each other.
    """
    if not chosen.constraints:
        return ""
    text = "".join(f"; {finding.words}" for finding in chosen.constraints)
    sure = [c.confidence or field.requirements.confidence for c in field.requirements.constraints if c.is_sampled]
    if chosen.loss is not None and not is_model_itself(chosen.trial):
        sure.append(field.requirements.confidence)
    together = 1 - sum(1 - one for one in sure)
    if len(sure) < 2 or together <= 0:  # noqa: PLR2004 - one statement has its own confidence
        return text
    count = "both" if len(sure) == 2 else f"all {len(sure)}"  # noqa: PLR2004 - the word for two
    confidence = words.format_confidence(round(together, 6))
    return f"{text}; {count} statements together hold with at least {confidence} confidence"


def _why_not(field: Field, chosen: Assessment, rival: Assessment) -> str:
    """Why the best reduced precision by the objective lost to FP32."""
    best = SUPERLATIVES[field.requirements.objective]
    said = f"the one with {best}, {name(rival)}, {_speed(field, rival)}"
    if not field.beats(rival, chosen):
        mine, theirs = (describe_cost(field.requirements, a.evidence) for a in (rival, chosen))
        return f"{said}, which is no gain beyond noise ({mine} against {theirs})"
    return f"{said} but {'; '.join(f.words for f in rival.findings if f.verdict is not Verdict.MEETS)}"


def _phrase_undecided(field: Field, outcome: Outcome) -> str:
    """The data cannot tell."""
    contender = outcome.contender or outcome.leader
    open_points = "; ".join(f.words for f in contender.findings if f.verdict is Verdict.UNDECIDED)
    text = (
        f"The data cannot tell whether {name(contender)}, which {_speed(field, contender)}, meets every requirement: "
    )
    text += open_points
    quality = contender.evidence.quality
    if contender.quality.verdict is Verdict.UNDECIDED and quality is not None:
        text += f", from {words.format_count(quality.n)} items"
    if outcome.items_needed is not None:
        text += f"; {words.format_about(outcome.items_needed)} items would settle it"
    if contender is outcome.leader:
        return f"{text}; nothing else is known to meet every requirement."
    return f"{text}; until then {name(outcome.leader)} is the best that meets every requirement."


def _phrase_none(best: Assessment) -> str:
    """Nothing fits."""
    failed = "; ".join(f.words for f in best.findings if f.verdict is Verdict.FAILS)
    return f"No variant meets every requirement; the best so far is {name(best)}: {failed}."


def name(assessment: Assessment) -> str:
    """Precision and runtime."""
    return words.name_shortly(assessment.trial.candidate)


def _speed(field: Field, assessment: Assessment) -> str:
    """Speed-up over the reference with its interval."""
    if assessment.trial.reference:
        return "is the FP32 reference"
    speedup = assessment.evidence.speedup
    text = f"is {words.format_ratio(speedup.value)} as fast as {name(field.reference)}"
    if speedup.low is None or speedup.high is None:
        return text
    return f"{text} ({words.format_ratio(speedup.low)} to {words.format_ratio(speedup.high)})"


def _objective(field: Field, assessment: Assessment) -> str:
    """The objective's number, where it is not the latency that the speed-up already tells."""
    objective = field.requirements.objective
    if objective is Objective.LATENCY:
        return ""
    return f", has {SUPERLATIVES[objective]} ({describe_cost(field.requirements, assessment.evidence)})"


def _bound(quality: Quality, upper: float) -> str:
    """The loss's upper bound."""
    confidence = words.format_confidence(quality.confidence)
    if upper < 0:
        return f"a gain of at least {words.format_metric(quality, -upper)} with {confidence} confidence"
    return f"at most {words.format_metric(quality, upper)} with {confidence} confidence"


def _mention_contender(field: Field, outcome: Outcome) -> str:
    """A better trial that the data cannot certify."""
    contender = outcome.contender
    if contender is None:
        return ""
    cost = describe_cost(field.requirements, contender.evidence)
    called = name(contender)
    if called == name(outcome.leader):
        called = words.name_candidate(contender.trial.candidate)
    text = f"; {called} would be better ({cost}) but is undecided"
    if outcome.items_needed is None:
        return text
    return f"{text}, which {words.format_about(outcome.items_needed)} items would settle"
