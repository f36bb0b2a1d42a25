"""Integer products as one Triton kernel: windows gathered on the way, sums in int32, and what follows in registers.

A convolution is a product of rows (places of the result) with output channels, over the window's elements, channels
last. Nothing but the input, the weight and the result moves through memory: the windows are never written out.
Each kernel is an operator of torch's, so that a compiled graph and a CUDA graph hold it.
"""

# ruff: noqa: ANN001, ANN202, N803, PLR0913, PLR0917 - Triton reads a kernel's arguments its own way, and spells what is known early in capitals

from __future__ import annotations

from typing import Any

import torch
import triton  # type: ignore[import-not-found, unused-ignore]  # an extra
import triton.language as tl  # type: ignore[import-not-found, unused-ignore]  # as above

from assay.backends.torch.integers import Constants
from assay.backends.torch.operators import Host, Tensor
from assay.backends.torch.windows import make_window

FEW_TILES = 128
"""Tiles below which a GPU has less than one for each of its multiprocessors, so that they are made smaller."""
SMALL, LARGE = 64, 128
NARROW_CHANNELS = 32
MATRIX = 2
KINDS = {0: torch.float32, 1: torch.float16, 2: torch.bfloat16, 3: torch.int8, 4: torch.uint8}
CODE_KINDS = {torch.int8: 3, torch.uint8: 4}
FLOAT_KINDS = {0: 0, 16: 1, -16: 2}
LIMITS = {3: (-128.0, 127.0), 4: (0.0, 255.0)}


@triton.jit  # Triton has no types
def _quantize(y, y_scale, y_zero, low, high):  # type: ignore[no-untyped-def]
    """Codes of a tile of floats, as int32: divided, rounded half to even, shifted and clipped."""
    y = y / tl.load(y_scale)
    y = tl.minimum(tl.maximum(y, -512.0), 512.0)
    y = (y + 12582912.0) - 12582912.0  # rounds half to even: 1.5 * 2**23 leaves no bit for fractions
    y = tl.minimum(tl.maximum(y + tl.load(y_zero).to(tl.float32), low), high)
    return y.to(tl.int32)


@triton.jit  # type: ignore[untyped-decorator]  # Triton has no types
def _finish(  # type: ignore[no-untyped-def]  # a kernel's part
    y, bias, column, inside, y_scale, y_zero, low, high, BIAS: tl.constexpr, RELU: tl.constexpr, CODES: tl.constexpr
):
    """A tile with its bias, its activation and its codes, where it has them."""
    if BIAS:
        y += tl.load(bias + column, mask=inside, other=0.0)[None, :]
    if RELU:
        y = tl.maximum(y, 0.0)
    if CODES:
        y = _quantize(y, y_scale, y_zero, low, high)
    return y


