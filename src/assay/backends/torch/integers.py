"""Integer products through ``torch._int_mm``: on the CPU, and on CUDA devices without kernels of Triton's.

Codes are s8; those that are u8 are moved by 128, and their zero points with them. A convolution is a product of the
windows of its input, channels last, with a weight ``[M, kernel..., C]``.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch

from assay.backends.torch.operators import Host, Tensor
from assay.backends.torch.windows import Window, make_window

LEAST_ROWS = 17
"""Rows that ``torch._int_mm`` wants on CUDA."""
WIDTH = 8
"""What its other sizes must be a multiple of there."""
MIDDLE = 128
BYTE = {torch.uint8: (0, 255), torch.int8: (-128, 127)}


class Constants(NamedTuple):
    """Inputs of an integer product that are known beforehand, in their order.

    Attributes:
        packed: ``[M, kernel * C] int8`` weight.
        scale: ``[M] float32`` step of the sums.
        offset: ``[M] int32`` part of the sums that is the zero point's.
        bias: ``[M] float32``.
        y_scale: of the codes that are wanted, one element; None for values.
        y_zero: their zero point.
    """

    packed: Tensor
    scale: Tensor
    offset: Tensor
    bias: Tensor | None = None
    y_scale: Tensor | None = None
    y_zero: Tensor | None = None


def to_signed(codes: Tensor) -> Tensor:
    """Codes as s8; u8 ones move by 128."""
    return codes if codes.dtype is torch.int8 else torch.bitwise_xor(codes, MIDDLE).view(torch.int8)


def add_products(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product of s8 codes in int32.

    Args:
        a: ``[M, K] int8``.
        b: ``[K, N] int8``; fastest where its columns are contiguous.
    """
    if not a.is_cuda:
        return torch._int_mm(a, b)  # noqa: SLF001 - torch's only integer product
    rows, inner, columns = a.shape[0], a.shape[1], b.shape[1]
    more = (-inner % WIDTH, max(0, LEAST_ROWS - rows), -columns % WIDTH)
    if any(more):
        a = torch.nn.functional.pad(a, (0, more[0], 0, more[1]))
        b = torch.nn.functional.pad(b.t(), (0, more[0], 0, more[2])).t()
    return torch._int_mm(a, b)[:rows, :columns]  # noqa: SLF001 - as above


def pack_weight(w: Tensor, *, form: str) -> Tensor:
    """A weight's s8 codes as rows of output channels: ``[M, kernel * C]``.

    Args:
        w: of Conv ``[M, C, kernel...]``; of MatMul ``[K, M]``; of Gemm as of MatMul, or ``[M, K]`` where turned.
        form: ``Conv``, ``MatMul`` or ``Turned``.
    """
    if form == "Conv":
        return w.movedim(1, -1).reshape(w.shape[0], -1).contiguous()
    return w.contiguous() if form == "Turned" else w.t().contiguous()


def pack_scale(x_scale: Tensor, w_scale: Tensor, packed: Tensor) -> Tensor:
    """``[M] float32`` step of each output channel's sums."""
    return (x_scale.reshape(()) * w_scale.reshape(-1)).expand(packed.shape[0]).contiguous()


def pack_offset(packed: Tensor, x_zero: Tensor) -> Tensor:
    """``[M] int32`` that the input's zero point adds to each output channel's sums."""
    point = x_zero.reshape(()).to(torch.int32) - (0 if x_zero.dtype is torch.int8 else MIDDLE)
    return point * packed.sum(1, dtype=torch.int32)


