"""Convolutions and matrix products as TVM tensor expressions, over weights that are packed for vectors.

Every product gives ``[..., row, column]``: for an image a row of pixels and the channels behind (NHWC). Weights lie as
``[column / lanes, ..., inner / quad, lanes, quad]``, so that one vector holds neighbouring columns, and with a quad of
4 the neighbouring inner elements that a dot product adds up. Sums are FP32, or int32 of 8-bit products, exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.backends.tvm.vendor import load_compiler
from assay.core.tensor import Array

PRODUCT = "assay_product"
"""Beginning of the name of the block that multiplies; its lanes and its quad follow."""
PADDING = "assay_padding"
"""Beginning of the name of the block that copies its operand with a border."""

Tensor = Any
"""A tensor of TVM's expressions, which has no types."""


@dataclass(frozen=True, slots=True)
class Window:
    """How a convolution of images walks.

    Attributes:
        kernel: height and width.
        strides: down and right.
        pads: at the top, left, bottom and right.
        dilations: down and right.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]

    def measure(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the output for an input of these."""
        top, left, bottom, right = self.pads
        sizes = ((height + top + bottom, 0), (width + left + right, 1))
        rows, columns = (
            (size - self.dilations[i] * (self.kernel[i] - 1) - 1) // self.strides[i] + 1 for size, i in sizes
        )
        return rows, columns


def name_product(lanes: int, quad: int) -> str:
    """Name of a block that multiplies; ``schedules`` reads the two numbers from it."""
    return f"{PRODUCT}_{lanes}x{quad}"


