"""Groups of tensors whose channels can be scaled together, so that the weights around them take the factor up.

A group starts at a node that can multiply its output's channels by a factor at no cost (its weights or its affine
parameters take it), spreads through nodes that let a factor through, and ends at nodes whose weights divide it out
again. Sums join the groups of their operands. Where anything else reads or writes one of the tensors, none of them
can be scaled.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir

from assay.graph.channels import STANDARD, find_input_axis, is_linear
from assay.graph.layouts import Layout, count_positions, pass_layout, read_dims, trace_layout
from assay.graph.quantize_roles import read_constant

NORMS = {
    "LayerNormalization": (1, 2), "RMSNormalization": (1, None), "SimplifiedLayerNormalization": (1, None),
    "SkipLayerNormalization": (2, 3), "SkipSimplifiedLayerNormalization": (2, None),
    "BatchNormalization": (1, 2), "InstanceNormalization": (1, 2), "GroupNormalization": (1, 2),
}  # fmt: skip
"""Normalizations -> inputs that hold scale and shift of each channel."""
NORM_DOMAINS = STANDARD | {"com.microsoft"}
CHANNEL_FIRST = frozenset({"BatchNormalization", "InstanceNormalization", "GroupNormalization"})
JOINS = frozenset({"Add", "Sub", "Sum", "Max", "Min"})
"""Homogeneous in all operands together: their tensors are scaled together or not at all."""
SHIFTS = frozenset({"Add", "Sub", "Max", "Min"})
"""Those that let a factor through where a constant operand is scaled along."""
FACTORS = frozenset({"Mul", "Div"})


@dataclass(frozen=True, slots=True)
class Port:
    """A node that multiplies or divides a factor into its constants, and the layout of the tensor there."""

    node: ir.Node
    layout: Layout


@dataclass(slots=True)
class ChannelGroup:
    """Tensors with common channels.

    Attributes:
        channels: how many.
        layouts: tensor -> where its channels lie.
        writers: nodes whose constants take the factor up.
        readers: nodes whose constants divide it out again.
        shifts: nodes that add a constant or clip at one, which is scaled along.
    """

    channels: int
    layouts: dict[ir.Value, Layout] = field(default_factory=dict)
    writers: list[Port] = field(default_factory=list)
    readers: list[Port] = field(default_factory=list)
    shifts: list[Port] = field(default_factory=list)


def list_groups(graph: ir.Graph) -> list[ChannelGroup]:
    """Groups of two channels or more that can be scaled and that weights read, in the order of their first writers."""
    groups: list[ChannelGroup] = []
    seen: set[ir.Value] = set()
    for node in graph:
        value = node.outputs[0] if node.outputs else None
        dims = read_dims(value)
        if value is None or dims is None or value in seen:
            continue
        layout = find_written(node, len(dims))
        channels = None if layout is None else count_positions(layout, dims)
        if layout is None or channels is None or channels < len(("one", "other")):
            continue
        growth = _Growth(graph, channels)
        free = growth.spread(value, layout)
        seen |= {found for port in growth.group.writers if (found := port.node.outputs[0]) is not None}
        if free and any(is_linear(port.node) for port in growth.group.readers):
            groups.append(growth.group)
    return groups


def find_written(node: ir.Node, rank: int) -> Layout | None:
    """Channels of a node's output that its constants can scale, or None."""
    kind, axis = node.op_type, 1
    if is_linear(node):
        bias = node.inputs[2] if kind != "MatMul" and len(node.inputs) > len(("data", "weight")) else None
        if bias is not None and read_constant(bias) is None:
            return None
        axis = rank - 1 if kind in {"MatMul", "Gemm"} else 1
    elif kind in NORMS and node.domain in NORM_DOMAINS:
        axis = 1 if kind in CHANNEL_FIRST else rank - 1
        if not _has_affine(node, axis):
            return None
    elif find_constant(node) is None or kind not in FACTORS:
        return None
    else:
        return _find_factor_layout(node, rank)
    return Layout((axis % rank,)) if axis < rank else None


def _has_affine(norm: ir.Node, axis: int) -> bool:
    """Whether a normalization scales its channels by a constant each, and shifts them by constants if at all."""
    scale, *shift = [
        norm.inputs[index] for index in NORMS[norm.op_type] if index is not None and index < len(norm.inputs)
    ]
    values, dims = read_constant(scale), read_dims(norm.outputs[0])
    fixed = all(value is None or read_constant(value) is not None for value in shift)
    whole = values is not None and dims is not None and axis < len(dims) and values.shape[-1:] == dims[axis : axis + 1]
    return whole and fixed and not norm.attributes.get_int("training_mode", 0)


def find_constant(node: ir.Node) -> int | None:
    """Index of the constant operand of a Mul, Div (as divisor only), Add, Sub, Max or Min of an activation, or None."""
    if node.domain not in STANDARD or node.op_type not in FACTORS | SHIFTS:
        return None
    constant = [read_constant(value) is not None for value in node.inputs]
    if constant == [False, True]:
        return 1
    return 0 if constant == [True, False] and node.op_type != "Div" else None


