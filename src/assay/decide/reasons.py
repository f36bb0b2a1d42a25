"""Why each trial was chosen or lost, in words with numbers."""

from __future__ import annotations

from collections.abc import Sequence

from assay.core.certificate import CertificateStatus
from assay.core.decision import DecisionStatus
from assay.core.trial import Trial, TrialStatus
from assay.decide import words
from assay.decide.assess import Assessment
from assay.decide.field import Field, count_flips
from assay.decide.finding import Verdict
from assay.decide.objective import SUPERLATIVES, compare_costs, describe_cost, near_words
from assay.decide.outcome import Outcome

MISSING = {
    TrialStatus.OK: "not measured",
    TrialStatus.FAILED: "failed",
    TrialStatus.UNSUPPORTED: "not supported",
    TrialStatus.BUILT: "built, not measured",
    TrialStatus.REFUSED: "refused",
}


def explain(field: Field, outcome: Outcome, trials: Sequence[Trial], fallbacks: Sequence[str]) -> dict[str, str]:
    """A reason for every trial, in the order of the trials."""
    assessed = {a.trial.id: a for a in field.assessments}
    reasons = {}
    for trial in trials:
        assessment = assessed.get(trial.id)
        if assessment is None:
            reasons[trial.id] = _explain_missing(trial)
            continue
        reason = _explain_measured(field, outcome, assessment)
        if trial.id in fallbacks:
            reason += f"; fallback {list(fallbacks).index(trial.id) + 1}"
        reasons[trial.id] = reason
    return reasons


def _explain_missing(trial: Trial) -> str:
    """Why there is no evidence."""
    what = MISSING[trial.status]
    return f"{what}: {trial.reason}" if trial.reason else what


def _explain_measured(field: Field, outcome: Outcome, assessment: Assessment) -> str:
    """Why a measured trial was chosen or lost."""
    if assessment is outcome.chosen:
        return _explain_chosen(field, assessment)
    if assessment.verdict is Verdict.FAILS:
        return "; ".join(f.words for f in assessment.findings if f.verdict is Verdict.FAILS)
    if assessment.verdict is Verdict.UNDECIDED:
        return _explain_undecided(field, outcome, assessment)
    if assessment is outcome.leader:
        return (
            f"meets every requirement and is the best so far ({describe_cost(field.requirements, assessment.evidence)})"
        )
    return _explain_beaten(field, outcome, assessment)


def _explain_chosen(field: Field, chosen: Assessment) -> str:
    """Why the chosen one won."""
    feasible = field.having(Verdict.MEETS)
    quickest = field.by_cost(feasible)[0]
    mine = describe_cost(field.requirements, chosen.evidence)
    superlative = SUPERLATIVES[field.requirements.objective]
    if quickest is chosen:
        count = len(feasible)
        among = "the only one that meets" if count == 1 else f"{superlative} of the {count} that meet"
        return f"chosen: {among} every requirement ({mine}); {chosen.quality.words}"
    theirs = describe_cost(field.requirements, quickest.evidence)
    near = near_words(field.requirements.objective)
    return (
        f"chosen: {near} {superlative} ({mine} against {theirs}) with {_advantage(chosen, quickest)}; "
        f"{chosen.quality.words}"
    )


def _advantage(one: Assessment, other: Assessment) -> str:
    """Why one is preferred within noise."""
    if one.trial.candidate.plan.precision.bits > other.trial.candidate.plan.precision.bits:
        return "the higher precision"
    if other.evidence.flags and not one.evidence.flags:
        return "what ran as asked"
    if count_flips(one) < count_flips(other):
        return f"fewer flips ({words.format_count(count_flips(one))} against {words.format_count(count_flips(other))})"
    return "no more flips"


def _explain_undecided(field: Field, outcome: Outcome, assessment: Assessment) -> str:
    """What the data cannot tell, and whether it would matter."""
    open_points = "; ".join(f.words for f in assessment.findings if f.verdict is Verdict.UNDECIDED)
    certificate = assessment.evidence.certificate
    if certificate is not None and certificate.status is CertificateStatus.UNTESTED:
        return assessment.quality.words
    text = f"undecided: {open_points}"
    if assessment is outcome.contender and outcome.items_needed is not None:
        return f"{text}; {words.format_about(outcome.items_needed)} items would settle it"
    leader = outcome.leader
    if assessment is not leader and not field.beats(assessment, leader):
        return f"{text}; it would not beat {_title(outcome)} anyway"
    return text


def _explain_beaten(field: Field, outcome: Outcome, assessment: Assessment) -> str:
    """Why one that meets every requirement was not chosen."""
    leader = outcome.leader
    mine = describe_cost(field.requirements, assessment.evidence)
    quickest = field.by_cost(field.having(Verdict.MEETS))[0]
    for rival, title in ((leader, _title(outcome)), (quickest, quickest.trial.id)):
        if field.beats(rival, assessment):
            comparison = compare_costs(field.requirements, assessment.evidence, rival.evidence)
            theirs = describe_cost(field.requirements, rival.evidence)
            return f"meets every requirement, but {comparison} {title} ({mine} against {theirs})"
    theirs = describe_cost(field.requirements, leader.evidence)
    return (
        f"meets every requirement, {near_words(field.requirements.objective)} {_title(outcome)} "
        f"({mine} against {theirs}), "
        f"which has {_advantage(leader, assessment)}"
    )


def _title(outcome: Outcome) -> str:
    """What the leader is called."""
    return "the chosen one" if outcome.status is DecisionStatus.CHOSEN else "the best so far"
