"""Elementwise operators and reductions of ONNX in torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch.nn import functional

from assay.backends.torch.operators import Host, Operator, Table, Tensor, simple


def clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None, **bounds: float) -> Tensor:
    """Clip, its bounds as inputs or, before operator set 11, as attributes ``min`` and ``max``."""
    least = bounds.get("min") if low is None else low
    most = bounds.get("max") if high is None else high
    if torch.is_tensor(least):
        x = torch.maximum(x, least)
    elif least is not None:
        x = x.clamp(min=least)
    if torch.is_tensor(most):
        return torch.minimum(x, most)
    return x if most is None else x.clamp(max=most)


def divide(x: Tensor, y: Tensor) -> Tensor:
    """Div: integers are cut towards zero."""
    return torch.div(x, y) if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


def modulo(x: Tensor, y: Tensor, *, fmod: int = 0) -> Tensor:
    """Mod: the sign of the divisor, or with ``fmod`` that of the dividend."""
    return torch.fmod(x, y) if fmod else torch.remainder(x, y)


def power(x: Tensor, y: Tensor) -> Tensor:
    """Pow, in the type of the base."""
    return torch.pow(x, y.to(x.dtype) if x.is_floating_point() else y).to(x.dtype)


def shift(x: Tensor, y: Tensor, *, direction: str) -> Tensor:
    """BitShift."""
    return torch.bitwise_left_shift(x, y) if direction == "LEFT" else torch.bitwise_right_shift(x, y)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """PRelu, its slope broadcast from the right."""
    return torch.where(x < 0, x * slope, x)


def round_off(x: Tensor) -> Tensor:
    """Round half to even."""
    return torch.round(x)


def find_infinities(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    """IsInf of either sign."""
    positive, negative = torch.isposinf(x), torch.isneginf(x)
    return (positive & bool(detect_positive)) | (negative & bool(detect_negative))


def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """Gelu, exact or by tanh."""
    return functional.gelu(x, approximate=approximate)


def shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    """Shrink."""
    zero = torch.zeros((), dtype=x.dtype, device=x.device)
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, zero))


def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """HardSigmoid: ``max(0, min(1, alpha x + beta))``."""
    return (x * alpha + beta).clamp(0, 1)


def selu(x: Tensor, *, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805) -> Tensor:
    """Selu."""
    return gamma * torch.where(x > 0, x, alpha * (torch.exp(x) - 1))


def _axes(x: Tensor, given: Host | None, attribute: Host | None, *, keep: bool) -> Host | None:
    """Axes that a reduction goes over; None where it leaves the tensor as it is."""
    axes = given if given is not None else attribute
    if axes:
        return tuple(axes)
    return None if keep else tuple(range(x.dim()))


def _reduction(function: Callable[[Tensor, Host, bool], Tensor]) -> Operator:
    """A reduction over axes that are an input or, before operator sets 13 and 18, an attribute."""

    def run(
        x: Tensor,
        given: Host | None = None,
        *,
        axes: Host | None = None,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Tensor:
        over = _axes(x, given, axes, keep=bool(noop_with_empty_axes))
        return x if over is None else function(x, over, bool(keepdims))

    return simple(run, 1)


def _product(x: Tensor, axes: Host, keep: bool) -> Tensor:  # noqa: FBT001 - as torch's reductions take it
    for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
        x = torch.prod(x, axis, keepdim=keep, dtype=x.dtype)
    return x


def _mean(x: Tensor, axes: Host, keep: bool) -> Tensor:  # noqa: FBT001 - as above
    return torch.mean(x, axes, keepdim=keep) if axes else x


def _sum(x: Tensor, axes: Host, keep: bool) -> Tensor:  # noqa: FBT001 - as above
    return torch.sum(x, axes, keepdim=keep, dtype=x.dtype) if axes else x


def _extreme(function: Callable[..., Tensor]) -> Callable[[Tensor, Host, bool], Tensor]:
    def run(x: Tensor, axes: Host, keep: bool) -> Tensor:  # noqa: FBT001 - as above
        if x.dtype is torch.bool:
            return function(x.to(torch.uint8), axes, keepdim=keep).to(torch.bool)
        return function(x, axes, keepdim=keep) if axes else x

    return run


def _argument(*, largest: bool) -> Operator:
    """ArgMax or ArgMin."""

    def run(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
        turned = x.flip(axis) if select_last_index else x
        found = (torch.argmax if largest else torch.argmin)(turned, axis, keepdim=bool(keepdims))
        return x.shape[axis] - 1 - found if select_last_index else found

    return simple(run)


def accumulate(x: Tensor, axis: Host, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """CumSum."""
    along = int(axis[0])
    turned = x.flip(along) if reverse else x
    total = torch.cumsum(turned, along, dtype=x.dtype)
    total = total - turned if exclusive else total
    return total.flip(along) if reverse else total


def _variadic(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return simple(lambda *inputs: reduce(function, inputs))


def average(*inputs: Tensor) -> Tensor:
    """Mean of tensors."""
    return reduce(torch.add, inputs) / len(inputs)


def _unary(function: Callable[..., Any]) -> Operator:
    return simple(function)


_PLAIN: dict[str, Callable[..., Any]] = {
    "Abs": torch.abs, "Acos": torch.acos, "Acosh": torch.acosh, "Asin": torch.asin, "Asinh": torch.asinh,
    "Atan": torch.atan, "Atanh": torch.atanh, "Ceil": torch.ceil, "Cos": torch.cos, "Cosh": torch.cosh,
    "Erf": torch.erf, "Exp": torch.exp, "Floor": torch.floor, "IsNaN": torch.isnan, "Log": torch.log,
    "Neg": torch.neg, "Not": torch.logical_not, "Reciprocal": torch.reciprocal, "Relu": torch.relu,
    "Sigmoid": torch.sigmoid, "Sign": torch.sign, "Sin": torch.sin, "Sinh": torch.sinh, "Sqrt": torch.sqrt,
    "Tan": torch.tan, "Tanh": torch.tanh, "Softsign": functional.softsign, "Mish": functional.mish,
    "BitwiseNot": torch.bitwise_not, "HardSwish": functional.hardswish, "Round": round_off, "Det": torch.det,
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": divide, "Pow": power, "Mod": modulo,
    "And": torch.logical_and, "Or": torch.logical_or, "Xor": torch.logical_xor, "Equal": torch.eq,
    "Greater": torch.gt, "GreaterOrEqual": torch.ge, "Less": torch.lt, "LessOrEqual": torch.le,
    "BitShift": shift, "BitwiseAnd": torch.bitwise_and, "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor, "Where": torch.where, "PRelu": prelu, "IsInf": find_infinities,
    "Clip": clip, "Gelu": gelu, "Shrink": shrink, "HardSigmoid": hard_sigmoid, "Selu": selu, "Mean": average,
}  # fmt: skip

MATH: Table = {
    **{name: _unary(function) for name, function in _PLAIN.items()},
    "Softplus": simple(lambda x: torch.logaddexp(x, torch.zeros((), dtype=x.dtype, device=x.device))),
    "Elu": simple(lambda x, *, alpha=1.0: torch.where(x > 0, x, alpha * (torch.exp(x) - 1))),
    "Celu": simple(lambda x, *, alpha=1.0: functional.celu(x, alpha)),
    "LeakyRelu": simple(lambda x, *, alpha=0.01: functional.leaky_relu(x, alpha)),
    "ThresholdedRelu": simple(lambda x, *, alpha=1.0: torch.where(x > alpha, x, torch.zeros_like(x))),
    "Swish": simple(lambda x, *, alpha=1.0: x * torch.sigmoid(alpha * x)),
    "Sum": _variadic(torch.add),
    "Max": _variadic(torch.maximum),
    "Min": _variadic(torch.minimum),
    "CumSum": simple(accumulate, 1),
    "ArgMax": _argument(largest=True),
    "ArgMin": _argument(largest=False),
    "ReduceSum": _reduction(_sum),
    "ReduceMean": _reduction(_mean),
    "ReduceMax": _reduction(_extreme(torch.amax)),
    "ReduceMin": _reduction(_extreme(torch.amin)),
    "ReduceProd": _reduction(_product),
    "ReduceL1": _reduction(lambda x, axes, keep: _sum(x.abs(), axes, keep)),
    "ReduceL2": _reduction(lambda x, axes, keep: torch.sqrt(_sum(x * x, axes, keep))),
    "ReduceLogSum": _reduction(lambda x, axes, keep: torch.log(_sum(x, axes, keep))),
    "ReduceLogSumExp": _reduction(lambda x, axes, keep: torch.logsumexp(x, axes, keepdim=keep)),
    "ReduceSumSquare": _reduction(lambda x, axes, keep: _sum(x * x, axes, keep)),
}
"""Operator -> its function; source: ONNX operator specifications."""
