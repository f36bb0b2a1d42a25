"""What one requirement says of a trial."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from assay.core.requirements import Constraint
from assay.decide import words


class Verdict(StrEnum):
    """Answer of one gate."""

    MEETS = "meets"
    FAILS = "fails"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one requirement says of a trial.

    Attributes:
        words: with the measured numbers and the limit.
        excess: measured over limit where it fails or is undecided; 1 where it meets the requirement.
    """

    verdict: Verdict
    words: str
    excess: float = 1.0


def judge_bytes(constraint: Constraint, name: str, measured: int) -> Finding:
    """Memory and size are counted, not sampled: they have no interval."""
    meets = measured <= constraint.limit
    relation = "keeps" if meets else "misses"
    text = f"{name} {words.format_bytes(measured)} {relation} '{constraint.text}'"
    if meets:
        return Finding(Verdict.MEETS, text)
    return Finding(Verdict.FAILS, text, divide(measured, constraint.limit))


def divide(numerator: float, denominator: float) -> float:
    """A quotient that is infinite where nothing is allowed."""
    return numerator / denominator if denominator > 0 else math.inf
