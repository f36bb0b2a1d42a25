"""Products of two quantized activations, as in attention: both operands are codes, and both have zero points.

With codes ``a`` and ``b`` and zero points ``y`` and ``z``, the sum of ``(a - y)(b - z)`` over ``K`` inner elements is
``sum(ab) - y sum(b) - z sum(a) + K y z``: one dot product, and a sum of each column and each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.backends.tvm.constants import Quantized, element_type, static_shape
from assay.backends.tvm.intrinsics import QUAD, list_widths
from assay.backends.tvm.kernels import name_product, pad_last, round_up
from assay.backends.tvm.products import Product, count_call_macs, short_name
from assay.backends.tvm.values import Expr
from assay.backends.tvm.vendor import load_compiler
from assay.core.precision import Precision

if TYPE_CHECKING:
    from assay.backends.tvm.lowering import Lowering

Tensor = Any
"""A tensor of TVM's expressions, which has no types."""
RIGHT = "int8"
"""Element type in which every dot product takes its second operand."""


def emit_code_batches(lowering: Lowering, call: Expr, operands: tuple[Quantized, Quantized], lanes: int) -> Expr:
    """The product ``[..., M, N']`` on codes, times the product of the scales, where N' fills the lanes."""
    relax, op, builder = load_compiler("relax"), load_compiler("relax.op"), lowering.builder
    kind, out_type = lowering.machine.encoding, element_type(call)
    left, left_zero = lowering.codes(operands[0], kind)
    right, right_zero = lowering.codes(operands[1], RIGHT)
    quad = QUAD if lanes in list_widths(lowering.machine) else 1
    rows, columns = left.take_first(builder), right.take_first(builder)
    inner = (static_shape(rows) or (0,))[-1]
    packed = builder.emit_te(lambda data: pack_columns(data, lanes, quad), columns, primfunc_name_hint="pack_columns")
    given = [rows, packed]
    if left_zero:
        given.append(builder.emit_te(sum_columns, packed, primfunc_name_hint="sum_columns"))
    if right_zero:
        given.append(builder.emit(op.sum(op.astype(rows, "int32"), axis=[-1], keepdims=True)))
    scale = relax.const(np.float32(operands[0].scale) * np.float32(operands[1].scale), "float32")

    def multiply(factor: Tensor, *tensors: Tensor) -> Tensor:
        te, total, sums = load_compiler("te"), multiply_columns(*tensors[:2]), list(tensors[2:])
        by_column = sums.pop(0) if left_zero else None
        by_row = sums.pop(0) if right_zero else None

        def rescale(*at: Tensor) -> Tensor:
            *outer, m, n = at
            value = total[at] + inner * left_zero * right_zero
            if by_column is not None:
                value -= left_zero * by_column[(*_pick(outer, by_column, 2), 0, n)]
            if by_row is not None:
                value -= right_zero * by_row[(*_pick(outer, by_row, 2), m, 0)]
            return (value.astype("float32") * factor[()]).astype(out_type)

        return te.compute(total.shape, rescale, name="rescale")

    made = builder.emit_te(multiply, scale, *given, primfunc_name_hint="int8_matmul_batches")
    kernel = f"dot_{kind}_int8" if quad == QUAD else f"int32_{kind}"
    lowering.products.append(Product(short_name(call), Precision.INT8, kernel, count_call_macs(call)))
    return made


def pack_columns(data: Tensor, lanes: int, quad: int) -> Tensor:
    """``[..., K, N]`` as ``[..., N / lanes, K / quad, lanes, quad]``, with zeros where K and N do not fill."""
    te, tirx = load_compiler("te"), load_compiler("tirx")
    inner, columns = (int(size) for size in data.shape[-2:])
    blocks, tops = round_up(inner, quad) // quad, round_up(columns, lanes) // lanes

    def pack(*at: Tensor) -> Tensor:
        *outer, top, block, lane, part = at
        k, n = block * quad + part, top * lanes + lane
        tests = [k < inner] if inner % quad else []
        tests += [n < columns] if columns % lanes else []
        value = data[(*outer, k, n)]
        if not tests:
            return value
        inside = tests[0] if len(tests) == 1 else tirx.all(*tests)
        return tirx.if_then_else(inside, value, tirx.const(0, str(data.dtype)))

    return te.compute((*data.shape[:-2], tops, blocks, lanes, quad), pack, name="pack")


def sum_columns(packed: Tensor) -> Tensor:
    """``[..., 1, N']`` int32 of what ``pack_columns`` gives: the sum of each column."""
    te = load_compiler("te")
    tops, blocks, lanes, quad = (int(size) for size in packed.shape[-4:])
    block, part = te.reduce_axis((0, blocks)), te.reduce_axis((0, quad))

    def add(*at: Tensor) -> Tensor:
        *outer, _, n = at
        return te.sum(packed[(*outer, n // lanes, block, n % lanes, part)].astype("int32"), axis=[block, part])

    return te.compute((*packed.shape[:-4], 1, tops * lanes), add, name="sum_columns")


def multiply_columns(left: Tensor, packed: Tensor) -> Tensor:
    """``[..., M, K]`` times what ``pack_columns`` made of ``[..., K, N]``: ``[..., M, N']`` int32."""
    te = load_compiler("te")
    tops, blocks, lanes, quad = (int(size) for size in packed.shape[-4:])
    wide = pad_last(left, blocks * quad)
    block, part = te.reduce_axis((0, blocks)), te.reduce_axis((0, quad))
    batches = [max(int(a), int(b)) for a, b in zip(left.shape[:-2], packed.shape[:-4], strict=True)]

    def multiply(*at: Tensor) -> Tensor:
        *outer, m, n = at
        first = wide[(*_pick(outer, wide, 2), m, block * quad + part)].astype("int32")
        second = packed[(*_pick(outer, packed, 4), n // lanes, block, n % lanes, part)].astype("int32")
        return te.sum(first * second, axis=[block, part])

    return te.compute((*batches, left.shape[-2], tops * lanes), multiply, name=name_product(lanes, quad))


def _pick(outer: Sequence[Tensor], tensor: Tensor, inner: int) -> list[Tensor]:
    """Indices of the batch axes of a tensor, 0 where it has one of them for all."""
    sizes = tensor.shape[: len(tensor.shape) - inner]
    return [0 if int(size) == 1 else at for at, size in zip(outer, sizes, strict=True)]