def round_up(size: int, step: int) -> int:
    """The next multiple."""
    return -(-size // step) * step


def pack_conv(weight: Array, lanes: int, quad: int) -> Array:
    """``[M, C, KH, KW]`` as ``[M / lanes, KH, KW, C / quad, lanes, quad]``, with zeros where M and C do not fill."""
    columns, inner = round_up(weight.shape[0], lanes), round_up(weight.shape[1], quad)
    wide = np.zeros((columns, inner, *weight.shape[2:]), weight.dtype)
    wide[: weight.shape[0], : weight.shape[1]] = weight
    split = wide.reshape(columns // lanes, lanes, inner // quad, quad, *weight.shape[2:])
    return np.ascontiguousarray(split.transpose(0, 4, 5, 2, 1, 3))


def pack_matmul(weight: Array, lanes: int, quad: int) -> Array:
    """``[K, N]`` as ``[N / lanes, K / quad, lanes, quad]``, with zeros where N and K do not fill."""
    packed = pack_conv(weight.T[:, :, None, None], lanes, quad)
    return np.ascontiguousarray(packed[:, 0, 0])


def convolve(data: Tensor, weight: Tensor, window: Window, border: int = 0) -> Tensor:
    """Dense convolution.

    Args:
        data: ``[N, H, W, C]``, 8-bit or float.
        weight: as ``pack_conv`` gives it.
        window: how it walks.
        border: value that surrounds the image.

    Returns:
        ``[N, H', W', M]``, int32 or float32.
    """
    te = load_compiler("te")
    tops, _, _, blocks, lanes, quad = (int(size) for size in weight.shape)
    padded = pad_image(data, window.pads, blocks * quad, border)
    down, right = (te.reduce_axis((0, size)) for size in window.kernel)
    inner, part = te.reduce_axis((0, blocks)), te.reduce_axis((0, quad))
    (sy, sx), (dy, dx), kind = window.strides, window.dilations, sum_type(str(data.dtype))
    height, width = window.measure(int(data.shape[1]), int(data.shape[2]))

    def multiply(n: Tensor, y: Tensor, x: Tensor, m: Tensor) -> Tensor:
        pixel = padded[n, y * sy + down * dy, x * sx + right * dx, inner * quad + part].astype(kind)
        factor = weight[m // lanes, down, right, inner, m % lanes, part].astype(kind)
        return te.sum(pixel * factor, axis=[down, right, inner, part])

    return te.compute((data.shape[0], height, width, tops * lanes), multiply, name=name_product(lanes, quad))


def convolve_channels(data: Tensor, weight: Tensor, window: Window, lanes: int, border: int = 0) -> Tensor:
    """Depthwise convolution: every channel for itself.

    Args:
        data: ``[N, H, W, C]``.
        weight: ``[KH, KW, C]``.
        window: how it walks.
        lanes: that divide the channels.
        border: value that surrounds the image.

    Returns:
        ``[N, H', W', C]``, int32 or float32.
    """
    te = load_compiler("te")
    padded = pad_image(data, window.pads, int(data.shape[3]), border)
    down, right = (te.reduce_axis((0, size)) for size in window.kernel)
    (sy, sx), (dy, dx), kind = window.strides, window.dilations, sum_type(str(data.dtype))
    height, width = window.measure(int(data.shape[1]), int(data.shape[2]))

    def multiply(n: Tensor, y: Tensor, x: Tensor, c: Tensor) -> Tensor:
        pixel = padded[n, y * sy + down * dy, x * sx + right * dx, c].astype(kind)
        return te.sum(pixel * weight[down, right, c].astype(kind), axis=[down, right])

    return te.compute((data.shape[0], height, width, data.shape[3]), multiply, name=name_product(lanes, 1))


def multiply_packed(data: Tensor, weight: Tensor) -> Tensor:
    """Product with constant weights.

    Args:
        data: ``[..., K]``, 8-bit or float.
        weight: as ``pack_matmul`` gives it.

    Returns:
        ``[..., N]``, int32 or float32.
    """
    te = load_compiler("te")
    tops, blocks, lanes, quad = (int(size) for size in weight.shape)
    padded = pad_last(data, blocks * quad)
    inner, part, kind = te.reduce_axis((0, blocks)), te.reduce_axis((0, quad)), sum_type(str(data.dtype))

    def multiply(*place: Tensor) -> Tensor:
        *rows, n = place
        factor = weight[n // lanes, inner, n % lanes, part].astype(kind)
        return te.sum(padded[(*rows, inner * quad + part)].astype(kind) * factor, axis=[inner, part])

    return te.compute((*data.shape[:-1], tops * lanes), multiply, name=name_product(lanes, quad))


def multiply_batches(left: Tensor, right: Tensor, lanes: int) -> Tensor:
    """Product of two activations, as in attention.

    Args:
        left: ``[..., M, K]`` float.
        right: ``[..., K, N]`` float, with as many axes; batch axes of 1 are repeated.
        lanes: that the columns of the result fill.

    Returns:
        ``[..., M, N']`` float32, where N' is the next multiple of the lanes.
    """
    te, columns = load_compiler("te"), round_up(int(right.shape[-1]), lanes)
    wide = pad_last(right, columns)
    inner, kind = te.reduce_axis((0, left.shape[-1])), sum_type(str(left.dtype))
    batches = [max(int(a), int(b)) for a, b in zip(left.shape[:-2], right.shape[:-2], strict=True)]

    def pick(place: Sequence[Tensor], tensor: Tensor) -> list[Tensor]:
        return [0 if int(size) == 1 else at for at, size in zip(place, tensor.shape[:-2], strict=True)]

    def multiply(*place: Tensor) -> Tensor:
        *outer, m, n = place
        first = left[(*pick(outer, left), m, inner)].astype(kind)
        return te.sum(first * wide[(*pick(outer, wide), inner, n)].astype(kind), axis=[inner])

    return te.compute((*batches, left.shape[-2], columns), multiply, name=name_product(lanes, 1))


def pad_image(data: Tensor, pads: Sequence[int], channels: int, border: int) -> Tensor:
    """``[N, H, W, C]`` with a border around the image and zeros behind its channels; itself where nothing is added."""
    batch, height, width, depth = (int(size) for size in data.shape)
    top, left, bottom, right = pads
    if not any(pads) and channels == depth:
        return data
    te, tirx, kind = load_compiler("te"), load_compiler("tirx"), str(data.dtype)

    def copy(n: Tensor, y: Tensor, x: Tensor, c: Tensor) -> Tensor:
        tests = [y >= top, y < top + height] if top or bottom else []
        tests += [x >= left, x < left + width] if left or right else []
        tests += [c < depth] if channels > depth else []
        inside = tests[0] if len(tests) == 1 else tirx.all(*tests)
        return tirx.if_then_else(inside, data[n, y - top, x - left, c], tirx.const(border, kind))

    shape = (batch, height + top + bottom, width + left + right, channels)
    return te.compute(shape, copy, name=PADDING)


def pad_last(data: Tensor, size: int) -> Tensor:
    """``[..., C]`` with zeros up to ``size``; itself where nothing is added."""
    given = int(data.shape[-1])
    if given == size:
        return data
    te, tirx, kind = load_compiler("te"), load_compiler("tirx"), str(data.dtype)

    def copy(*place: Tensor) -> Tensor:
        return tirx.if_then_else(place[-1] < given, data[place], tirx.const(0, kind))

    return te.compute((*data.shape[:-1], size), copy, name=PADDING)


def sum_type(kind: str) -> str:
    """Element type that products of a type are added up in."""
    return "int32" if kind in {"uint8", "int8"} else "float32"
