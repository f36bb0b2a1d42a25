"""How we lower operators where TVM's own lowering is inexact, or calls the C library for every element."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from assay.backends.tvm.vendor import load_compiler

Expr = Any
"""An expression of Relax, which has no types; likewise its builder and the tensors of its expressions."""
LIMITS = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767)}


def make_rules() -> Mapping[str, Callable[[Expr, Expr], Expr]]:
    """Operator of Relax -> function that takes the block builder and the call, and gives the lowered call."""
    return {
        "relax.quantize": _quantize,
        "relax.dequantize": _dequantize,
        "relax.exp": _fast("fast_exp"),
        "relax.erf": _fast("fast_erf"),
        "relax.tanh": _fast("fast_tanh"),
        "relax.sigmoid": _sigmoid,
        "relax.nn.silu": _silu,
        "relax.nn.softmax": _softmax,
        "relax.take": _take,
    }


def _quantize(builder: Expr, call: Expr) -> Expr:
    """``saturate(round_half_even(x / scale) + zero)``; exact, where TVM's own rounds halves away from zero."""
    te, tirx = load_compiler("te"), load_compiler("tirx")
    axis, kind = int(call.attrs.axis), str(call.attrs.out_dtype)
    if kind not in LIMITS:
        return _default("relax.quantize")(builder, call)
    low, high = LIMITS[kind]

    def compute(data: Expr, scale: Expr, zero: Expr) -> Expr:
        def quantize(*at: Expr) -> Expr:
            quotient = data[at].astype("float32") / _pick(scale, at, axis).astype("float32")
            moved = _round(quotient) + _pick(zero, at, axis).astype("float32")
            bounded = tirx.max(tirx.min(moved, tirx.const(float(high), "float32")), tirx.const(float(low), "float32"))
            return bounded.astype("int32").astype(kind)

        return te.compute(data.shape, quantize, name="quantize")

    return builder.call_te(compute, *call.args, primfunc_name_hint="quantize")


def _round(value: Expr) -> Expr:
    """The nearest integer, halves to even, as a float; TVM takes its own ``nearbyint`` apart into single elements."""
    return load_compiler("tirx").call_llvm_pure_intrin("float32", "llvm.nearbyint", value)


def _dequantize(builder: Expr, call: Expr) -> Expr:
    """``(code - zero) * scale`` with the difference in int32."""
    te, axis, kind = load_compiler("te"), int(call.attrs.axis), str(call.attrs.out_dtype)
    if not any(str(call.args[0].ty.dtype) == name for name in (*LIMITS, "int32")):
        return _default("relax.dequantize")(builder, call)

    def compute(data: Expr, scale: Expr, zero: Expr) -> Expr:
        def dequantize(*at: Expr) -> Expr:
            difference = data[at].astype("int32") - _pick(zero, at, axis).astype("int32")
            return (difference.astype("float32") * _pick(scale, at, axis).astype("float32")).astype(kind)

        return te.compute(data.shape, dequantize, name="dequantize")

    return builder.call_te(compute, *call.args, primfunc_name_hint="dequantize")


def _pick(tensor: Expr, at: tuple[Expr, ...], axis: int) -> Expr:
    """A scale or zero point: the only one, or that of the channel."""
    if not tensor.shape:
        return tensor[()]
    single = all(int(size) == 1 for size in tensor.shape)
    return tensor[(0,) * len(tensor.shape)] if single else tensor[at[axis]]


def _default(name: str) -> Callable[[Expr, Expr], Expr]:
    """TVM's own lowering."""
    rule: Callable[[Expr, Expr], Expr] = load_compiler("ir").Op.get(name).get_attr("FLegalize")
    return rule


def _fast(name: str) -> Callable[[Expr, Expr], Expr]:
    """A polynomial of topi's for FP32; other types as TVM has them."""

    def lower(builder: Expr, call: Expr) -> Expr:
        if str(call.args[0].ty.dtype) != "float32":
            return _default(str(call.op.name))(builder, call)
        return builder.call_te(getattr(load_compiler("topi"), name), call.args[0], primfunc_name_hint=name)

    return lower


def _sigmoid(builder: Expr, call: Expr) -> Expr:
    """``1 / (1 + exp(-x))``."""
    if str(call.args[0].ty.dtype) != "float32":
        return _default("relax.sigmoid")(builder, call)
    return builder.call_te(_compute_sigmoid, call.args[0], primfunc_name_hint="sigmoid")


def _silu(builder: Expr, call: Expr) -> Expr:
    """``x / (1 + exp(-x))``."""
    if str(call.args[0].ty.dtype) != "float32":
        return _default("relax.nn.silu")(builder, call)
    topi = load_compiler("topi")
    return builder.call_te(
        lambda data: topi.multiply(data, _compute_sigmoid(data)), call.args[0], primfunc_name_hint="silu"
    )


def _compute_sigmoid(data: Expr) -> Expr:
    te, topi = load_compiler("te"), load_compiler("topi")
    powers = topi.fast_exp(topi.negative(data))
    return te.compute(data.shape, lambda *at: 1.0 / (1.0 + powers[at]), name="sigmoid")


def _softmax(builder: Expr, call: Expr) -> Expr:
    if str(call.args[0].ty.dtype) != "float32":
        return _default("relax.nn.softmax")(builder, call)
    axis = int(call.attrs.axis)
    return builder.call_te(lambda data: _compute_softmax(data, axis), call.args[0], primfunc_name_hint="softmax")


def _compute_softmax(data: Expr, axis: int) -> Expr:
    """``exp(x - max) / sum``, with one division for each sum."""
    te, topi, place = load_compiler("te"), load_compiler("topi"), axis % len(data.shape)
    outer = [size for index, size in enumerate(data.shape) if index != place]

    def reduce(kind: Expr, tensor: Expr, name: str) -> Expr:
        step = te.reduce_axis((0, data.shape[place]), name="step")
        return te.compute(outer, lambda *at: kind(tensor[(*at[:place], step, *at[place:])], axis=step), name=name)

    def rest(at: tuple[Expr, ...]) -> tuple[Expr, ...]:
        return (*at[:place], *at[place + 1 :])

    largest = reduce(te.max, data, "softmax_max")
    powers = topi.fast_exp(te.compute(data.shape, lambda *at: data[at] - largest[rest(at)], name="softmax_difference"))
    total = reduce(te.sum, powers, "softmax_sum")
    factor = te.compute(outer, lambda *at: 1.0 / total[at], name="softmax_factor")
    return te.compute(data.shape, lambda *at: powers[at] * factor[rest(at)], name="softmax")


def _take(builder: Expr, call: Expr) -> Expr:
    """Rows of a table; NaN for a row that there is not, where TVM's fast mode reads foreign memory."""
    if str(call.attrs.mode) != "fast" or not str(call.args[0].ty.dtype).startswith("float"):
        return _default("relax.take")(builder, call)
    axis = None if call.attrs.axis is None else int(call.attrs.axis)
    return builder.call_te(
        lambda data, at: load_compiler("topi").take(data, at, axis, mode="nan"), *call.args, primfunc_name_hint="take"
    )
