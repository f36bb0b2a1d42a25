"""Loads an ONNX model, checked and shape-inferred; every bad file ends in an error that names what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.checker
import onnx.shape_inference
import onnx_ir as ir
from onnx_ir.passes import common as passes

from assay.core.errors import ModelError
from assay.graph.container import read_model_proto
from assay.graph.operators import OLDEST_OPSET, check_operators, check_versions, normalize_domain, read_opsets
from assay.graph.opset import raise_opset
from assay.graph.save import embed_attributes
from assay.graph.skeleton import LARGE_TENSOR_BYTES, build_skeleton, flatten_reason
from assay.graph.weights import check_weights
from assay.graph.wellformed import check_names

LEAST_IR_VERSION = 4
"""The first IR version whose initializers need not be listed as graph inputs."""
DECLARED_SHAPE_DIFFERS = "existing shape differ"


def load_model(path: Path) -> ir.Model:
    """Load, check and shape-infer an ONNX model.

    Opset 13 to the newest that ``onnx`` knows is kept; an older one is converted up. External data stays on disk,
    memory mapped when read. Operators of ``com.microsoft`` are let through, since runtimes know many of them.
    Initializers are never graph inputs of what comes out. Shapes that the file declares wrongly are inferred anew.

    Args:
        path: the ``.onnx`` file.

    Raises:
        ModelError: the file is not a whole, valid model, naming the file and the node or tensor.
    """
    path = Path(path)
    proto = read_model_proto(path)
    check_versions(proto, path)
    check_names(proto, path)
    check_operators(proto, path)
    folder = check_weights(proto, path)
    if read_opsets(proto.opset_import).get("", OLDEST_OPSET) < OLDEST_OPSET:
        proto = raise_opset(proto, folder, path)
    model = deserialize(proto, folder, path)
    check_semantics(model, path)
    return infer_shapes(model)


def deserialize(proto: onnx.ModelProto, folder: Path, path: Path) -> ir.Model:
    """The model as onnx-ir has it, in the form of IR version 4 or later."""
    try:
        model = ir.from_proto(proto)
        place_external(model, folder)
        passes.RemoveInitializersFromInputsPass()(model)
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError, RuntimeError) as err:
        raise ModelError(f"{path} cannot be read as a model: {flatten_reason(err)}", "export the model again") from err
    if any(normalize_domain(domain) != domain for domain in model.opset_imports):
        model.opset_imports[""] = model.opset_imports.pop("ai.onnx")
    model.ir_version = max(model.ir_version, LEAST_IR_VERSION)
    return model


def place_external(model: ir.Model, folder: Path) -> None:
    """Tell external tensors where they lie, in place; small ones are read, since shapes depend on them."""
    for graph in [model.graph, *(function.graph for function in model.functions.values())]:
        ir.external_data.set_base_dir(graph, folder)
    embed_attributes(model)
    for value in [value for graph in model.graphs() for value in graph.initializers.values()]:
        tensor = value.const_value
        if isinstance(tensor, ir.ExternalTensor) and tensor.nbytes <= LARGE_TENSOR_BYTES:
            value.const_value = ir.tensor(np.array(tensor.numpy()), dtype=tensor.dtype, name=tensor.name)


def check_semantics(model: ir.Model, path: Path) -> None:
    """Check attributes, arities, types and shapes with ONNX's checker and strict shape inference.

    Raises:
        ModelError: with the checker's reason.
    """
    skeleton = build_skeleton(model)
    try:
        onnx.checker.check_model(fill_shapes(skeleton))
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as err:
        message = f"{path} is not a valid ONNX model: {flatten_reason(err)}"
        raise ModelError(message, "export the model again") from err
    reason = find_inconsistency(skeleton)
    if reason and DECLARED_SHAPE_DIFFERS in reason:
        forget_shapes(model)
        reason = find_inconsistency(build_skeleton(model))
    if reason and DECLARED_SHAPE_DIFFERS not in reason:
        raise ModelError(f"{path}: shapes or types do not fit: {reason}", "export the model again")


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


def forget_shapes(model: ir.Model) -> None:
    """Drop the declared shapes of everything that nodes produce, in place; element types stay."""
    for node in model.graph.all_nodes():
        for value in node.outputs:
            value.shape = None


def infer_shapes(model: ir.Model) -> ir.Model:
    """Infer what shapes and types can be, in place."""
    return passes.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model).model
