"""Converts a model of an old ONNX opset up."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.external_data_helper
import onnx.helper
import onnx.version_converter

from assay.core.errors import ModelError
from assay.graph.operators import CONTRIB_DOMAIN, check_operators, read_opsets
from assay.graph.wellformed import check_names

RAISED_OPSET = 17
"""The first opset with LayerNormalization; every runtime here knows it."""


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
    onnx.external_data_helper.load_external_data_for_model(proto, str(folder))
    try:
        raised = onnx.version_converter.convert_version(proto, RAISED_OPSET)
    except (onnx.version_converter.ConvertError, ValueError, RuntimeError) as err:
        reason = " ".join(str(err).split())
        raise ModelError(f"{path} has opset {opset} and cannot be converted to {RAISED_OPSET}: {reason}", hint) from err
    raised.ir_version = max(raised.ir_version, onnx.helper.find_min_ir_version_for(standard_imports(raised)))
    try:
        check_names(raised, path)
        check_operators(raised, path)
    except ModelError as err:
        message = f"{path} has opset {opset}, and its conversion to {RAISED_OPSET} failed: {err.message}"
        raise ModelError(message, hint) from err
    return raised


def standard_imports(proto: onnx.ModelProto) -> list[onnx.OperatorSetIdProto]:
    """Opset imports that ONNX's table of versions knows."""
    return [entry for entry in proto.opset_import if entry.domain != CONTRIB_DOMAIN]
