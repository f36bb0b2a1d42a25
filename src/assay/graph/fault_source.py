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


def find_sources(prepared: ir.Model, faults: Mapping[str, Fault], output: str) -> tuple[ir.Node, ...]:
    """The nodes at which the fault of an output begins, found by going back along faulty tensors on every branch.

    Through arithmetic, which mixes channels, only a fault of a whole tensor is followed; NaN always is.

    Args:
        prepared: the float model.
        faults: tensor -> its fault.
        output: name of a faulty output.

    Returns:
        In the graph's order; empty where the output has no fault here, or no node computes it.
    """
    found: set[ir.Node] = set()
    waiting = [value for value in prepared.graph.outputs if value.name == output and value.name in faults]
    seen = set(waiting)
    while waiting:
        value = waiting.pop()
        node = value.producer()
        if node is None:
            continue
        causes = [
            operand
            for operand in node.inputs
            if operand is not None
            and str(operand.name) in faults
            and explains(faults[str(operand.name)], value, faults)
        ]
        if not any(cause.producer() for cause in causes):
            found.add(node)
        waiting += [cause for cause in causes if cause not in seen]
        seen.update(causes)
    return tuple(node for node in prepared.graph if node in found)


def explains(cause: Fault, value: ir.Value, faults: Mapping[str, Fault]) -> bool:
    """Whether the fault of an operand can be why the value that a node computes from it has one."""
    fault, node = faults[str(value.name)], value.producer()
    if FaultKind.NONFINITE in (cause.kind, fault.kind):
        return cause.kind is FaultKind.NONFINITE
    mixes = node is not None and node.op_type in ARITHMETIC
    return cause.whole or (not fault.whole and not mixes)


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
