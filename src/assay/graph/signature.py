"""The inputs and outputs of a model as core nouns."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from assay.core.errors import ModelError
from assay.core.tensor import Signature, TensorSpec
from assay.graph.lookups import count_rows

INFERRED_AXIS = "unk__"
"""Prefix of the axis names that ONNX's shape inference makes up."""


def describe_signature(model: ir.Model) -> Signature:
    """Names, element types and shapes of the inputs that must be fed and of the outputs.

    Raises:
        ModelError: an input or output is not a tensor, or its element type is unknown.
    """
    return Signature(
        inputs=tuple(describe_value(value, "input") for value in list_inputs(model)),
        outputs=tuple(describe_value(value, "output") for value in model.graph.outputs),
    )


def list_inputs(model: ir.Model) -> Iterable[ir.Value]:
    """Graph inputs without those that only give an initializer a default (IR version 3 lists all of them)."""
    return [value for value in model.graph.inputs if value.name not in model.graph.initializers]


def describe_value(value: ir.Value, role: str) -> TensorSpec:
    """One input or output."""
    if value.type is not None and not isinstance(value.type, ir.TensorType):
        message = f"{role} '{value.name}' of the model is not a tensor but {value.type}"
        raise ModelError(message, "export the model with tensors only (for scikit-learn: zipmap=False)")
    if value.dtype is None or value.dtype is ir.DataType.UNDEFINED:
        raise ModelError(f"the element type of {role} '{value.name}' is unknown", "export the model again")
    dtype = "str" if value.dtype is ir.DataType.STRING else value.dtype.numpy().name
    shape = None if value.shape is None else tuple(describe_axis(axis) for axis in value.shape)
    rows = count_rows(value) if role == "input" and dtype.startswith(("int", "uint")) else None
    return TensorSpec(name=str(value.name), dtype=dtype, shape=shape, rows=rows)


def describe_axis(axis: int | ir.SymbolicDim) -> int | str | None:
    """A size, a name, or None for a dynamic axis without a name of its own."""
    if isinstance(axis, int):
        return axis
    return None if axis.value is None or axis.value.startswith(INFERRED_AXIS) else axis.value
