"""What the search over mixed plans chooses among: the time of each group in each format, and of the ways between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from assay.core.errors import RequestError
from assay.core.precision import Precision

TYPED = 3.0
"""Time of a conversion in a graph that types two float formats, over that where the runtime arranges the only one: on
OpenVINO 0.17 to 0.19 against 0.05 to 0.07 ns for an element (``bench/mixed_formats.py``)."""


TYPED_WORK = 1.15
"""Time of the groups and of what is in none in such a graph, over what they take where the runtime arranges the only
float format: measured 1.0 to 1.3, since what no group accounts for stays in FP32, and fewer nodes are fused."""


def count_floats(formats: Iterable[Precision]) -> int:
    """Different float formats among some."""
    return len(set(formats) - {Precision.INT8})


@dataclass(frozen=True, slots=True)
class NodeTime:
    """What one executed node of an artifact takes.

    Attributes:
        name: the runtime's name of the node.
        origins: names of the model's own nodes that it computes, as far as the runtime tells.
        milliseconds: of one call, median over the profiled calls.
    """

    name: str
    origins: tuple[str, ...]
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Boundary:
    """A tensor that groups hand on as integers where all of them are quantized.

    Between a group in integers and one in floats it must be converted, which takes time.

    Attributes:
        writer: index of the group that writes it; None where no group does, so that it comes in floats.
        readers: indices of the groups that read it, without the writer.
        elements: of the tensor, at the batch of the study.
        read_in_floats: something outside all groups reads it as well.
    """

    writer: int | None
    readers: tuple[int, ...]
    elements: int
    read_in_floats: bool = False

    def is_crossed(self, mix: Mix) -> bool:
        """Whether the tensor is wanted as integers and as floats, or in two floats, where groups have these formats."""
        if self.writer is not None and any(mix[reader] is not mix[self.writer] for reader in self.readers):
            return True
        reads = {mix[reader] is Precision.INT8 for reader in self.readers}
        writes = self.writer is not None and mix[self.writer] is Precision.INT8
        return (not writes and True in reads) or (writes and (self.read_in_floats or False in reads))


@dataclass(frozen=True, slots=True)
class CostTable:
    """Measured times of the groups of a plan on a target, per call.

    Attributes:
        groups: format -> milliseconds, for each group in the order in which they run.
        boundaries: between them.
        fixed_ms: what no group accounts for, whatever their formats.
        crossing_ms: for one element of a boundary that is converted, where all groups in floats have one format.
    """

    groups: tuple[Mapping[Precision, float], ...]
    boundaries: tuple[Boundary, ...]
    fixed_ms: float
    crossing_ms: float

    def price_crossing(self, formats: Iterable[Precision]) -> float:
        """Milliseconds for one element that is converted, in a plan with these formats."""
        return self.crossing_ms * (TYPED if count_floats(formats) > 1 else 1.0)

    def count_crossed(self, mix: Mix) -> int:
        """Elements that are converted where groups have these formats."""
        return sum(boundary.elements for boundary in self.boundaries if boundary.is_crossed(mix))

    def predict_ms(self, mix: Mix) -> float:
        """Milliseconds of one call where groups have these formats."""
        own = self.fixed_ms + sum(times[precision] for times, precision in zip(self.groups, mix, strict=True))
        longer = TYPED_WORK if count_floats(mix) > 1 else 1.0
        return longer * own + self.price_crossing(mix) * self.count_crossed(mix)


@dataclass(frozen=True, slots=True)
class MixedBudget:
    """What a search over mixed plans may take.

    Attributes:
        plans: most plans that are built for one INT8 form; none where 0.
        seconds: wall time of one search, after which no further plan is begun.
    """

    plans: int = 8
    seconds: float = 600.0

    def __post_init__(self) -> None:
        """Refuse what is no budget.

        Raises:
            RequestError: naming the key and its value.
        """
        if self.plans < 0:
            raise RequestError(f"mixed_plans = {self.plans} is negative", "give 0 for none, or more")
        if not self.seconds > 0:
            raise RequestError(f"mixed_seconds = {self.seconds} is not positive", "give a number of seconds")


Mix = tuple[Precision, ...]
"""The format of every group, in the order in which they run."""


@dataclass(frozen=True, slots=True)
class MixedPlan:
    """A mixed plan that a search tried.

    Attributes:
        trial: its id.
        kept: groups that it leaves in floats.
        predicted_ms: of one call, from the measured times of its groups.
        noise: relative power of the error that it brings to the outputs, simulated.
        share: of the tolerance that its bound was expected to take.
    """

    trial: str
    kept: int
    predicted_ms: float
    noise: float
    share: float


@dataclass(frozen=True, slots=True)
class MixedSearch:
    """What a search over mixed plans did with one INT8 form that strained the tolerance.

    Attributes:
        base: id of the form's trial.
        groups: that it quantizes.
        items: that their sensitivities were measured on.
        passes: runs of these items that this took.
        noise: of the form itself, as that of its mixed plans.
        drafts: mixed plans that were simulated without building them.
        seconds: wall time of the measurement, without the drafts and the plans' own trials.
        plans: in the order in which they were tried.
        stopped: why no further plan was tried.
    """

    base: str
    groups: int
    items: int
    passes: int
    noise: float
    drafts: int
    seconds: float
    plans: tuple[MixedPlan, ...]
    stopped: str
