"""Tensors that pass between groups: where one group is quantized and the next is not, they must be converted."""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx_ir as ir

from assay.core.mixing import Boundary
from assay.graph.groups import Grouping


def find_boundaries(bound: ir.Model, grouping: Grouping) -> tuple[Boundary, ...]:
    """Tensors with quantize/dequantize pairs that concern more than one group, in the graph's order.

    A tensor that comes in floats whatever the groups are, and that one group alone reads, is no boundary: its
    conversion is part of that group.

    Args:
        bound: the float model with the input shapes of a call, as ``bind_shapes`` gives it; left as it is. An axis
            whose size depends on the data counts as one element.
        grouping: of the plan that quantizes all groups.
    """
    owner = {name: index for index, group in enumerate(grouping.groups) for name in group.nodes}
    reads = {
        index: {name for name in grouping.tensors[group.name] if name in grouping.sources}
        for index, group in enumerate(grouping.groups)
    }
    values = [value for value in _list_values(bound) if value.name in grouping.sources]
    found = [_describe(value, owner, reads) for value in values]
    return tuple(one for one in found if _is_shared(one))


def _is_shared(boundary: Boundary) -> bool:
    """Whether a tensor concerns more than one group, or a group that writes it and somebody outside."""
    if boundary.writer is None:
        return len(boundary.readers) > 1
    return bool(boundary.readers) or boundary.read_in_floats


def _list_values(model: ir.Model) -> list[ir.Value]:
    """Inputs of a graph, then all that its nodes write."""
    return [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]


def _describe(value: ir.Value, owner: Mapping[str, int], reads: Mapping[int, set[str]]) -> Boundary:
    """One tensor, by the groups that write and read it."""
    producer, name = value.producer(), str(value.name)
    writer = None if producer is None else owner.get(str(producer.name))
    readers: set[int] = set()
    floats = value.is_graph_output()
    for use in value.uses():
        group = owner.get(str(use.node.name)) if use.node.graph is value.graph else None
        if group is None:
            floats = True
        elif group != writer:
            readers.add(group)
            floats |= name not in reads[group]
    return Boundary(writer, tuple(sorted(readers)), count_elements(value), read_in_floats=floats)


def count_elements(value: ir.Value) -> int:
    """Elements of a tensor; an axis of unknown size counts once."""
    return 0 if value.shape is None else math.prod(axis for axis in value.shape if isinstance(axis, int))


def size_tensors(bound: ir.Model) -> Mapping[str, int]:
    """Elements of every activation of the main graph, by its name."""
    return {str(value.name): count_elements(value) for value in _list_values(bound)}
