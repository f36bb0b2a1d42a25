"""Activations that a runtime computes together with the operator before them."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from assay.core.plan import IntegerDialect
from assay.graph.quantize_roles import read_constant

CLIPS = frozenset({"Relu", "Clip"})
"""What the clipping of a quantizer behind it can take over."""
EPILOGUES = CLIPS | {
    "LeakyRelu", "PRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Elu", "Gelu", "Mish", "Softplus", "Swish",
}  # fmt: skip
"""What a runtime that keeps accumulators in floats computes before it rounds to integers."""
GATES = frozenset({"Sigmoid", "HardSigmoid"})


def follow_tail(node: ir.Node, dialect: IntegerDialect, keep: Collection[str]) -> tuple[ir.Value, list[ir.Node]]:
    """The tensor behind a node and the activations absorbed into it, and those activations.

    A runtime with integer biases writes integers straight from its accumulators, so it absorbs only a clip; others
    absorb every elementwise activation, ``x * sigmoid(x)`` among them.

    Args:
        node: with one output that counts.
        dialect: of the runtime.
        keep: names of nodes that stay as they are.
    """
    value, absorbed = node.outputs[0], list[ir.Node]()
    while not value.is_graph_output():
        found = _find_next(value, dialect)
        if not found or any(str(step.name) in keep for step in found):
            break
        absorbed += found
        value = found[-1].outputs[0]
    return value, absorbed


def _find_next(value: ir.Value, dialect: IntegerDialect) -> list[ir.Node]:
    """The nodes of the activation that alone reads the value, or none."""
    readers = value.consumers()
    if any(reader.graph is not value.graph for reader in readers):
        return []
    if len(value.uses()) == 1:
        reader = readers[0]
        allowed = CLIPS if dialect.integer_bias else EPILOGUES
        clips_data = reader.op_type in allowed and reader.inputs[0] is value and reader.domain == ""
        return [reader] if clips_data and (reader.op_type != "Clip" or _holds_zero(reader)) else []
    return [] if dialect.integer_bias else _find_gate(value, readers)


def _find_gate(value: ir.Value, readers: Collection[ir.Node]) -> list[ir.Node]:
    """The two nodes of ``x * sigmoid(x)``, or none."""
    gates = [node for node in readers if node.op_type in GATES and not node.outputs[0].is_graph_output()]
    if len(value.uses()) != len(readers) or len(readers) != len(("gate", "product")) or len(gates) != 1:
        return []
    gate, product = gates[0], next(node for node in readers if node is not gates[0])
    alone = [use.node for use in gate.outputs[0].uses()] == [product]
    return [gate, product] if alone and product.op_type == "Mul" else []


def _holds_zero(clip: ir.Node) -> bool:
    """Whether the limits of a Clip are constants around zero, as those of every quantization range are."""
    limits = [read_constant(value) if value is not None else None for value in clip.inputs[1:]]
    given = [value is not None for value in clip.inputs[1:]]
    if any(there and limit is None for there, limit in zip(given, limits, strict=True)):
        return False
    low = float(limits[0].item()) if limits and limits[0] is not None else -1.0
    high = float(limits[1].item()) if len(limits) > 1 and limits[1] is not None else 1.0
    return low <= 0 <= high
