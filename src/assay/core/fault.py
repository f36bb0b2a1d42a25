"""A fault: an output of an artifact that is broken whatever the metric says of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """What is wrong with a tensor or with some of its channels."""

    NONFINITE = "non-finite"
    ALL_ZERO = "all zero"
    CONSTANT = "constant"
    SATURATED = "saturated"


@dataclass(frozen=True, slots=True)
class Fault:
    """A tensor, or some channels of it, that went dead or ceased to be numbers where the reference is healthy.

    Attributes:
        tensor: its name in the model.
        axis: of the channels; 0, the items' own, where the whole tensor is meant.
        channels: the guilty ones, rising; empty where the whole tensor is.
        of: channels along the axis.
        items: over how many items it was seen.
        words: the fault in words, with what the reference does there.
        nodes: those of the model at which the fault begins, in the graph's order; empty where none was found.
    """

    kind: FaultKind
    tensor: str
    axis: int
    channels: tuple[int, ...]
    of: int
    items: int
    words: str
    nodes: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Every channel is meant."""
        return not self.channels