def _find_factor_layout(node: ir.Node, rank: int) -> Layout | None:
    """The one axis along which a constant factor varies and has as many elements as the output."""
    index = find_constant(node)
    constant = None if index is None else read_constant(node.inputs[index])
    dims = read_dims(node.outputs[0])
    if constant is None or dims is None or constant.ndim > rank:
        return None
    shape = (1,) * (rank - constant.ndim) + constant.shape
    wide = [axis for axis, size in enumerate(shape) if size > 1]
    return Layout((wide[0],)) if len(wide) == 1 and dims[wide[0]] == shape[wide[0]] else None


class _Growth:
    """Spreads a group from one tensor until every neighbour is known."""

    def __init__(self, graph: ir.Graph, channels: int) -> None:
        self.group = ChannelGroup(channels)
        self._graph = graph
        self._free = True
        self._waiting: list[ir.Value] = []
        self._entered: dict[ir.Value, ir.Node] = {}
        self._partial: list[tuple[ir.Node, int]] = []

    def spread(self, value: ir.Value, layout: Layout) -> bool:
        """Visit everything within reach; whether all of it can be scaled."""
        self._join(value, layout)
        while self._waiting:
            self._visit(self._waiting.pop())
        # A product of two scaled operands would be scaled twice.
        for node, index in self._partial:
            self._free &= node.inputs[1 - index] not in self.group.layouts
        return self._free

    def _join(self, value: ir.Value | None, layout: Layout | None) -> None:
        """Add a tensor, or find that it cannot be scaled with the others."""
        dims = read_dims(value)
        if value is None or layout is None or dims is None or value.dtype is not ir.DataType.FLOAT:
            self._free = False
            return
        known = self.group.layouts.get(value)
        if known is None:
            self.group.layouts[value] = layout
            self._waiting.append(value)
            fits = count_positions(layout, dims) == self.group.channels * layout.repeat
            self._free &= fits and not value.is_graph_input() and not value.is_graph_output()
        else:
            self._free &= known == layout

    def _visit(self, value: ir.Value) -> None:
        """Look at the producer and at all readers of a tensor."""
        layout, producer = self.group.layouts[value], value.producer()
        if producer is None or producer.graph is not self._graph:
            self._free = False
        elif self._entered.get(value) is not producer:
            self._trace(producer, value, layout)
        for use in value.uses():
            if use.node.graph is self._graph:
                self._follow(use.node, use.idx, layout)
            else:
                self._free = False

    def _trace(self, node: ir.Node, value: ir.Value, layout: Layout) -> None:
        """From a tensor to the node that made it."""
        dims = read_dims(value) or ()
        written = find_written(node, len(dims)) if value is node.outputs[0] else None
        if written == Layout(layout.axes):
            self.group.writers.append(Port(node, layout))
        elif node.op_type in JOINS or node.op_type in {"Concat", "Split"}:
            self._combine(node, layout, len(dims))
        elif node.op_type in FACTORS:
            index = find_constant(node)
            source = None if index is None else node.inputs[1 - index]
            self._join(source if read_dims(source) == dims else None, layout)
        elif value is node.outputs[0] and node.inputs:
            self._join(node.inputs[0], trace_layout(node, layout))
        else:
            self._free = False

    def _follow(self, node: ir.Node, index: int, layout: Layout) -> None:
        """From a tensor to a node that reads it."""
        dims = read_dims(node.inputs[index]) or ()
        if index == 0 and is_linear(node) and layout.axes == (find_input_axis(node) % len(dims),):
            self.group.readers.append(Port(node, layout))
        elif node.op_type in JOINS or node.op_type in {"Concat", "Split"}:
            self._combine(node, layout, len(dims))
        elif node.op_type in FACTORS and node.domain in STANDARD:
            self._multiply(node, index, layout, dims)
        else:
            if node.op_type == "MatMul":
                self._partial.append((node, index))
            self._enter(node, pass_layout(node, index, layout))

    def _multiply(self, node: ir.Node, index: int, layout: Layout, dims: tuple[int | None, ...]) -> None:
        """Through a Mul or the dividend of a Div; a constant factor of each channel takes the group's factor up."""
        if find_constant(node) is not None:
            if find_written(node, len(dims)) == Layout(layout.axes) and layout.repeat == 1:
                self.group.readers.append(Port(node, layout))
            else:
                self._enter(node, layout if read_dims(node.outputs[0]) == dims else None)
            return
        self._partial.append((node, index))
        kept = index == 0 or node.op_type == "Mul"
        self._enter(node, layout if kept and read_dims(node.outputs[0]) == dims else None)

    def _enter(self, node: ir.Node, layout: Layout | None) -> None:
        """Go on behind a node, and do not come back through it."""
        if layout is not None:
            self._entered[node.outputs[0]] = node
        self._join(node.outputs[0], layout)

    def _combine(self, node: ir.Node, layout: Layout, rank: int) -> None:
        """All operands and outputs of a sum, a Concat or a Split are scaled together; a constant is scaled along."""
        if node.domain not in STANDARD:
            self._free = False
            return
        if node.op_type in {"Concat", "Split"}:
            axis = node.attributes.get_int("axis", 0)
            self._free &= axis is not None and axis % rank not in layout.axes
        index = find_constant(node)
        if index is not None and Port(node, layout) not in self.group.shifts:
            self.group.shifts.append(Port(node, layout))
        operands = node.inputs[: 1 if node.op_type == "Split" else None]
        for place, value in enumerate((*operands, *node.outputs)):
            if place != index:
                self._join(value if len(read_dims(value) or ()) == rank else None, layout)
