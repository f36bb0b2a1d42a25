"""Multiply-accumulates of the operators of an OpenVINO model, from the shapes at their ports."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.backends.openvino.vendor import load_core
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


def _count_einsum(inputs: Sequence[Shape], output: Shape, attributes: Attributes) -> int:
    """Two operands: one product for each combination of all labels; an ellipsis stands for the output's first axes."""
    terms = str(attributes.get("equation", "")).replace(" ", "").split("->")[0].split(",")
    if len(terms) < 2:  # noqa: PLR2004 - a single operand is summed or transposed, not multiplied
        return 0
    sizes: dict[str, int] = {}
    spread = 1
    for term, shape in zip(terms, inputs, strict=True):
        before, dots, after = term.partition("...")
        sizes |= zip(before, shape, strict=False)
        sizes |= zip(reversed(after), reversed(shape), strict=False)
        if dots:
            spread = max(spread, math.prod(shape[len(before) : len(shape) - len(after)]))
    del output
    return spread * math.prod(sizes.values())


COUNTS: dict[str, Count] = {
    "Convolution": _count_convolution,
    "GroupConvolution": _count_group_convolution,
    "ConvolutionBackpropData": _count_transposed,
    "GroupConvolutionBackpropData": _count_group_transposed,
    "DeformableConvolution": _count_deformable,
    "MatMul": _count_matmul,
    "Einsum": _count_einsum,
    "ScaledDotProductAttention": _count_attention,
    "LSTMCell": _recurrent(3),
    "GRUCell": _recurrent(2),
    "RNNCell": _recurrent(2),
    "LSTMSequence": _recurrent(4),
    "GRUSequence": _recurrent(3),
    "RNNSequence": _recurrent(3),
}
"""Operators of an OpenVINO model that multiply and accumulate; the bodies of loops are not looked into."""

FARTHEST = 64
"""Operators behind a product among which its fused form is looked for."""


@dataclass(frozen=True, slots=True)
class Product:
    """An operator of a model that multiplies and accumulates.

    Attributes:
        name: of the operator.
        macs: multiply-accumulates at the given feeds.
        followers: operators that it feeds, nearest first, up to the next product: fusion may leave only their names.
    """

    name: str
    macs: int
    followers: tuple[str, ...]


def find_products(model: Any, feeds: Sequence[Any]) -> list[Product]:  # noqa: ANN401 - the vendor's objects
    """All products of a model whose input shapes are fixed, but those of constants alone, which never run.

    Args:
        model: read anew, since sizes that depend on values are found by running it with more outputs.
        feeds: tensors in the order of the model's inputs.
    """
    nodes = [node for node in _follow_inputs(model) if node.get_type_name() in COUNTS]
    followers = [_find_followers(node) for node in nodes]
    ports = [port for node in nodes for port in (*node.input_values(), node.output(0))]
    unknown = [port for port in ports if port.get_partial_shape().is_dynamic]
    sizes = _measure_shapes(model, unknown, feeds) if unknown else {}

    def shape(port: Any) -> Shape:  # noqa: ANN401 - the vendor's object has no types
        return sizes.get(_key(port)) or tuple(port.get_shape())

    return [
        Product(
            name=node.get_friendly_name(),
            macs=COUNTS[node.get_type_name()](
                [shape(port) for port in node.input_values()], shape(node.output(0)), node.get_attributes()
            ),
            followers=after,
        )
        for node, after in zip(nodes, followers, strict=True)
    ]


def _follow_inputs(model: Any) -> list[Any]:  # noqa: ANN401 - the vendor's objects have no types
    """Operators that depend on an input of the model, in the order of execution."""
    reached: dict[str, Any] = {}
    for node in model.get_ordered_ops():
        sources = (port.get_node().get_friendly_name() for port in node.input_values())
        if node.get_type_name() == "Parameter" or any(name in reached for name in sources):
            reached[node.get_friendly_name()] = node
    return list(reached.values())


def _find_followers(node: Any) -> tuple[str, ...]:  # noqa: ANN401 - the vendor's object has no types
    """Names of the operators behind a product, breadth first, not looking past other products."""
    names: dict[str, None] = {}
    waiting = deque([node])
    while waiting and len(names) < FARTHEST:
        for output in waiting.popleft().outputs():
            for entry in output.get_target_inputs():
                follower = entry.get_node()
                name = follower.get_friendly_name()
                if name not in names and follower.get_type_name() not in COUNTS:
                    names[name] = None
                    waiting.append(follower)
    return tuple(names)


def _key(port: Any) -> tuple[str, int]:  # noqa: ANN401 - the vendor's object has no types
    """What tells a port apart in a model."""
    return port.get_node().get_friendly_name(), port.get_index()


def _measure_shapes(model: Any, ports: Sequence[Any], feeds: Sequence[Any]) -> dict[tuple[str, int], Shape]:  # noqa: ANN401 - as above
    """Shapes of ports whose sizes depend on values, by running the model with these ports as outputs."""
    model.add_outputs(list({_key(port): port for port in ports}.values()))
    compiled = load_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = list(compiled(list(feeds)).values())
    sources = (output.get_node().input_value(0) for output in model.outputs)
    return {_key(source): tuple(result.shape) for source, result in zip(sources, results, strict=True)}