def make_windows(x: Tensor, window: Window, fill: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """Windows of s8 codes: ``[N * sizes, kernel * C]``, and the sizes of the result's spatial axes.

    Args:
        x: ``[N, C, spatial...] int8``.
        window: of the convolution.
        fill: code of the zero that padding is.
    """
    last = x.movedim(1, -1)
    rank = len(window.kernel)
    if any(window.before) or any(window.after):
        shape = [a + s + b for a, s, b in zip(window.before, x.shape[2:], window.after, strict=True)]
        whole = fill.reshape(()).to(torch.int8).expand((x.shape[0], *shape, x.shape[1])).clone()
        inside = whole
        for axis in range(rank):
            inside = torch.narrow(inside, axis + 1, window.before[axis], x.shape[axis + 2])
        inside.copy_(last)
        last = whole
    sizes = window.sizes(x.shape[2:])
    if all(k == 1 for k in window.kernel) and all(s == 1 for s in window.strides):
        return last.reshape(-1, x.shape[1]), sizes
    last = last.contiguous()
    strides, steps = last.stride(), window.strides
    view = last.as_strided(
        (x.shape[0], *sizes, *window.kernel, x.shape[1]),
        (
            strides[0],
            *(strides[axis + 1] * steps[axis] for axis in range(rank)),
            *(strides[axis + 1] * window.dilations[axis] for axis in range(rank)),
            1,
        ),
    )
    return view.reshape(x.shape[0] * math.prod(sizes), -1), sizes


def finish(total: Tensor, by: Constants, *, relu: bool) -> Tensor:
    """From int32 sums ``[rows, M]`` to values in FP32, or to codes where there is a scale for them.

    Args:
        total: sums.
        by: of the product.
        relu: cut what is negative.
    """
    y = (total - by.offset).to(torch.float32) * by.scale
    y = y if by.bias is None else y + by.bias
    y = torch.relu(y) if relu else y
    if by.y_scale is None or by.y_zero is None:
        return y
    low, high = BYTE[by.y_zero.dtype]
    return (torch.round(y / by.y_scale) + by.y_zero.to(torch.float32)).clamp(low, high).to(by.y_zero.dtype)


def convolve_packed(
    x: Tensor,
    x_zero: Tensor,
    *constants: Tensor | None,
    kernel: Host,
    relu: int = 0,
    narrow: int = 0,
    **window: Any,  # noqa: ANN401 - strides, dilations, pads and auto_pad
) -> Tensor:
    """Conv of codes ``[N, C, spatial...]`` with a packed weight: values ``[N, M, spatial...]``, or codes.

    Args:
        x: u8 or s8 codes.
        x_zero: zero point.
        constants: in the order of ``Constants``.
        kernel: sizes of the window.
        relu: cut what is negative.
        narrow: bits of the float that values pass through, 16 or -16 for bfloat16; 0 for FP32.
        window: as ONNX has it.
    """
    by, found = Constants(*constants), make_window(x.shape[2:], kernel, **window)
    rows, sizes = make_windows(to_signed(x), found, to_signed(x_zero.reshape(1)))
    y = _multiply(rows, by, relu, narrow)
    return y.reshape(x.shape[0], *sizes, y.shape[1]).movedim(-1, 1)


def multiply_packed(x: Tensor, *constants: Tensor | None, relu: int = 0, narrow: int = 0) -> Tensor:
    """Product of codes ``[..., K]`` with a packed weight: values ``[..., M]``, or codes; see ``convolve_packed``."""
    y = _multiply(to_signed(x.reshape(-1, x.shape[-1])), Constants(*constants), relu, narrow)
    return y.reshape((*x.shape[:-1], y.shape[1]))


def _multiply(rows: Tensor, by: Constants, relu: int, narrow: int) -> Tensor:
    """Product of s8 codes ``[rows, K]``, finished; values pass through the 16-bit float that they would be kept in."""
    y = finish(add_products(rows, by.packed.t()), by, relu=bool(relu))
    if not narrow or not y.is_floating_point():
        return y
    return y.to(torch.float16 if narrow > 0 else torch.bfloat16).to(torch.float32)


def convolve_codes(x: Tensor, w: Tensor, *, group: int = 1, **window: Any) -> Tensor:  # noqa: ANN401 - as above
    """Convolution of integers in FP64, exactly: ``[N, M, spatial...] int32``."""
    found = make_window(x.shape[2:], w.shape[2:], **window)
    flat = [size for pair in reversed(list(zip(found.before, found.after, strict=True))) for size in pair]
    padded = torch.nn.functional.pad(x.to(torch.float64), flat)
    function = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}[len(found.kernel)]
    y = function(padded, w.to(torch.float64), None, found.strides, 0, found.dilations, group)
    return torch.round(y).to(torch.int32)
