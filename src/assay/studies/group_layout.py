"""What follows from a plan's groups and the shapes of a call, before anything is measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from assay.core.mixing import Boundary
from assay.core.tensor import Feeds
from assay.graph.arithmetic import bind_shapes, count_node
from assay.graph.boundaries import find_boundaries, size_tensors
from assay.graph.group_signatures import sign_groups, sign_rest
from assay.graph.groups import Grouping
from assay.graph.quantize import name_pair
from assay.measure.group_times import Owners

MAC_ELEMENTS = 1 / 16
"""Elements that are written in the time of one multiply-accumulate, roughly, where nothing was measured."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The groups of a plan at the shapes of a call.

    Attributes:
        owners: of nodes.
        boundaries: between groups.
        weights: what each group is expected to take, in any unit.
        foreign: elements that each group reads as integers though no group writes them.
        signatures: of the groups.
        rest: signature of all that no group has.
    """

    owners: Owners
    boundaries: tuple[Boundary, ...]
    weights: tuple[float, ...]
    foreign: tuple[int, ...]
    signatures: tuple[str, ...]
    rest: str


def lay_out(grouping: Grouping, model: ir.Model, feeds: Feeds) -> Layout:
    """Look at the groups of a plan.

    Args:
        grouping: of the plan that quantizes all groups.
        model: the float model that is divided; left as it is.
        feeds: of one call.
    """
    bound = bind_shapes(model, {name: array.shape for name, array in feeds.items()})
    sizes = size_tensors(bound)
    weights = {
        str(node.name): (count_node(node) or 0) * MAC_ELEMENTS + sum(sizes[str(value.name)] for value in node.outputs)
        for node in bound.graph
    }
    groups = {name: index for index, group in enumerate(grouping.groups) for name in group.nodes}
    owners = Owners(
        groups=groups,
        pairs=list_pairs(grouping),
        outside={str(node.name) for node in model.graph} - set(groups),
        weights=weights,
        count=len(grouping.groups),
    )
    written = {str(value.name) for node in bound.graph if node.name in groups for value in node.outputs}
    return Layout(
        owners=owners,
        boundaries=find_boundaries(bound, grouping),
        weights=tuple(sum(weights.get(name, 0.0) for name in group.nodes) for group in grouping.groups),
        foreign=tuple(
            sum(sizes.get(tensor, 0) for tensor in grouping.tensors[group.name] if tensor not in written)
            for group in grouping.groups
        ),
        signatures=sign_groups(bound, grouping),
        rest=sign_rest(bound, grouping),
    )


def list_pairs(grouping: Grouping) -> Mapping[str, tuple[int, ...]]:
    """Node that quantizes or dequantizes a tensor -> indices of the groups that have the tensor as integers."""
    found: dict[str, tuple[int, ...]] = defaultdict(tuple)
    for index, group in enumerate(grouping.groups):
        for tensor in grouping.tensors[group.name]:
            for name in name_pair(tensor):
                found[name] = (*found[name], index)
    return dict(found)
