"""Quantizers to u8, which TensorRT's parser takes as s8 with a warning alone: codes above 127 would saturate."""

from __future__ import annotations

import onnx
from onnx import TensorProto

ZERO_POINT = 2


def find_unsigned(model: onnx.ModelProto) -> str:
    """The first QuantizeLinear of the main graph that gives u8 codes; empty where none does.

    One without a zero point gives u8, unless it says otherwise (ONNX operator QuantizeLinear).
    """
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            kinds[node.output[0]] = node.attribute[0].t.data_type
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and _gives_unsigned(node, kinds):
            return str(node.name or node.output[0])
    return ""


def _gives_unsigned(node: onnx.NodeProto, kinds: dict[str, int]) -> bool:
    """Whether a QuantizeLinear gives u8 codes."""
    if len(node.input) > ZERO_POINT and node.input[ZERO_POINT]:
        return kinds.get(node.input[ZERO_POINT]) == TensorProto.UINT8
    asked = next((attribute.i for attribute in node.attribute if attribute.name == "output_dtype"), 0)
    return asked in {0, TensorProto.UINT8}
