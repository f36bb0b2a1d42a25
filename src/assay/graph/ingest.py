"""Loads an ONNX model, checked and shape-inferred; every bad file ends in an error that names what is wrong."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir
from onnx_ir.passes import common as passes

from assay.core.errors import ModelError
from assay.graph.container import read_model_proto
from assay.graph.operators import OLDEST_OPSET, check_operators, check_versions, normalize_domain, read_opsets
from assay.graph.opset import raise_opset
from assay.graph.skeleton import EXPORT_AGAIN, check_semantics, flatten_reason
from assay.graph.weights import check_weights, embed_small
from assay.graph.wellformed import check_names

LEAST_IR_VERSION = 4
"""The first IR version whose initializers need not be listed as graph inputs."""


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
    embed_small(proto, folder, path)
    check_semantics(proto, path)
    if read_opsets(proto.opset_import).get("", OLDEST_OPSET) < OLDEST_OPSET:
        proto = raise_opset(proto, folder, path)
    return infer_shapes(deserialize(proto, folder, path))


def deserialize(proto: onnx.ModelProto, folder: Path, path: Path) -> ir.Model:
    """The model as onnx-ir has it, in the form of IR version 4 or later."""
    try:
        model = ir.from_proto(proto)
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError, RuntimeError) as err:
        raise ModelError(f"{path} cannot be read as a model: {flatten_reason(err)}", EXPORT_AGAIN) from err
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        ir.external_data.set_base_dir(graph, folder)
    passes.RemoveInitializersFromInputsPass()(model)
    if any(normalize_domain(domain) != domain for domain in model.opset_imports):
        model.opset_imports[""] = model.opset_imports.pop("ai.onnx")
    model.ir_version = max(model.ir_version, LEAST_IR_VERSION)
    return model


def infer_shapes(model: ir.Model) -> ir.Model:
    """Infer what shapes and types can be, in place."""
    return passes.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model).model
