"""Which nodes of a graph run on integers under a scheme, and which tensors carry quantize/dequantize pairs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from assay.core.calibration import TensorRange
from assay.core.plan import Scheme
from assay.core.precision import Placement
from assay.graph.expose import observable_tensors
from assay.graph.quantize_roles import LISTED_MOVERS, MOVERS, Part, Role, assign_part
from assay.graph.quantize_tails import follow_tail

UNEVEN = 8.0
"""Ratio of magnitudes from which the inputs of a Concat do not share a scale: the smaller would lose three bits."""
WIDE_PRODUCTS = frozenset({"MatMul", "Gemm"})
"""Arithmetic that every runtime has with integer operands and a float result."""


@dataclass(slots=True)
class Selection:
    """The integer part of a graph.

    Attributes:
        parts: integer nodes and their parts, in the graph's order.
        sources: tensor with a pair -> tensor whose range it has: itself, or the one before the movers.
        firm: tensors that only their quantizer may read, so that their producer writes integers.
    """

    parts: dict[ir.Node, Part] = field(default_factory=dict)
    sources: dict[ir.Value, ir.Value] = field(default_factory=dict)
    firm: set[ir.Value] = field(default_factory=set)


def select(
    model: ir.Model, scheme: Scheme, keep: Collection[str], ranges: Mapping[str, TensorRange] | None = None
) -> Selection:
    """Choose nodes and tensors.

    Args:
        model: a prepared one.
        scheme: dialect and placement.
        keep: names of nodes that stay in floats.
        ranges: solved ranges, which decide whether a Concat is even enough; without them every one is taken to be,
            which selects at least the tensors that any ranges would.
    """
    observable = set(observable_tensors(model))
    parts = {
        node: part
        for node in model.graph
        if str(node.name) not in keep and (part := assign_part(node, scheme.dialect, observable)) is not None
    }
    if scheme.placement is Placement.OPERANDS:
        return _select_operands(parts)
    return _Chain(parts, scheme, keep, ranges).select()


def _select_operands(parts: Mapping[ir.Node, Part]) -> Selection:
    """Pairs on the activation operands of the arithmetic, nowhere else."""
    chosen = {node: part for node, part in parts.items() if part.role is Role.ARITHMETIC}
    selection = Selection(chosen)
    for node, part in chosen.items():
        selection.sources |= {value: value for value in read_operands(node, part)}
    return selection


def read_operands(node: ir.Node, part: Part) -> list[ir.Value]:
    """Activations that the node reads as integers."""
    return [value for index in part.operands if (value := node.inputs[index]) is not None]


class _Chain:
    """Keeps activations on integers from one arithmetic node to the next."""

    def __init__(
        self,
        parts: dict[ir.Node, Part],
        scheme: Scheme,
        keep: Collection[str],
        ranges: Mapping[str, TensorRange] | None,
    ) -> None:
        self._tight = scheme.dialect.integer_bias
        tails = {node: follow_tail(node, scheme.dialect, keep) for node in parts}
        absorbed = {step for node in parts for step in tails[node][1] if parts[node].role is not Role.MOVER}
        self._parts = {node: part for node, part in parts.items() if node not in absorbed}
        self._ends = {
            node: node.outputs[:] if part.role is Role.MOVER else (tails[node][0],)
            for node, part in self._parts.items()
        }
        self._origin = {value: node for node, ends in self._ends.items() for value in ends}
        self._ranges = ranges

    def select(self) -> Selection:
        """Drop links and movers that no integers reach or leave, then place the pairs."""
        self._parts = {node: part for node, part in self._parts.items() if self._is_even(node, part)}
        while dropped := {node for node, part in self._parts.items() if not self._stays(node, part)}:
            self._parts = {node: part for node, part in self._parts.items() if node not in dropped}
        return self._place()

    def _stays(self, node: ir.Node, part: Part) -> bool:
        """Whether integers come to a link or mover on an operand, and leave it for another integer node."""
        if part.role is Role.ARITHMETIC:
            return True
        arrives = any(self._is_integer(value) for value in read_operands(node, part))
        return arrives and any(self._is_read(value) for value in self._ends[node])

    def _is_integer(self, value: ir.Value) -> bool:
        """Whether a tensor is on integers without this reader: by its producer, or for arithmetic that reads it."""
        if self._origin.get(value) in self._parts:
            return True
        return any(self._reads(use.node, use.idx, Role.ARITHMETIC) for use in value.uses())

    def _is_read(self, value: ir.Value) -> bool:
        """Whether an integer node reads the tensor."""
        return any(self._reads(use.node, use.idx, *Role) for use in value.uses())

    def _reads(self, node: ir.Node, index: int, *roles: Role) -> bool:
        """Whether an input is an integer operand of a node of one of the roles."""
        part = self._parts.get(node)
        return part is not None and part.role in roles and index in part.operands

    def _is_even(self, node: ir.Node, part: Part) -> bool:
        """Whether the inputs of a Concat can share a scale; everything else can."""
        if node.op_type != "Concat" or self._ranges is None:
            return True
        found = [find_range(value, self._ranges) for value in read_operands(node, part)]
        sizes = [max(-limits.low, limits.high) for limits in found if limits is not None]
        sizes = [size for size in sizes if size > 0]
        return not sizes or max(sizes) <= UNEVEN * min(sizes)

    def _place(self) -> Selection:
        """Pairs on what integer nodes read and, in a tight dialect, behind what must write integers."""
        selection = Selection(self._parts)
        for node, part in self._parts.items():
            for value in read_operands(node, part):
                selection.sources[value] = self._find_source(value)
            if self._tight and part.role is not Role.MOVER and node.op_type not in WIDE_PRODUCTS:
                end = self._ends[node][0]
                selection.sources[end] = end
        if self._tight:
            selection.firm = {value for value in selection.sources if self._origin.get(value) in self._parts}
        return selection

    def _find_source(self, value: ir.Value) -> ir.Value:
        """The tensor before the integer movers that made this one."""
        node = self._origin.get(value)
        while node is not None and node in self._parts and self._parts[node].role is Role.MOVER:
            source = node.inputs[0]
            if source is None:
                break
            value, node = source, self._origin.get(source)
        return value


def find_range(value: ir.Value, ranges: Mapping[str, TensorRange]) -> TensorRange | None:
    """Range of a tensor, taken from before data movers where it has none of its own."""
    limits = ranges.get(str(value.name))
    producer = value.producer()
    while limits is None and producer is not None and producer.op_type in MOVERS | LISTED_MOVERS:
        source = producer.inputs[0]
        if source is None:
            return None
        limits, producer = ranges.get(str(source.name)), source.producer()
    return limits
