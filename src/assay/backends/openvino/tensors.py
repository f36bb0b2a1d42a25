"""Arrays at the runtime's interface: what is refused, and how they become OpenVINO tensors and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx

from assay.core.errors import BuildFailed, RunFailed
from assay.core.tensor import Array, Feeds, TensorSpec

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def read_interface(model: Path) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of an ONNX file under its own names, in its own order.

    Raises:
        BuildFailed: the file is not an ONNX model.
    """
    try:
        graph = onnx.load(str(model), load_external_data=False).graph
    except Exception as err:  # protobuf's DecodeError derives from Exception alone
        raise BuildFailed(f"{model} is not an ONNX model: {err}", "give the file that the rewrite wrote") from err
    constants = {tensor.name for tensor in graph.initializer}
    inputs = tuple(_describe(value) for value in graph.input if value.name not in constants)
    return inputs, tuple(_describe(value) for value in graph.output)


def _describe(value: onnx.ValueInfoProto) -> TensorSpec:
    """Specification of one graph input or output."""
    kind = value.type.tensor_type
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).name if kind.elem_type else "float32"
    if not kind.HasField("shape"):
        return TensorSpec(value.name, dtype, None)
    axes: list[int | str | None] = [
        axis.dim_value if axis.HasField("dim_value") else (axis.dim_param or None) for axis in kind.shape.dim
    ]
    return TensorSpec(value.name, dtype, tuple(axes))


def check_feeds(specs: Sequence[TensorSpec], feeds: Feeds) -> None:
    """Refuse feeds that are not exactly the model's inputs; OpenVINO would cast or reshape some in silence.

    Raises:
        RunFailed: naming the input and what is wrong with it.
    """
    names = {spec.name for spec in specs}
    wanted = ", ".join(repr(spec.name) for spec in specs)
    for name in feeds:
        if name not in names:
            raise RunFailed(f"the model has no input {name!r}", f"its inputs are {wanted}")
    for spec in specs:
        array = feeds.get(spec.name)
        if array is None:
            raise RunFailed(f"input {spec.name!r} is missing", f"the model's inputs are {wanted}")
        if array.dtype != np.dtype(spec.dtype):
            hint = f"convert it with .astype('{spec.dtype}')"
            raise RunFailed(f"input {spec.name!r} is {array.dtype}, the model takes {spec.dtype}", hint)
        if spec.shape is not None and not _shape_fits(array.shape, spec.shape):
            shape = ", ".join("?" if axis is None else str(axis) for axis in spec.shape)
            message = f"input {spec.name!r} has shape {list(array.shape)}, the model takes [{shape}]"
            raise RunFailed(message, "names and ? stand for any size")


def _shape_fits(shape: tuple[int, ...], wanted: tuple[int | str | None, ...]) -> bool:
    """Whether a shape has the rank and the fixed sizes that are wanted."""
    if len(shape) != len(wanted):
        return False
    return all(size == axis for size, axis in zip(shape, wanted, strict=True) if isinstance(axis, int))


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
