"""What torch executed, from the steps that the model was followed in."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import torch

from assay.backends.onnx_macs import count_node_macs
from assay.backends.torch.program import Executed
from assay.backends.torch.rewrite import DOMAIN
from assay.backends.torch.tracing import Model
from assay.core.audit import ExecutionAudit, NodeExecution
from assay.core.macs import count_conv_macs, count_matmul_macs
from assay.core.precision import Precision

PRECISIONS = {
    torch.float16: Precision.FP16,
    torch.bfloat16: Precision.BF16,
    torch.int8: Precision.INT8,
    torch.uint8: Precision.INT8,
}
"""Torch's type -> format; everything else (indices, doubles) counts as FP32."""


def audit_steps(model: Model, steps: tuple[Executed, ...], *, tf32: bool, how: str) -> ExecutionAudit:
    """Steps of one run with their multiply-accumulates.

    Args:
        model: that was followed.
        steps: as it ran.
        tf32: products in FP32 rounded their operands.
        how: the model runs, for the kernel's name.
    """
    nodes = {output: node for node in model.graph.node for output in node.output}
    return ExecutionAudit(tuple(_read_step(nodes, step, tf32=tf32, how=how) for step in steps))


def _read_step(nodes: Mapping[str, onnx.NodeProto], step: Executed, *, tf32: bool, how: str) -> NodeExecution:
    node = next((nodes[name] for name in step.shapes if name in nodes and nodes[name].name == step.name), None)
    node = node if node is not None else onnx.NodeProto(op_type=step.operator)
    macs = _count_packed(step, node) if node.domain == DOMAIN else count_node_macs(node, step.shapes)
    precision = Precision.INT8 if step.integer else PRECISIONS.get(step.dtype, Precision.FP32)
    if tf32 and macs and step.dtype is torch.float32:
        precision = Precision.TF32
    if not step.integer and macs and precision is Precision.INT8:
        precision = Precision.FP32  # codes that a product in floats multiplies
    return NodeExecution(step.name, step.operator, precision, f"{how}:{step.function}", macs)


def _count_packed(step: Executed, node: onnx.NodeProto) -> int:
    """Multiply-accumulates of an integer product that ``rewrite`` put in."""
    packed = step.shapes[node.input[2 if step.operator == "Conv" else 1]]
    output = step.shapes[node.output[0]]
    if step.operator == "Conv":
        return count_conv_macs(output, packed)
    return count_matmul_macs(output, packed[1])
