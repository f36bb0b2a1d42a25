"""Which operators take images with their channels last, and how they are told so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from assay.backends.tvm.constants import element_type
from assay.backends.tvm.vendor import load_compiler

Expr = Any
"""An expression of Relax, which has no types."""

TO_LAST = (0, 2, 3, 1)
TO_FIRST = (0, 3, 1, 2)
LAST_AXIS = {0: 0, 1: 3, 2: 1, 3: 2}
"""Axis of an image with its channels first -> the same with its channels last."""
IMAGE_RANK = 4

ELEMENTWISE = frozenset(
    f"relax.{name}"
    for name in (
        "add", "subtract", "multiply", "divide", "maximum", "minimum", "power", "nn.relu", "nn.leakyrelu", "nn.gelu",
        "nn.gelu_tanh", "nn.silu", "nn.softplus", "nn.relu6", "sigmoid", "tanh", "exp", "erf", "log", "sqrt", "rsqrt",
        "square", "abs", "negative", "floor", "ceil", "round", "clip", "astype",
    )
)  # fmt: skip
"""Operators that treat every element alike, so that images may be in any order as long as all are in the same."""

REDUCTIONS = frozenset({"relax.mean", "relax.sum", "relax.max", "relax.min"})
POOLS = frozenset({"relax.nn.max_pool2d", "relax.nn.avg_pool2d"})


def call_with_channels_last(call: Expr, arguments: list[Expr]) -> Expr | None:
    """The same operator on images with their channels last.

    Args:
        call: with the channels first.
        arguments: of the call, images turned.

    Returns:
        None where the operator cannot take them.
    """
    maker = _makers().get(str(call.op.name))
    return None if maker is None else maker(call, arguments)


def _makers() -> Mapping[str, Callable[[Expr, list[Expr]], Expr | None]]:
    makers: dict[str, Callable[[Expr, list[Expr]], Expr | None]] = dict.fromkeys(ELEMENTWISE, _repeat)
    makers |= dict.fromkeys(REDUCTIONS, _reduce)
    makers |= dict.fromkeys(POOLS, _pool)
    makers |= {"relax.quantize": _quantize, "relax.dequantize": _quantize, "relax.image.resize2d": _resize}
    makers |= {"relax.nn.adaptive_avg_pool2d": _adapt}
    return makers


def _repeat(call: Expr, arguments: list[Expr]) -> Expr:
    return load_compiler("relax").Call(call.op, arguments, call.attrs, call.ty_args)


def _quantize(call: Expr, arguments: list[Expr]) -> Expr:
    op = load_compiler("relax.op")
    make = op.quantize if str(call.op.name) == "relax.quantize" else op.dequantize
    axis = LAST_AXIS[int(call.attrs.axis) % IMAGE_RANK]
    return make(*arguments, axis=axis, out_dtype=element_type(call) or str(call.attrs.out_dtype))


def _reduce(call: Expr, arguments: list[Expr]) -> Expr | None:
    axes = call.attrs.axis
    if axes is None or not call.attrs.keepdims:
        return None
    turned = sorted(LAST_AXIS[int(axis) % IMAGE_RANK] for axis in axes)
    make = getattr(load_compiler("relax.op"), str(call.op.name).rpartition(".")[2])
    return make(arguments[0], axis=turned, keepdims=True)


def _pool(call: Expr, arguments: list[Expr]) -> Expr:
    make = getattr(load_compiler("relax.op.nn"), str(call.op.name).rpartition(".")[2])
    sizes = {key: [int(size) for size in getattr(call.attrs, key)] for key in ("strides", "padding", "dilation")}
    return make(
        arguments[0],
        pool_size=[int(size) for size in call.attrs.pool_size],
        ceil_mode=bool(call.attrs.ceil_mode),
        count_include_pad=bool(call.attrs.count_include_pad),
        layout="NHWC",
        **sizes,
    )


def _adapt(call: Expr, arguments: list[Expr]) -> Expr:
    size = None if call.attrs.output_size is None else [int(size) for size in call.attrs.output_size]
    return load_compiler("relax.op.nn").adaptive_avg_pool2d(arguments[0], size, layout="NHWC")


def _resize(call: Expr, arguments: list[Expr]) -> Expr:
    attrs = call.attrs
    return load_compiler("relax.op.image").resize2d(
        arguments[0],
        arguments[1],
        roi=attrs.roi,
        layout="NHWC",
        method=attrs.method,
        coordinate_transformation_mode=attrs.coordinate_transformation_mode,
        rounding_method=attrs.rounding_method,
        cubic_alpha=attrs.cubic_alpha,
        cubic_exclude=attrs.cubic_exclude,
        extrapolation_value=attrs.extrapolation_value,
    )
