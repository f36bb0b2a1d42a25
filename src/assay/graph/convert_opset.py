"""Converts a prepared model to a newer opset, where a number format needs one."""

from __future__ import annotations

import onnx
import onnx.version_converter
import onnx_ir as ir

from assay.core.errors import UnsupportedPlan
from assay.graph.ingest import infer_shapes
from assay.graph.weights import SMALL_TENSOR_BYTES

Tensors = dict[str, ir.TensorProtocol]


def convert_model(model: ir.Model, opset: int, purpose: str) -> ir.Model:
    """The model in a newer opset; its large weights are shared, not copied.

    Args:
        model: left as it is.
        opset: version of the standard operators.
        purpose: what needs it, for the error.

    Raises:
        UnsupportedPlan: the converter does not know how.
    """
    before = model.graph.opset_imports.get("", 0)
    lean = model.clone()
    weights = take_weights(lean.graph)
    try:
        proto = onnx.version_converter.convert_version(ir.to_proto(lean), opset)
        result = ir.from_proto(proto)
        return_weights(result.graph, weights)
    except (RuntimeError, ValueError, onnx.version_converter.ConvertError) as err:
        message = f"{purpose} need opset {opset}, to which opset {before} cannot be converted: {err}"
        raise UnsupportedPlan(message, f"export the model for opset {opset} or newer") from err
    return infer_shapes(result)


def take_weights(graph: ir.Graph) -> Tensors:
    """Make graph inputs of large initializers, in place: ONNX's converter takes models of at most 2 GiB."""
    taken: Tensors = {}
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.nbytes <= SMALL_TENSOR_BYTES or value.is_graph_input() or value.is_graph_output():
            continue
        taken[name] = tensor
        graph.initializers.pop(name)
        value.const_value = None
        value.type = ir.TensorType(tensor.dtype)
        graph.inputs.append(value)
    return taken


def return_weights(graph: ir.Graph, weights: Tensors) -> None:
    """Make initializers of those inputs again, in place.

    Raises:
        ValueError: the converter has lost or renamed one.
    """
    found = {str(value.name): value for value in graph.inputs}
    for name, tensor in weights.items():
        if name not in found:
            raise ValueError(f"the weight {name!r} is lost")
        graph.inputs.remove(found[name])
        found[name].const_value = tensor
        graph.register_initializer(found[name])
