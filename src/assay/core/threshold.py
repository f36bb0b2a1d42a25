"""Where a score begins to count as positive: what is asked for, and what each variant got."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from enum import StrEnum

from assay.core.errors import RequestError

SAME_SHARE = "same share"
"""Behind a goal: variants flag the share that the reference flags."""
BINARY_LABEL = -1
"""Stands for the one positive class of a task of two classes, where others number their labels."""


class ThresholdGoal(StrEnum):
    """What a threshold is chosen for."""

    FIXED = "fixed"
    MAX_F1 = "max-f1"
    RECALL = "recall"
    PRECISION = "precision"


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """How the thresholds of a study are found.

    Attributes:
        amount: the threshold itself (fixed), or the least recall or precision; 0 for the highest F1.
        text: as the user wrote it.
        matched: the goal is the reference's alone; a variant gets the threshold above which the same share of the
            tuning items lies.
    """

    goal: ThresholdGoal
    amount: float
    text: str
    matched: bool = False

    @property
    def is_tuned(self) -> bool:
        """Each variant gets a threshold of its own, from items apart."""
        return self.matched or self.goal is not ThresholdGoal.FIXED

    @classmethod
    def parse(cls, text: str) -> ThresholdRule:
        """Read ``0.5``, ``max-f1``, ``recall >= 0.9`` or ``precision >= 95%``; each may end in ``, same share``.

        Raises:
            RequestError: the text has another form, or asks for what no threshold can give.
        """
        goal, comma, share = text.partition(",")
        if not comma:
            return cls._parse_goal(text)
        if share.split() != SAME_SHARE.split():
            message = f"threshold {text!r}: {share.strip()!r} is not {SAME_SHARE!r}"
            raise RequestError(message, "write for example 'max-f1, same share'")
        return replace(cls._parse_goal(goal), matched=True, text=text.strip())

    @classmethod
    def _parse_goal(cls, text: str) -> ThresholdRule:
        """The goal alone."""
        plain = text.strip()
        if plain == ThresholdGoal.MAX_F1:
            return cls(ThresholdGoal.MAX_F1, 0.0, plain)
        number = r"(?P<number>[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"
        if match := re.fullmatch(number, plain):
            return cls(ThresholdGoal.FIXED, _read_finite(match["number"], text), plain)
        match = re.fullmatch(rf"(?P<goal>recall|precision)\s*>=\s*{number}\s*(?P<unit>%?)", plain)
        if match is None:
            raise RequestError(
                f"threshold {text!r} is neither a number nor a goal",
                "write for example 0.5, 'max-f1', 'recall >= 0.9' or 'precision >= 0.95'",
            )
        share = _read_finite(match["number"], text) / (100 if match["unit"] else 1)
        if not 0 < share <= 1:
            raise RequestError(f"threshold {text!r}: {share:g} is no share", "give more than 0 and at most 1")
        return cls(ThresholdGoal(match["goal"]), share, plain)


@dataclass(frozen=True, slots=True)
class Threshold:
    """The threshold of one variant and one label: positive is what scores above it.

    Attributes:
        label: number of the label; ``BINARY_LABEL`` for the positive class of two.
        value: in the unit of the score: a logit, a difference of two logits, or a probability.
        low: threshold that 5% of other draws of tuning items would fall below; ``value`` where it was given.
        high: threshold that 5% of other draws of tuning items would exceed.
        f1: on the tuning items, which flatter it.
        precision: on the tuning items.
        recall: on the tuning items.
        spread: F1 that the thresholds of other draws lose on the tuning items, on average; 0 where it was given.
        items: tuning items; 0 where the threshold was given.
        positives: positive ones among them.
        met: the goal was reached on the tuning items.
    """

    label: int
    value: float
    low: float
    high: float
    f1: float = 0.0
    precision: float = 0.0
    recall: float = 0.0
    spread: float = 0.0
    items: int = 0
    positives: int = 0
    met: bool = True


def _read_finite(number: str, text: str) -> float:
    """A finite number.

    Raises:
        RequestError: it is too large.
    """
    value = float(number)
    if not math.isfinite(value):
        raise RequestError(f"threshold {text!r} is not finite", "give a number, such as 0.5")
    return value
