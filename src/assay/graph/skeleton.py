"""Runs ONNX's own checker and shape inference on a model without its large weights."""

from __future__ import annotations

import re

import onnx
import onnx_ir as ir

from assay.graph.wellformed import describe_node, list_subgraphs

LARGE_TENSOR_BYTES = 1024


def build_skeleton(model: ir.Model) -> onnx.ModelProto:
    """The model as a small protobuf message: initializers over 1 KiB become graph inputs of their shape.

    ONNX's C++ functions take serialized models of at most 2 GiB; shapes depend on small tensors only.
    The model is left as it is. Nodes are called in the message as a user would want to read of them in an error.
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
    rename_nodes(proto.graph)
    return proto


def rename_nodes(graph: onnx.GraphProto) -> None:
    """Give the nodes of a graph, and of the graphs inside it, their descriptions as names."""
    for node in graph.node:
        node.name = describe_node(node)
        for inner in list_subgraphs(node):
            rename_nodes(inner)


def flatten_reason(error: BaseException) -> str:
    """The message of ONNX's checker or shape inference on one line, the node first, without its decoration."""
    text = " ".join(str(error).split())
    text = re.sub(r"\[(Shape|Type)InferenceError\] |Inference error\(s\): ", "", text)
    text = re.sub(r"\(op_type:[^,)]*, node name: (.+?)\): ", r"\1: ", text)
    context = re.search(r" ==> Context: Bad node spec for node\. Name: (.+?) OpType: ", text)
    return f"{context[1]}: {text[: context.start()]}" if context else text
