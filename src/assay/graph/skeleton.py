"""Runs ONNX's own checker and shape inference on a model without its large weights."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import onnx.checker
import onnx.helper
import onnx.shape_inference

from assay.core.errors import ModelError
from assay.graph.weights import SMALL_TENSOR_BYTES, count_bytes
from assay.graph.wellformed import describe_node, list_subgraphs

DECLARED_SHAPE_DIFFERS = "existing shape differ"
EXPORT_AGAIN = "export the model again"


def check_semantics(proto: onnx.ModelProto, path: Path) -> None:
    """Check attributes, arities, types and shapes with ONNX's checker and strict shape inference.

    Where only the shapes that the file declares are wrong, they are dropped from ``proto``, to be inferred anew.

    Raises:
        ModelError: with the checker's reason.
    """
    skeleton = build_skeleton(proto, path)
    try:
        onnx.checker.check_model(fill_shapes(skeleton))
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as err:
        raise ModelError(f"{path} is not a valid ONNX model: {flatten_reason(err)}", EXPORT_AGAIN) from err
    reason = find_inconsistency(skeleton)
    if reason and DECLARED_SHAPE_DIFFERS in reason:
        forget_shapes(proto.graph)
        reason = find_inconsistency(build_skeleton(proto, path))
    if reason and DECLARED_SHAPE_DIFFERS not in reason:
        raise ModelError(f"{path}: shapes or types do not fit: {reason}", EXPORT_AGAIN)


def build_skeleton(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """A small copy of a model: initializers over 1 KiB become graph inputs of their type and shape.

    ONNX's C++ functions take serialized models of at most 2 GiB; shapes depend on small tensors only. Nodes are
    called in the copy as a user would want to read of them in an error.
    """
    lean = onnx.ModelProto(ir_version=proto.ir_version)
    lean.opset_import.extend(proto.opset_import)
    lean.functions.extend(proto.functions)
    graph = lean.graph
    graph.name = proto.graph.name
    for name in ("node", "input", "output", "value_info"):
        getattr(graph, name).extend(getattr(proto.graph, name))
    inputs = {value.name for value in graph.input}
    for tensor in proto.graph.initializer:
        if count_bytes(tensor, path) <= SMALL_TENSOR_BYTES:
            graph.initializer.append(tensor)
        elif tensor.name not in inputs:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    rename_nodes(graph)
    return lean


def rename_nodes(graph: onnx.GraphProto) -> None:
    """Give the nodes of a graph, and of the graphs inside it, their descriptions as names."""
    for node in graph.node:
        node.name = describe_node(node)
        for inner in list_subgraphs(node):
            rename_nodes(inner)


def fill_shapes(skeleton: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose inputs and outputs all have a shape, if an empty one.

    The checker asks for one, though exporters leave it out where the rank is unknown, and runtimes do not mind.
    """
    filled = onnx.ModelProto()
    filled.CopyFrom(skeleton)
    for value in (*filled.graph.input, *filled.graph.output):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    return filled


def find_inconsistency(skeleton: onnx.ModelProto) -> str:
    """Why strict shape inference fails, or nothing where it does not."""
    try:
        onnx.shape_inference.infer_shapes(skeleton, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError) as err:
        return flatten_reason(err)
    return ""


def forget_shapes(graph: onnx.GraphProto) -> None:
    """Drop the declared shapes of everything that nodes produce, in place; the outputs' element types stay."""
    del graph.value_info[:]
    for value in graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")


def flatten_reason(error: BaseException) -> str:
    """The message of ONNX's checker or shape inference on one line, the node first, without its decoration."""
    text = " ".join(str(error).split())
    text = re.sub(r"\[(Shape|Type)InferenceError\] |Inference error\(s\): ", "", text)
    text = re.sub(r"\(op_type:[^,)]*, node name: (.+?)\): ", r"\1: ", text)
    context = re.search(r" ==> Context: Bad node spec for node\. Name: (.+?) OpType: ", text)
    return f"{context[1]}: {text[: context.start()]}" if context else text
