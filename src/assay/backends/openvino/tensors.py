"""Arrays at the runtime's interface: what the ONNX file calls them, and how they become OpenVINO tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx

from assay.backends.model_files import read_graph
from assay.core.tensor import Array, Signature, TensorSpec

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def read_signature(model: Path) -> Signature:
    """Inputs and outputs of an ONNX file under its own names, in its own order.

    Raises:
        BuildFailed: the file is not an ONNX model.
    """
    graph = read_graph(model).graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = tuple(_describe(value) for value in graph.input if value.name not in constants)
    return Signature(inputs, tuple(_describe(value) for value in graph.output))


def _describe(value: onnx.ValueInfoProto) -> TensorSpec:
    """Specification of one graph input or output; float32 where the file does not state the type."""
    kind = value.type.tensor_type
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type or onnx.TensorProto.FLOAT)).name
    if not kind.HasField("shape"):
        return TensorSpec(value.name, dtype, None)
    axes: list[int | str | None] = [
        axis.dim_value if axis.HasField("dim_value") else (axis.dim_param or None) for axis in kind.shape.dim
    ]
    return TensorSpec(value.name, dtype, tuple(axes))


def wrap_array(array: Array, module: Any) -> Any:  # noqa: ANN401 - the vendor's module and object have no types
    """An OpenVINO tensor over the array's own memory; a copy where OpenVINO cannot use that memory."""
    if array.dtype == BFLOAT16:
        tensor = module.Tensor(module.Type.bf16, list(array.shape))
        tensor.data.view(np.uint16)[...] = array.view(np.uint16)
        return tensor
    flags = array.flags
    if not (flags.c_contiguous and flags.writeable):
        array = array.copy(order="C")
    return module.Tensor(array, shared_memory=True)
