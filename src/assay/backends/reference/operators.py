"""Operators that replace the reference evaluator's own where those leave the specification."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype
from onnx.reference.ops.op_dequantize_linear import DequantizeLinear_25
from onnx.reference.ops.op_quantize_linear import QuantizeLinear_25

SATURATING = (np.uint8, np.int8, np.uint16, np.int16)


class QuantizeLinear(QuantizeLinear_25):
    """Quantize to 8 or 16 bits, saturating before the conversion to an integer.

    The evaluator's own converts to int32 first, so a quotient beyond 2**31 ends at the wrong end of the range.
    Source: ONNX operator QuantizeLinear, ``y = saturate(round_half_even(x / y_scale) + y_zero_point)``.
    """

    op_domain = ""

    def _run(  # type: ignore[override]  # as the evaluator's own class overrides its ancestor
        self,
        *args: NDArray[Any] | None,
        axis: int = 1,
        saturate: bool = True,
        block_size: int = 0,
        output_dtype: int | None = None,
        precision: int | None = None,
    ) -> tuple[NDArray[Any]]:
        """``x`` float ``[...]``, ``scale`` float scalar or ``[channels]``, zero point -> codes of ``x``'s shape."""
        x, scale, zero_point = args if len(args) == len(("x", "scale", "zero point")) else (*args, None)
        kind = np.dtype(tensor_dtype_to_np_dtype(output_dtype or TensorProto.UINT8))
        kind = kind if zero_point is None else zero_point.dtype
        if x is None or scale is None or scale.ndim > 1 or kind not in SATURATING or block_size or precision:
            result: tuple[NDArray[Any]] = super()._run(
                *args,
                axis=axis,
                saturate=saturate,
                block_size=block_size,
                output_dtype=output_dtype,
                precision=precision,
            )
            return result
        return (quantize_linear(x, scale, zero_point, kind, axis),)


class DequantizeLinear(DequantizeLinear_25):
    """The evaluator's own, for all operator sets: by itself it has none before 19.

    Source: ONNX operator DequantizeLinear, ``y = (x - x_zero_point) * x_scale``.
    """

    op_domain = ""


OPERATORS = (QuantizeLinear, DequantizeLinear)


def quantize_linear(
    x: NDArray[Any], scale: NDArray[Any], zero_point: NDArray[Any] | None, kind: np.dtype[Any], axis: int
) -> NDArray[Any]:
    """Codes of ``x``: ``[...]`` of the integer type ``kind``; scales and zero points are scalars or ``[channels]``."""
    shape = [1] * x.ndim
    if scale.ndim == 1 and scale.size > 1:
        shape[axis] = scale.size
    limits = np.iinfo(kind)
    with np.errstate(over="ignore"):  # an infinite quotient saturates
        codes = np.rint(x / scale.reshape(shape if scale.ndim else ()))
    zeros = np.zeros((), np.int64) if zero_point is None else zero_point.astype(np.int64)
    zeros = zeros.reshape(shape if zeros.ndim else ())
    inside = np.clip(codes.astype(np.float64), limits.min - zeros, limits.max - zeros)
    quantized: NDArray[Any] = (inside + zeros).astype(kind)
    return quantized
