"""Multiply-accumulates of the operators that do the arithmetic, from shapes alone."""

from __future__ import annotations

import math
from collections.abc import Sequence


def count_conv_macs(output_shape: Sequence[int], weight_shape: Sequence[int]) -> int:
    """Multiply-accumulates of a convolution.

    Args:
        output_shape: ``[N, M, spatial...]``.
        weight_shape: ``[M, C/group, kernel...]``, as ONNX has it.
    """
    return math.prod(output_shape) * math.prod(weight_shape[1:])


def count_conv_transpose_macs(input_shape: Sequence[int], weight_shape: Sequence[int]) -> int:
    """Multiply-accumulates of a transposed convolution.

    Args:
        input_shape: ``[N, C, spatial...]``.
        weight_shape: ``[C, M/group, kernel...]``, as ONNX has it.
    """
    return math.prod(input_shape) * math.prod(weight_shape[1:])


def count_matmul_macs(output_shape: Sequence[int], inner: int) -> int:
    """Multiply-accumulates of a matrix product: one per output element and inner index."""
    return math.prod(output_shape) * inner
