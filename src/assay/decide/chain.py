"""What takes over when the chosen artifact may not serve any more."""

from __future__ import annotations

from assay.core.precision import Precision
from assay.decide.assess import Assessment, is_model_itself
from assay.decide.field import Field
from assay.decide.finding import Verdict

HALF_BITS = 16


def chain_fallbacks(field: Field, chosen: Assessment) -> tuple[str, ...]:
    """Trial ids in the order they take over, by rising precision; the chain ends in FP32.

    A 16-bit one is on it where it meets every requirement and beats the FP32 at the end. That FP32 need not meet the
    constraints: when nothing else may serve, slow and right is better than nothing.
    """
    precision = chosen.trial.candidate.plan.precision
    if precision is Precision.FP32 and is_model_itself(chosen.trial):
        return ()
    last = _last(field, chosen)
    middle = field.best(
        a
        for a in field.having(Verdict.MEETS)
        if a.trial.candidate.plan.precision.bits == HALF_BITS > precision.bits and field.beats(a, last)
    )
    return (last.trial.id,) if middle is None else (middle.trial.id, last.trial.id)


def _last(field: Field, chosen: Assessment) -> Assessment:
    """The FP32 at the end: on the chosen one's runtime where its quality is not in doubt, else the reference."""
    runtime = chosen.trial.candidate.runtime
    whole = [
        a
        for a in field.assessments
        if is_model_itself(a.trial) and a.quality.verdict is Verdict.MEETS and a.trial.candidate.runtime == runtime
    ]
    return field.best(whole) or field.reference
