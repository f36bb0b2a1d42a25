"""Converts a prepared model to a newer opset, where a number format needs one."""

from __future__ import annotations

import onnx
import onnx.version_converter
import onnx_ir as ir

from assay.core.errors import UnsupportedPlan
from assay.graph.ingest import infer_shapes


def convert_model(model: ir.Model, opset: int, purpose: str) -> ir.Model:
    """The model in a newer opset.

    Args:
        model: left as it is.
        opset: version of the standard operators.
        purpose: what needs it, for the error.

    Raises:
        UnsupportedPlan: the converter does not know how, or the model is too large for it.
    """
    before = model.graph.opset_imports.get("", 0)
    try:
        proto = onnx.version_converter.convert_version(ir.to_proto(model), opset)
    except (RuntimeError, ValueError, onnx.version_converter.ConvertError) as err:
        message = f"{purpose} need opset {opset}, to which opset {before} cannot be converted: {err}"
        raise UnsupportedPlan(message, f"export the model for opset {opset} or newer") from err
    return infer_shapes(ir.from_proto(proto))
