"""Multiply-accumulates of OpenVINO operators, from the shapes at their ports."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from assay.core.macs import count_conv_macs, count_conv_transpose_macs, count_matmul_macs

Shape = tuple[int, ...]
Attributes = Mapping[str, Any]
Count = Callable[[Sequence[Shape], Shape, Attributes], int]


def _count_convolution(inputs: Sequence[Shape], output: Shape, attributes: Attributes) -> int:
    """``[N, C, ...] * [M, C, ...]``."""
    del attributes
    return count_conv_macs(output, inputs[1])


def _count_group_convolution(inputs: Sequence[Shape], output: Shape, attributes: Attributes) -> int:
    """``[N, C, ...] * [G, M/G, C/G, ...]``."""
    del attributes
    groups, filters, *rest = inputs[1]
    return count_conv_macs(output, (groups * filters, *rest))


def _count_transposed(inputs: Sequence[Shape], output: Shape, attributes: Attributes) -> int:
    """``[N, C, ...] * [C, M, ...]``."""
    del output, attributes
    return count_conv_transpose_macs(inputs[0], inputs[1])


def _count_group_transposed(inputs: Sequence[Shape], output: Shape, attributes: Attributes) -> int:
    """``[N, C, ...] * [G, C/G, M/G, ...]``."""
    del output, attributes
    groups, channels, *rest = inputs[1]
    return count_conv_transpose_macs(inputs[0], (groups * channels, *rest))


def _count_deformable(inputs: Sequence[Shape], output: Shape, attributes: Attributes) -> int:
    """Data, offsets, then filters ``[M, C/G, ...]``."""
    del attributes
    return count_conv_macs(output, inputs[2])


def _count_matmul(inputs: Sequence[Shape], output: Shape, attributes: Attributes) -> int:
    """``[..., M, K] * [..., K, N]``, the first one perhaps transposed."""
    first = inputs[0]
    transposed = bool(attributes.get("transpose_a")) and len(first) > 1
    return count_matmul_macs(output, first[-2] if transposed else first[-1])


def _count_attention(inputs: Sequence[Shape], output: Shape, attributes: Attributes) -> int:
    """Query ``[..., L, E]``, key ``[..., S, E]``, value ``[..., S, V]``: two products."""
    del attributes
    query, key = inputs[0], inputs[1]
    return math.prod(output[:-1]) * key[-2] * (query[-1] + output[-1])


def _recurrent(weights_at: int) -> Count:
    """Count for a recurrent operator with W and R at two ports: every step multiplies both once."""

    def count(inputs: Sequence[Shape], output: Shape, attributes: Attributes) -> int:
        del output, attributes
        steps = math.prod(inputs[0][:-1])
        return steps * (math.prod(inputs[weights_at]) + math.prod(inputs[weights_at + 1]))

    return count


COUNTS: dict[str, Count] = {
    "Convolution": _count_convolution,
    "GroupConvolution": _count_group_convolution,
    "ConvolutionBackpropData": _count_transposed,
    "GroupConvolutionBackpropData": _count_group_transposed,
    "DeformableConvolution": _count_deformable,
    "MatMul": _count_matmul,
    "ScaledDotProductAttention": _count_attention,
    "LSTMCell": _recurrent(3),
    "GRUCell": _recurrent(2),
    "RNNCell": _recurrent(2),
    "LSTMSequence": _recurrent(4),
    "GRUSequence": _recurrent(3),
    "RNNSequence": _recurrent(3),
}
"""Operators of an OpenVINO model that multiply and accumulate; the bodies of loops are not looked into."""


def find_arithmetic(model: Any) -> list[Any]:  # noqa: ANN401 - the vendor's objects have no types
    """Operators of the model that multiply and accumulate."""
    return [node for node in model.get_ordered_ops() if node.get_type_name() in COUNTS]


def count_node(node: Any, inputs: Sequence[Shape], output: Shape) -> int:  # noqa: ANN401 - as above
    """Multiply-accumulates of one operator at the given port shapes."""
    return COUNTS[node.get_type_name()](inputs, output, node.get_attributes())
