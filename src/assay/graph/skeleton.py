"""Runs ONNX's own checker and shape inference on a model without its large weights."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from assay.graph.wellformed import describe_node

LARGE_TENSOR_BYTES = 1024


def build_skeleton(model: ir.Model) -> onnx.ModelProto:
    """The model as a small protobuf message: initializers over 1 KiB become graph inputs of their shape.

    ONNX's C++ functions take serialized models of at most 2 GiB; shapes depend on small tensors only.
    The model is left as it is; unnamed nodes of its graph are named in the message, so that errors can name them.
    """
    lean = model.clone()
    for name, value in list(lean.graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.nbytes <= LARGE_TENSOR_BYTES:
            continue
        lean.graph.initializers.pop(name)
        stand_in = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape.numpy()))
        if value.is_graph_input():
            continue
        value.replace_all_uses_with(stand_in)
        lean.graph.inputs.append(stand_in)
    proto = ir.to_proto(lean)
    for node in proto.graph.node:
        node.name = node.name or describe_node(node)
    return proto
