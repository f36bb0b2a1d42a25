"""The answer of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class DecisionStatus(StrEnum):
    """Kind of answer."""

    CHOSEN = "chosen"
    NONE = "none"
    UNDECIDED = "undecided"

    @property
    def exit_code(self) -> int:
        """Exit status of the commands that end with this answer."""
        return {DecisionStatus.CHOSEN: 0, DecisionStatus.NONE: 10, DecisionStatus.UNDECIDED: 11}[self]


@dataclass(frozen=True, slots=True)
class Decision:
    """The chosen trial or none, its fallback chain, and a reason for every trial that lost.

    Attributes:
        chosen: trial id, or None.
        fallbacks: trial ids in the order they take over, the last one FP32.
        sentence: the answer in words, with its numbers.
        best: the best trial so far where none was chosen.
        front: trial ids on the Pareto front of quality against the objective.
        reasons: trial id -> why it was chosen or lost.
        items_needed: how many evaluation items would decide, where the data cannot tell.
    """

    status: DecisionStatus
    chosen: str | None
    fallbacks: tuple[str, ...]
    sentence: str
    best: str | None
    front: tuple[str, ...]
    reasons: Mapping[str, str]
    items_needed: int | None = None
