"""What multiplies in a function: its format and its multiply-accumulates, for the audit."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from assay.backends.tvm.constants import element_type, op_name, static_shape
from assay.core.macs import count_conv_macs, count_conv_transpose_macs, count_matmul_macs
from assay.core.precision import Precision

Expr = Any
"""An expression of Relax, which has no types."""

FORMATS = {"float16": Precision.FP16, "bfloat16": Precision.BF16, "int8": Precision.INT8, "uint8": Precision.INT8}
"""Element type of what is multiplied -> format; all others count as FP32."""


class Product(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A convolution or matrix product of a compiled function.

    Attributes:
        operator: of Relax, such as ``nn.conv2d``.
        precision: format that it multiplies in.
        kernel: what computes it.
        macs: multiply-accumulates.
    """

    operator: str
    precision: Precision
    kernel: str
    macs: int


def describe_float(call: Expr, macs: int) -> Product:
    """A product that TVM lowers by itself."""
    kind = element_type(call.args[0])
    return Product(short_name(call), FORMATS.get(kind, Precision.FP32), f"tvm_{kind}", macs)


def short_name(call: Expr) -> str:
    """Operator of a call, without Relax's prefix."""
    return op_name(call).removeprefix("relax.")


def count_call_macs(call: Expr) -> int:
    """Multiply-accumulates of a call; 0 for what does not multiply matrices, and where a shape is not known."""
    name = short_name(call)
    if name == "matmul" or (name.startswith("nn.conv") and name[7:9] in {"1d", "2d", "3d"}):
        left, right = (static_shape(argument) for argument in call.args[:2])
        output = static_shape(call)
        if left is None or right is None or output is None:
            return 0
        if name == "matmul":
            return count_matmul_macs(output, left[-1])
        if name.endswith("transpose"):
            return count_conv_transpose_macs(left, right)
        return count_conv_macs(output, right)
    if name == "einsum":
        shapes = [static_shape(field) for field in getattr(call.args[0], "fields", ())]
        if len(shapes) > 1 and all(shape is not None for shape in shapes):
            return _count_einsum(str(call.attrs.subscripts), [shape for shape in shapes if shape is not None])
    return 0


def _count_einsum(equation: str, shapes: list[tuple[int, ...]]) -> int:
    """Product of the sizes of all labels; 0 for an equation with an ellipsis."""
    terms = equation.replace(" ", "").split("->")[0].split(",")
    if "." in equation or len(terms) != len(shapes):
        return 0
    sizes = {
        label: size for term, shape in zip(terms, shapes, strict=True) for label, size in zip(term, shape, strict=False)
    }
    return math.prod(sizes.values())