@triton.jit  # type: ignore[untyped-decorator]  # Triton has no types
def _find_windows(  # type: ignore[no-untyped-def]  # a kernel's part
    image, start_y, start_x, start, channels, height, width, kernel_width, step_y, step_x,
    WHOLE: tl.constexpr, INNER: tl.constexpr
):  # fmt: skip
    """Where the elements from ``start`` of some windows stand in ``x``, and which of them are not padding.

    ``image``, ``start_y`` and ``start_x``, of the windows, are ``[ROWS, 1]``; both results spread to ``[ROWS, INNER]``.
    """
    if WHOLE:  # they lie in one place of the window, which is found once for all of them
        spot = start // channels
        channel = (start % channels + tl.arange(0, INNER))[None, :]
    else:
        step = (start + tl.arange(0, INNER))[None, :]
        spot, channel = step // channels, step % channels
    at_y = start_y + (spot // kernel_width) * step_y
    at_x = start_x + (spot % kernel_width) * step_x
    inside = (at_y >= 0) & (at_y < height) & (at_x >= 0) & (at_x < width)
    return ((image * height + at_y) * width + at_x) * channels + channel, inside


@triton.jit  # type: ignore[untyped-decorator]  # Triton has no types
def _product(  # type: ignore[no-untyped-def]
    x, w, out, scale, offset, bias, point, y_scale, y_zero, rows, columns, inner, channels, height, width,
    out_height, out_width, kernel_width, stride_y, stride_x, step_y, step_x, pad_y, pad_x, low, high,
    UNSIGNED: tl.constexpr, PLAIN: tl.constexpr, WHOLE: tl.constexpr, BIAS: tl.constexpr, RELU: tl.constexpr,
    CODES: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, INNER: tl.constexpr
):  # fmt: skip
    """One tile of the result.

    ``x [N, H, W, C]`` codes, ``w [columns, inner] int8``, ``out [rows, columns]``. PLAIN: a row of ``x`` is a row of
    the product. WHOLE: every block of the inner axis lies in one place of the window.
    """
    across = tl.cdiv(columns, COLUMNS)
    row = (tl.program_id(0) // across) * ROWS + tl.arange(0, ROWS)
    column = (tl.program_id(0) % across) * COLUMNS + tl.arange(0, COLUMNS)
    inside_row, inside_column = row < rows, column < columns
    image = (row // (out_width * out_height)).to(tl.int64)[:, None]
    start_y = (((row // out_width) % out_height) * stride_y - pad_y)[:, None]
    start_x = ((row % out_width) * stride_x - pad_x)[:, None]
    fill = tl.load(point)
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.int32)
    for start in range(0, inner, INNER):
        step = start + tl.arange(0, INNER)
        inside_step = step < inner
        inside = inside_row[:, None] & inside_step[None, :]
        if PLAIN:
            places = row[:, None].to(tl.int64) * inner + step[None, :]
        else:
            places, unpadded = _find_windows(
                image, start_y, start_x, start, channels, height, width, kernel_width, step_y, step_x, WHOLE, INNER
            )
            inside = inside & unpadded
        left = tl.load(x + places, mask=inside, other=fill)
        if UNSIGNED:
            left = (left ^ 128).to(tl.int8, bitcast=True)
        weight = w + column[None, :].to(tl.int64) * inner + step[:, None]
        right = tl.load(weight, mask=inside_column[None, :] & inside_step[:, None], other=0)
        total = tl.dot(left, right, total, out_dtype=tl.int32)
    shift = tl.load(offset + column, mask=inside_column, other=0)
    y = (total - shift[None, :]).to(tl.float32) * tl.load(scale + column, mask=inside_column, other=0.0)[None, :]
    y = _finish(y, bias, column, inside_column, y_scale, y_zero, low, high, BIAS, RELU, CODES)
    place = out + row[:, None].to(tl.int64) * columns + column[None, :]
    tl.store(place, y.to(out.dtype.element_ty), mask=inside_row[:, None] & inside_column[None, :])


def choose_tiles(rows: int, columns: int, inner: int) -> tuple[int, int, int, int, int]:
    """Rows, columns and inner elements of a tile, warps, and stages of its loads."""
    wide = NARROW_CHANNELS if columns <= NARROW_CHANNELS else SMALL if columns <= SMALL else LARGE
    tall = LARGE
    if triton.cdiv(rows, tall) * triton.cdiv(columns, wide) < FEW_TILES:
        tall = SMALL
        wide = min(wide, SMALL)
    # Three stages of either take 48 KiB of shared memory, which every GPU with integer matrix units has.
    deep = SMALL if tall * wide > SMALL * LARGE else LARGE
    deep = deep if inner >= deep else SMALL if inner > NARROW_CHANNELS else NARROW_CHANNELS
    return tall, wide, deep, 8 if tall * wide >= LARGE * LARGE else 4, 3


@torch.library.custom_op("assay::integer_product", mutates_args=())  # type: ignore[untyped-decorator]  # as above
def integer_product(
    x: torch.Tensor,
    point: torch.Tensor,
    w: torch.Tensor,
    scale: torch.Tensor,
    offset: torch.Tensor,
    bias: torch.Tensor | None,
    y_scale: torch.Tensor | None,
    y_zero: torch.Tensor | None,
    sizes: list[int],
    relu: bool,  # noqa: FBT001 - an operator has no keywords alone
    kind: int,
) -> torch.Tensor:
    """Codes times a packed weight.

    Args:
        x: ``[N, H, W, C]`` codes, contiguous; a matrix is ``[rows, 1, 1, C]``.
        point: zero point of ``x``, one element.
        w: ``[M, kernel * C] int8``.
        scale: ``[M] float32``.
        offset: ``[M] int32``.
        bias: ``[M] float32``.
        y_scale: of the codes that are wanted, one element.
        y_zero: its zero point.
        sizes: of the result's axes, of the window's, strides, dilations, padding in front: y and x each.
        relu: cut what is negative.
        kind: of the result, see ``KINDS``.

    Returns:
        ``[N, out_height, out_width, M]``.
    """
    out_y, out_x, kernel_y, kernel_x, stride_y, stride_x, step_y, step_x, pad_y, pad_x = sizes
    rows, columns, inner = x.shape[0] * out_y * out_x, w.shape[0], w.shape[1]
    out = torch.empty((x.shape[0], out_y, out_x, columns), dtype=KINDS[kind], device=x.device)
    tall, wide, deep, warps, stages = choose_tiles(rows, columns, inner)
    channels = x.shape[3]
    plain = kernel_y * kernel_x == stride_y * stride_x == 1 and tuple(x.shape[1:3]) == (out_y, out_x) and not pad_y
    while channels % deep and deep > NARROW_CHANNELS and not plain:
        deep //= 2
    low, high = LIMITS.get(kind, (0.0, 0.0))
    grid = (triton.cdiv(rows, tall) * triton.cdiv(columns, wide),)
    with torch.cuda.device_of(x):
        _product[grid](
            x, w, out, scale, offset, scale if bias is None else bias, point,
            scale if y_scale is None else y_scale, point if y_zero is None else y_zero,
            rows, columns, inner, channels, x.shape[1], x.shape[2], out_y, out_x, kernel_x,
            stride_y, stride_x, step_y, step_x, pad_y, pad_x, low, high,
            UNSIGNED=x.dtype is torch.uint8, PLAIN=plain, WHOLE=channels % deep == 0, BIAS=bias is not None,
            RELU=relu, CODES=y_scale is not None, ROWS=tall, COLUMNS=wide, INNER=deep, num_warps=warps,
            num_stages=stages,
        )  # fmt: skip
    return out


@integer_product.register_fake  # type: ignore[untyped-decorator]  # as above
def _shape(x: torch.Tensor, point: torch.Tensor, w: torch.Tensor, *others: Any) -> torch.Tensor:  # noqa: ANN401 - as above
    """The result's shape and type."""
    del point
    *_, sizes, _, kind = others
    return x.new_empty((x.shape[0], sizes[0], sizes[1], w.shape[0]), dtype=KINDS[kind])


def convolve(
    x: Tensor,
    x_zero: Tensor,
    *constants: Tensor | None,
    kernel: Host,
    relu: int = 0,
    narrow: int = 0,
    **window: Any,  # noqa: ANN401 - strides, dilations, pads and auto_pad
) -> Tensor:
    """Conv of codes ``[N, C, spatial...]`` of one or two axes; see ``integers.convolve_packed``."""
    found = make_window(x.shape[2:], kernel, **window)
    flat = len(kernel) < MATRIX
    last = (x.unsqueeze(2) if flat else x).permute(0, 2, 3, 1).contiguous()
    ones, nothing = ([1], [0]) if flat else ([], [])
    sizes = [*ones, *found.sizes(x.shape[2:])]
    for part in (found.kernel, found.strides, found.dilations):
        sizes += [*ones, *part]
    sizes += [*nothing, *found.before]
    y = _run(last, x_zero, Constants(*constants), sizes, relu, narrow).permute(0, 3, 1, 2)
    return y.squeeze(2) if flat else y


def multiply(x: Tensor, *constants: Tensor | None, relu: int = 0, narrow: int = 0) -> Tensor:
    """Product of codes ``[..., K]``; see ``integers.multiply_packed``."""
    whole = x.contiguous().reshape(-1, 1, 1, x.shape[-1])
    zero = torch.zeros((), dtype=x.dtype, device=x.device)  # nothing is padded
    y = _run(whole, zero, Constants(*constants), [1] * 8 + [0] * 2, relu, narrow)
    return y.reshape((*x.shape[:-1], y.shape[-1]))


def _run(x: Tensor, zero: Tensor, by: Constants, sizes: list[int], relu: int, narrow: int) -> Tensor:
    """The operator, and its result as FP32 where it is no codes."""
    kind = FLOAT_KINDS[narrow] if by.y_zero is None else CODE_KINDS[by.y_zero.dtype]
    y = integer_product(x, zero, *by, sizes, bool(relu), kind)
    return y.to(torch.float32) if by.y_zero is None else y
