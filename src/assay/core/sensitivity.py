"""How much of a model's answer each group of nodes costs when it is quantized, and what is to be done about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from assay.core.calibration import TensorRange


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """Nodes that a runtime executes together: one precision for all of them.

    Attributes:
        name: of the node that the others go with, the model's own.
        nodes: names of all its nodes, in the graph's order, with activations and biases that run along in floats.
        operators: of these nodes, in the same order.
        quantized: names of those that have integer operands.
    """

    name: str
    nodes: tuple[str, ...]
    operators: tuple[str, ...]
    quantized: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Damage:
    """What a setting of the quantizers does to the outputs.

    Attributes:
        noise: power of the error relative to that of the float outputs, mean over the outputs; infinite where a
            value is not finite that was.
        loss: how far the answers moved, mean over the items: of the metric's item score, or of each answer's
            certainty; None where the task gives neither.
    """

    noise: float
    loss: float | None

    @property
    def sqnr_db(self) -> float:
        """Ratio of signal to quantization noise in decibels; infinite without noise."""
        if self.noise == 0:
            return math.inf
        return -math.inf if math.isinf(self.noise) else -10 * math.log10(self.noise)


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What quantizing one group does.

    Attributes:
        alone: it alone is quantized.
        cumulative: it and all groups before it.
    """

    group: NodeGroup
    alone: Damage
    cumulative: Damage


@dataclass(frozen=True, slots=True)
class Sensitivities:
    """Of all groups of a plan, in the order in which they run.

    Attributes:
        together: all groups are quantized.
        items: that this was measured on.
        passes: runs of the whole set of items that it took.
        seconds: wall time of these passes.
    """

    groups: tuple[Sensitivity, ...]
    together: Damage
    items: int
    passes: int
    seconds: float


class Mend(StrEnum):
    """What may keep a group from losing so much."""

    KEEP = "keep"
    """Leave the group in a float format."""
    PER_CHANNEL = "per-channel"
    """One weight scale for each output channel."""
    RANGE = "range"
    """Another range method for the activation."""
    REPAIR = "repair"
    """A repair of the enumeration ``Repair``."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A mend in words.

    Attributes:
        text: what to do.
        reason: which observation speaks for it.
    """

    mend: Mend
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """What eight bits do to one activation, as far as its own values tell.

    Attributes:
        name: of the tensor.
        limits: clipping range of the plan.
        low: smallest value on the items.
        high: largest.
        clip_rate: share of the items' values other than zero that lie outside the limits.
        clipping: noise power of what is clipped, relative to the tensor's power.
        rounding: noise power of rounding, relative to the tensor's power; where channels were observed, the mean over
            those that are not zero of the noise relative to each one's own power.
        outlying: share of channels that reach far beyond the others; None where channels were not observed.
        dead: share of channels that are zero throughout; None likewise.
    """

    name: str
    limits: TensorRange
    low: float
    high: float
    clip_rate: float
    clipping: float
    rounding: float
    outlying: float | None = None
    dead: float | None = None

    @property
    def noise(self) -> float:
        """Relative noise power of clipping and rounding together."""
        return self.clipping + self.rounding


@dataclass(frozen=True, slots=True)
class WeightFacts:
    """What eight bits do to one constant weight.

    Attributes:
        node: that it belongs to.
        noise: power of the rounding error relative to the weight's, mean over output channels that are not zero.
        spread: largest magnitude of the widest output channel over that of the median one.
        per_channel: it has one scale for each output channel.
    """

    node: str
    noise: float
    spread: float
    per_channel: bool


@dataclass(frozen=True, slots=True)
class Blame:
    """One group's place among those that cost the model its answers.

    Attributes:
        rank: 1 for the worst.
        share: of the sum over all groups alone, of the loss where the task gives one, else of the noise.
        kept: all groups but this one are quantized; None where that was not measured.
        activations: that the group reads or writes as integers, the noisiest first.
        weights: of the group, the noisiest first.
        proposals: what may mend it, the likeliest first.
    """

    rank: int
    share: float
    sensitivity: Sensitivity
    kept: Damage | None
    activations: tuple[TensorFacts, ...]
    weights: tuple[WeightFacts, ...]
    proposals: tuple[Proposal, ...]
