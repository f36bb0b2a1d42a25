"""Converts a model of an old ONNX opset up."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.external_data_helper
import onnx.helper
import onnx.shape_inference
import onnx.version_converter

from assay.core.errors import ModelError
from assay.graph.operators import check_operators, read_opsets
from assay.graph.skeleton import check_semantics
from assay.graph.wellformed import check_names, list_subgraphs

RAISED_OPSET = 17
"""The first opset with LayerNormalization; every runtime here knows it."""

FAILURES = (ValueError, RuntimeError, OSError)
"""What the converter raises beside its own error: assertions of its C++ code, and unreadable external data."""
EXPLICIT_RESIZE_OPSET = 11
"""From here on Resize states how it maps coordinates, and its default is another one."""


def raise_opset(proto: onnx.ModelProto, folder: Path, path: Path) -> onnx.ModelProto:
    """Convert a model up to opset 17 with ONNX's version converter.

    Args:
        proto: the checked model; its external data is read into it.
        folder: where its external data lies.
        path: named in errors.

    Raises:
        ModelError: the converter knows no way, with its reason.
    """
    opset = read_opsets(proto.opset_import)[""]
    hint = "export the model for opset 13 or later"
    try:
        onnx.external_data_helper.load_external_data_for_model(proto, str(folder))
        raised = onnx.version_converter.convert_version(proto, RAISED_OPSET)
    except (onnx.version_converter.ConvertError, onnx.shape_inference.InferenceError, *FAILURES) as err:
        reason = " ".join(str(err).split())
        raise ModelError(f"{path} has opset {opset} and cannot be converted to {RAISED_OPSET}: {reason}", hint) from err
    if [describe_type(value) for value in raised.graph.input] != [describe_type(value) for value in proto.graph.input]:
        raise ModelError(f"{path} has opset {opset}, and its conversion to {RAISED_OPSET} changes its inputs", hint)
    keep_names(raised, proto)
    if opset < EXPLICIT_RESIZE_OPSET:
        keep_resize(raised.graph)
    raised.ir_version = max(
        raised.ir_version, onnx.helper.find_min_ir_version_for(list(raised.opset_import), ignore_unknown=True)
    )
    try:
        check_names(raised, path)
        check_operators(raised, path)
        check_semantics(raised, path)
    except ModelError as err:
        reason = err.message.removeprefix(f"{path}: ")
        message = f"{path} has opset {opset}, and its conversion to {RAISED_OPSET} failed: {reason}"
        raise ModelError(message, hint) from err
    return raised


def describe_type(value: onnx.ValueInfoProto) -> tuple[str, str]:
    """Name and type of a graph input, comparable."""
    return value.name, str(value.type)


def keep_names(raised: onnx.ModelProto, proto: onnx.ModelProto) -> None:
    """Give converted nodes the names of the nodes that computed the same tensors, in place."""
    names = {output: node.name for node in proto.graph.node for output in node.output if output}
    for node in raised.graph.node:
        if not node.name:
            node.name = next((names[output] for output in node.output if output in names), "")


def keep_resize(graph: onnx.GraphProto) -> None:
    """State what Upsample and Resize meant before opset 11 where the converter leaves the new default, in place."""
    for node in graph.node:
        if node.op_type == "Resize" and not any(
            item.name == "coordinate_transformation_mode" for item in node.attribute
        ):
            node.attribute.append(onnx.helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
            node.attribute.append(onnx.helper.make_attribute("nearest_mode", "floor"))
        for inner in list_subgraphs(node):
            keep_resize(inner)
