"""Multiply-accumulates of ONNX nodes, also of the fused ones that runtimes put in their place.

Operators: ONNX, and the ``com.microsoft`` and ``com.microsoft.nchwc`` domains of ONNX Runtime (ContribOperators.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import onnx

from assay.core.macs import count_conv_macs, count_conv_transpose_macs, count_matmul_macs

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

CONV_WEIGHT = {"Conv": 1, "FusedConv": 1, "NhwcFusedConv": 1, "ConvInteger": 1, "DeformConv": 1, "QLinearConv": 3}
"""Convolutions: operator -> index of its weight ``[M, C/group, kernel...]``."""

MATMUL = frozenset(
    {
        "MatMul", "FusedMatMul", "TransposeMatMul", "MatMulInteger", "QLinearMatMul", "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul", "MatMulNBits", "MatMulBnb4", "FusedMatMulActivation", "MatMulInteger16",
        "Gemm", "FusedGemm", "QGemm", "GemmFloat8",
    }
)  # fmt: skip
"""Matrix products whose first input holds the inner axis: the last one, or the last but one where ``transA``."""


def count_node_macs(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Multiply-accumulates of one node.

    Args:
        node: of ONNX or of a runtime.
        shapes: shape of every tensor of the graph that is known, weights included.

    Returns:
        0 for what does not multiply matrices, and where a shape that it takes is unknown.
    """
    rule = _RULES.get(node.op_type)
    if rule is None:
        return 0
    try:
        return rule(node, shapes)
    except (KeyError, IndexError):
        return 0


def multiplies(op_type: str) -> bool:
    """Whether an operator's multiply-accumulates are counted."""
    return op_type in _RULES


def _operand(node: onnx.NodeProto, shapes: Shapes, index: int) -> Shape:
    return shapes[node.input[index]]


def _attributes(node: onnx.NodeProto) -> dict[str, int]:
    return {a.name: a.i for a in node.attribute if a.type == onnx.AttributeProto.INT}


def _count_conv(node: onnx.NodeProto, shapes: Shapes) -> int:
    return count_conv_macs(shapes[node.output[0]], _operand(node, shapes, CONV_WEIGHT[node.op_type]))


def _count_conv_transpose(node: onnx.NodeProto, shapes: Shapes) -> int:
    return count_conv_transpose_macs(_operand(node, shapes, 0), _operand(node, shapes, 1))


def _count_matmul(node: onnx.NodeProto, shapes: Shapes) -> int:
    left, attributes = _operand(node, shapes, 0), _attributes(node)
    if attributes.get("transBatchA"):  # the batch axes but the first stand behind the row axis
        left = (*left[1:-1], left[0], left[-1])
    inner = left[-2] if attributes.get("transA") else left[-1]
    return count_matmul_macs(shapes[node.output[0]], inner)


def _count_einsum(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Product of all axes of the equation, for a contraction of two or more operands."""
    equation = next(a.s.decode() for a in node.attribute if a.name == "equation")
    terms = equation.replace(" ", "").split("->")[0].split(",")
    if len(terms) == 1:
        return 0
    axes: dict[str, int] = {}
    for term, name in zip(terms, node.input, strict=False):
        shape = shapes[name]
        front, dots, back = term.partition("...")
        middle = len(shape) - len(front) - len(back) if dots else 0
        labels = [*front, *(f"...{i - middle}" for i in range(middle)), *back]
        for label, size in zip(labels, shape, strict=True):
            axes[label] = max(size, axes.get(label, 1))
    return math.prod(axes.values())


def _count_recurrent(node: onnx.NodeProto, shapes: Shapes) -> int:
    """LSTM, GRU, RNN: both weight matrices once per step and item; ``X [T, B, I]``."""
    steps = math.prod(_operand(node, shapes, 0)[:2])
    return steps * (math.prod(_operand(node, shapes, 1)) + math.prod(_operand(node, shapes, 2)))


def _count_projected_attention(node: onnx.NodeProto, shapes: Shapes) -> int:
    """``com.microsoft.Attention``: the projection ``[B, S, I] x [I, Q+K+V]`` and both products per head."""
    batch, length, _ = _operand(node, shapes, 0)
    inner, width = _operand(node, shapes, 1)
    hidden = shapes[node.output[0]][-1]
    return batch * length * (inner * width + 2 * length * hidden)


def _count_attention(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Attention over given queries, keys and values: scores and their product with the values.

    ``[B, S, H*D]`` or ``[B, H, S, D]``; only the query and the output are needed where keys are packed into it.
    """
    query, output = _operand(node, shapes, 0), shapes[node.output[0]]
    rows = math.prod(query) // query[-1]
    keys = _operand(node, shapes, 1) if len(node.input) > 1 and node.input[1] else query
    length = max(_cached_length(node, shapes), keys[-2])
    return rows * length * (query[-1] + output[-1])


def _cached_length(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Length of the keys with what a cache held before, where the node gives its present keys ``[B, H, L, D]``."""
    present = node.output[1] if len(node.output) > 1 else ""
    shape = shapes.get(present, ())
    return shape[-2] if len(shape) == 4 else 0  # noqa: PLR2004 - batch, heads, length, depth


def _rules() -> dict[str, Callable[[onnx.NodeProto, Shapes], int]]:
    table: dict[str, Callable[[onnx.NodeProto, Shapes], int]] = dict.fromkeys(CONV_WEIGHT, _count_conv)
    table |= dict.fromkeys(MATMUL, _count_matmul)
    table |= dict.fromkeys(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"), _count_recurrent)
    table |= {"ConvTranspose": _count_conv_transpose, "Einsum": _count_einsum}
    table["QAttention"] = _count_projected_attention
    table |= dict.fromkeys(
        ("MultiHeadAttention", "GroupQueryAttention", "DecoderMaskedMultiHeadAttention"), _count_attention
    )
    table["Attention"] = _count_any_attention
    return table


def _count_any_attention(node: onnx.NodeProto, shapes: Shapes) -> int:
    """ONNX's Attention takes queries, keys and values; ``com.microsoft``'s projects them itself."""
    return (_count_projected_attention if node.domain == "com.microsoft" else _count_attention)(node, shapes)


_RULES = _rules()


def pair_shapes(names: Sequence[str], shapes: Sequence[Shape]) -> dict[str, Shape]:
    """Shapes by tensor name, skipping optional tensors without a name; empty where the numbers differ."""
    given = [name for name in names if name]
    return dict(zip(given, shapes, strict=True)) if len(given) == len(shapes) else {}
