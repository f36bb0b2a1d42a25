"""Quantizers and integer products of ONNX in torch."""

from __future__ import annotations

from typing import Any

import torch

from assay.backends.torch.integers import add_products, convolve_codes
from assay.backends.torch.operators import DTYPES, Operator, Table, Tensor, simple

LIMITS = {torch.uint8: (0, 255), torch.int8: (-128, 127), torch.int16: (-32768, 32767), torch.uint16: (0, 65535)}


def _spread(values: Tensor, x: Tensor, axis: int, block: int) -> Tensor:
    """A scale or zero point in the shape that broadcasts over ``x``."""
    if values.dim() == 0 or values.numel() == 1:
        return values.reshape(())
    if block:
        return values.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis])
    shape = [1] * x.dim()
    shape[axis] = -1
    return values.reshape(shape)


def quantize(
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    **others: Any,  # noqa: ANN401 - saturate and precision, which say nothing about integers
) -> Tensor:
    """QuantizeLinear: divide in FP32, round half to even, add the zero point, saturate."""
    del others
    kind = zero.dtype if zero is not None else DTYPES[output_dtype] if output_dtype else torch.uint8
    low, high = LIMITS[kind]
    codes = torch.round(x.to(torch.float32) / _spread(scale.to(torch.float32), x, axis, block_size))
    if zero is None:
        return codes.clamp(low, high).to(kind)
    offset = _spread(zero.to(torch.float32), x, axis, block_size)
    return (codes + offset).clamp(low, high).to(kind)


def dequantize(
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Tensor:
    """DequantizeLinear."""
    wide = x.to(torch.int32)
    if zero is not None:
        wide = wide - _spread(zero.to(torch.int32), x, axis, block_size)
    kind = DTYPES[output_dtype] if output_dtype else scale.dtype
    return (wide.to(torch.float32) * _spread(scale.to(torch.float32), x, axis, block_size)).to(kind)


def quantize_dynamically(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """DynamicQuantizeLinear: u8 codes, scale and zero point of the range of the whole tensor with 0."""
    low, high = x.min().clamp(max=0), x.max().clamp(min=0)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero = torch.round(-low / scale).clamp(0, 255)
    codes = (torch.round(x / scale) + zero).clamp(0, 255)
    return codes.to(torch.uint8), scale, zero.to(torch.uint8)


def _point(zero: Tensor | None, rank: int, axis: int) -> Tensor | int:
    """A zero point in int32, in the shape that broadcasts; 0 where there is none."""
    if zero is None:
        return 0
    wide = zero.to(torch.int32)
    if wide.numel() == 1:
        return wide.reshape(())
    if wide.dim() > 1:
        return wide
    shape = [1] * rank
    shape[axis] = -1
    return wide.reshape(shape)


def multiply_integers(a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None) -> Tensor:
    """MatMulInteger: int32 sums of products of 8-bit codes less their zero points."""
    right = b if b.dtype is torch.int8 else (b.to(torch.int16) - 128).to(torch.int8)
    moved = 0 if b.dtype is torch.int8 else 128
    left = a if a.dtype is torch.int8 else (a.to(torch.int16) - 128).to(torch.int8)
    a_point = _point(a_zero, a.dim(), max(a.dim() - 2, 0)) - (0 if a.dtype is torch.int8 else 128)
    b_point = _point(b_zero, b.dim(), b.dim() - 1) - moved
    if b.dim() == 2:  # noqa: PLR2004 - a matrix
        total = add_products(left.reshape(-1, left.shape[-1]), right).reshape((*left.shape[:-1], right.shape[-1]))
    else:
        total = torch.matmul(left.to(torch.float64), right.to(torch.float64)).to(torch.int32)
    columns = right.to(torch.int32).sum(-2, keepdim=b.dim() > 1, dtype=torch.int32)
    rows = left.to(torch.int32).sum(-1, keepdim=True, dtype=torch.int32)
    return total - a_point * columns - b_point * rows + a_point * b_point * left.shape[-1]


def convolve_integers(
    x: Tensor,
    w: Tensor,
    x_zero: Tensor | None = None,
    w_zero: Tensor | None = None,
    *,
    group: int = 1,
    kernel_shape: Any = None,  # noqa: ANN401 - that of the weight
    **window: Any,  # noqa: ANN401 - strides, dilations, pads and auto_pad
) -> Tensor:
    """ConvInteger: int32 sums of products of 8-bit codes less their zero points."""
    del kernel_shape
    left = x.to(torch.int32) - _point(x_zero, x.dim(), 1)
    right = w.to(torch.int32) - _point(w_zero, w.dim(), 0)
    return convolve_codes(left, right, group=group, **window)


def multiply_quantized(  # noqa: PLR0913, PLR0917 - the inputs of the operator
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
) -> Tensor:
    """QLinearMatMul."""
    total = multiply_integers(a, b, a_zero, b_zero).to(torch.float32)
    return quantize(total * a_scale * b_scale, y_scale, y_zero)


def convolve_quantized(  # noqa: PLR0913, PLR0917 - as above
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    w: Tensor,
    w_scale: Tensor,
    w_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
    b: Tensor | None = None,
    **window: Any,  # noqa: ANN401 - as above
) -> Tensor:
    """QLinearConv."""
    total = convolve_integers(x, w, x_zero, w_zero, **window)
    if b is not None:
        total = total + b.reshape(-1, *[1] * (x.dim() - 2))
    scale = (x_scale * w_scale).reshape(-1, *[1] * (x.dim() - 2))
    return quantize(total.to(torch.float32) * scale, y_scale, y_zero)


INTEGER: Table = {
    "QuantizeLinear": simple(quantize),
    "DequantizeLinear": simple(dequantize),
    "DynamicQuantizeLinear": Operator(quantize_dynamically),
    "MatMulInteger": simple(multiply_integers),
    "ConvInteger": simple(convolve_integers),
    "QLinearMatMul": simple(multiply_quantized),
    "QLinearConv": simple(convolve_quantized),
}
"""Operator -> its function; source: ONNX operator specifications."""
