"""The first, short timing of every form: forms that execute the same graph are as fast as the fastest of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from assay.core.plan import Candidate
from assay.core.precision import RangeMethod
from assay.studies.attempt import Attempt


def list_quick_times(attempts: Sequence[Attempt]) -> dict[str, float]:
    """Id -> milliseconds of one call, of every form that ran.

    Ranges and repairs change numbers and not what is executed, or hardly; a short timing beside other work may be
    twice too long, and must not decide between such forms. So each has the time of the fastest of its kind.

    Args:
        attempts: all so far.
    """
    fastest: dict[Candidate, float] = {}
    ran = [(attempt.candidate, attempt.probe.quick_ms) for attempt in attempts if attempt.probe is not None]
    for candidate, milliseconds in ran:
        kind = describe_kind(candidate)
        fastest[kind] = min(milliseconds, fastest.get(kind, milliseconds))
    return {candidate.id: fastest[describe_kind(candidate)] for candidate, _ in ran}


def describe_kind(candidate: Candidate) -> Candidate:
    """The candidate without what does not change the graph that is executed."""
    scheme, floats = candidate.plan.scheme, candidate.plan.floats
    if floats is not None:
        same = replace(floats, ranges=RangeMethod.MIN_MAX)
        return replace(candidate, plan=replace(candidate.plan, floats=same))
    if scheme is None:
        return candidate
    plain = replace(scheme, ranges=RangeMethod.MIN_MAX, repairs=())
    return replace(candidate, plan=replace(candidate.plan, scheme=plain))
