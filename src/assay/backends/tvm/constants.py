"""Constants of a Relax function: what a chain of reshapes and dequantizations makes of them, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.backends.tvm.vendor import load_compiler
from assay.core.tensor import Array

Expr = Any
"""An expression of Relax, which has no types."""
LONGEST_CHAIN = 8


@dataclass(frozen=True, slots=True)
class Quantized:
    """A constant or an activation in 8-bit codes.

    Attributes:
        codes: expression of the codes, or their array where they are constant.
        scale: scalar, or ``[channels]``.
        zero: zero points of the same shape, as int32.
        axis: of the channels.
    """

    codes: Any
    scale: Array
    zero: Array
    axis: int


def op_name(expr: Expr) -> str:
    """Name of the operator that an expression calls; empty for others."""
    op = getattr(expr, "op", None)
    return str(getattr(op, "name", ""))


def static_shape(expr: Expr) -> tuple[int, ...] | None:
    """Sizes of a tensor; None where one is not known, or it is none."""
    shape = getattr(getattr(expr, "ty", None), "shape", None)
    values = getattr(shape, "values", None)
    if values is None:
        return None
    try:
        return tuple(int(size) for size in values)
    except (TypeError, ValueError):
        return None


def element_type(expr: Expr) -> str:
    """Element type of a tensor; empty where it is none."""
    return str(getattr(getattr(expr, "ty", None), "dtype", ""))


class Constants:
    """Looks up what variables of a function stand for.

    Args:
        definitions: variable -> the expression that it is bound to.
    """

    def __init__(self, definitions: Mapping[Expr, Expr]) -> None:
        self._definitions = definitions
        self._constant = load_compiler("ir").GenericConst

    def resolve(self, expr: Expr) -> Expr:
        """What a variable is bound to; the expression itself where it is none."""
        for _ in range(LONGEST_CHAIN):
            if expr not in self._definitions:
                break
            expr = self._definitions[expr]
        return expr

    def evaluate(self, expr: Expr) -> Array | None:
        """The array that an expression stands for; None where it is not constant, or too long a chain."""
        return self._evaluate(expr, LONGEST_CHAIN)

    def _evaluate(self, expr: Expr, depth: int) -> Array | None:
        expr = self.resolve(expr)
        if isinstance(expr, self._constant):
            array: Array = expr.value.numpy()
            return array
        name = op_name(expr)
        if not depth or name not in {"relax.reshape", "relax.permute_dims", "relax.dequantize", "relax.astype"}:
            return None
        if name == "relax.dequantize":
            found = self.read_quantized(expr)
            codes = None if found is None else self._evaluate(found.codes, depth - 1)
            return None if found is None or codes is None else dequantize(codes, found, element_type(expr))
        inner = self._evaluate(expr.args[0], depth - 1)
        return None if inner is None else _apply(expr, inner)

    def read_quantized(self, expr: Expr) -> Quantized | None:
        """Codes, scales and zero points of a dequantization with constant ones; None for anything else."""
        expr = self.resolve(expr)
        if op_name(expr) not in {"relax.dequantize", "relax.quantize"}:
            return None
        scale, zero = self.evaluate(expr.args[1]), self.evaluate(expr.args[2])
        if scale is None or zero is None or scale.ndim > 1:
            return None
        if scale.size == 1:
            scale, zero = scale.reshape(()), zero.reshape(-1)[:1].reshape(())
        return Quantized(expr.args[0], scale, zero.astype(np.int32), int(expr.attrs.axis))

    def read_weight(self, expr: Expr) -> Quantized | None:
        """Signed codes of a constant 8-bit weight with zero point 0; None for any other weight.

        Unsigned codes around 128 are the same weight and are re-encoded; a transposed weight is turned.
        """
        expr = self.resolve(expr)
        turned = op_name(expr) == "relax.permute_dims"
        axes = None
        if turned:
            inner = self.resolve(expr.args[0])
            axes = [int(axis) for axis in expr.attrs.axes] if expr.attrs.axes is not None else None
            expr = inner
        found = self.read_quantized(expr) if op_name(expr) == "relax.dequantize" else None
        codes = None if found is None else self.evaluate(found.codes)
        if found is None or codes is None or codes.dtype not in (np.int8, np.uint8):
            return None
        shift = 128 if codes.dtype == np.uint8 else 0
        if np.any(found.zero != shift):
            return None
        signed, axis = (codes.astype(np.int16) - shift).astype(np.int8), found.axis % max(codes.ndim, 1)
        if turned:
            axes = axes or list(range(codes.ndim))[::-1]
            signed, axis = signed.transpose(axes), axes.index(axis)
        return Quantized(signed, found.scale, np.zeros_like(found.zero), axis)


def _apply(expr: Expr, array: Array) -> Array | None:
    """What a reshape, a transposition or a cast makes of an array; None where that is not known."""
    name = op_name(expr)
    if name == "relax.permute_dims":
        axes = expr.attrs.axes
        return array.transpose(None if axes is None else [int(axis) for axis in axes])
    if name == "relax.astype":
        return array.astype(element_type(expr)) if element_type(expr) != "bfloat16" else None
    shape = static_shape(expr)
    return None if shape is None else array.reshape(shape)


def dequantize(codes: Array, form: Quantized, kind: str) -> Array:
    """``(codes - zero) * scale`` in FP32, as ONNX's DequantizeLinear has it."""
    shape = [1] * codes.ndim
    if form.scale.ndim:
        shape[form.axis] = form.scale.size
    scale, zero = form.scale.reshape(shape), form.zero.reshape(shape)
    values: Array = (
        (codes.astype(np.int32) - zero.astype(np.int32)).astype(np.float32) * scale.astype(np.float32)
    ).astype(kind)
    return values
