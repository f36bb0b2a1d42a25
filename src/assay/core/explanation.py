"""An explanation: what every group of an INT8 plan costs the model, and how the groups hang together."""

from __future__ import annotations

from dataclasses import dataclass

from assay.core.plan import Scheme
from assay.core.sensitivity import Blame, NodeGroup, Sensitivities


@dataclass(frozen=True, slots=True)
class GroupGraph:
    """Groups of nodes and the ways between them.

    Attributes:
        groups: in an order in which they can run: those that the plan quantizes, and those that it keeps in floats,
            whose ``quantized`` is empty.
        edges: pairs of indices, each pair once, in rising order: the first group's output is read by the second,
            directly or through nodes in no group.
    """

    groups: tuple[NodeGroup, ...]
    edges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a plan's groups cost.

    Attributes:
        trial: id of the trial that was explained.
        scheme: of its plan.
        metric: whose item scores the loss is of, where the task has them.
        blames: all quantized groups, the worst first.
        sensitivities: of the same groups, in the order in which they run.
        graph: these groups, and those that the plan keeps.
    """

    trial: str
    scheme: Scheme
    metric: str
    blames: tuple[Blame, ...]
    sensitivities: Sensitivities
    graph: GroupGraph
