"""Where a fault of an output begins: tensors of a float model beside those of its realised plan, and the way back."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from assay.core.fault import Fault, FaultKind
from assay.graph.cast_rules import ARITHMETIC
from assay.graph.expose import observable_tensors
from assay.graph.quantize_roles import MOVERS


def pair_tensors(prepared: ir.Model, realised: ir.Model) -> Mapping[str, str]:
    """Float activations -> the tensor that readers get in their place, behind a quantizer where one stands on it.

    Args:
        prepared: the float model that was realised.
        realised: the plan as ONNX; nodes have the same names.
    """
    wanted = set(observable_tensors(prepared))
    nodes = {str(node.name): node for node in realised.graph}
    inputs = {str(value.name): value for value in realised.graph.inputs}
    pairs: dict[str, str] = {}
    for value in prepared.graph.inputs:
        if value.name in wanted and value.name in inputs:
            pairs[value.name] = str(find_read(inputs[value.name]).name)
    for node in prepared.graph:
        other = nodes.get(str(node.name))
        if other is None or len(other.outputs) != len(node.outputs):
            continue
        for mine, theirs in zip(node.outputs, other.outputs, strict=True):
            if mine.name in wanted and theirs.name:
                pairs[str(mine.name)] = str(find_read(theirs).name)
    return pairs


def find_read(value: ir.Value) -> ir.Value:
    """What integer readers of a tensor get: the result of its quantize/dequantize pair, else the tensor."""
    for quantizer in value.consumers():
        if quantizer.op_type != "QuantizeLinear" or quantizer.inputs[0] is not value:
            continue
        for dequantizer in quantizer.outputs[0].consumers():
            if dequantizer.op_type == "DequantizeLinear":
                return dequantizer.outputs[0]
    return value


def find_source(prepared: ir.Model, faults: Mapping[str, Fault], output: str) -> ir.Node | None:
    """The first node whose result has the fault of an output, found by going back along faulty tensors.

    Through arithmetic, which mixes channels, only a fault of a whole tensor is followed; NaN always is.

    Args:
        prepared: the float model.
        faults: tensor -> its fault.
        output: name of a faulty output.

    Returns:
        None where the output has no fault here, or no node computes it.
    """
    place = {node: index for index, node in enumerate(prepared.graph)}
    value = next((value for value in prepared.graph.outputs if value.name == output), None)
    found: ir.Node | None = None
    while value is not None and str(value.name) in faults:
        node = value.producer()
        if node is None:
            return found
        found, fault = node, faults[str(value.name)]
        guilty = [
            operand
            for operand in node.inputs
            if operand is not None and str(operand.name) in faults and explains(faults[str(operand.name)], fault, node)
        ]
        value = min(guilty, key=lambda one: _find_place(one, place), default=None)
    return found


def _find_place(value: ir.Value, place: Mapping[ir.Node, int]) -> int:
    """Place of a tensor's producer; inputs come first."""
    producer = value.producer()
    return -1 if producer is None else place.get(producer, -1)


def explains(cause: Fault, fault: Fault, node: ir.Node) -> bool:
    """Whether the fault of an operand can be why a node's result has one."""
    if FaultKind.NONFINITE in (cause.kind, fault.kind):
        return cause.kind is FaultKind.NONFINITE
    return cause.whole or (not fault.whole and node.op_type not in ARITHMETIC)


def list_fused(prepared: ir.Model, name: str) -> tuple[str, ...]:
    """A node with what runs together with it: up to the arithmetic before it, and whoever reads its result.

    With all of them in floats, no quantizer stands on that result.

    Args:
        prepared: the float model.
        name: of the node.
    """
    node = next((node for node in prepared.graph if node.name == name), None)
    if node is None:
        return ()
    kept = [node]
    above: ir.Node | None = node
    while above is not None and above.op_type not in ARITHMETIC:
        value = above.inputs[0] if above.inputs else None
        above = None if value is None or len(value.uses()) > 1 else value.producer()
        kept += [] if above is None else [above]
    waiting = list(node.outputs)
    while waiting:
        for reader in waiting.pop().consumers():
            if reader.graph is prepared.graph and reader not in kept:
                kept.append(reader)
                waiting += reader.outputs if reader.op_type in MOVERS else ()
    chosen = set(kept)
    return tuple(str(one.name) for one in prepared.graph if one in chosen)
