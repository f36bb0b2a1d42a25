"""The rewrites of convolutions and matrix products onto ``kernels``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.backends.tvm import kernels
from assay.backends.tvm.batches import emit_code_batches
from assay.backends.tvm.constants import Quantized, element_type, op_name, static_shape
from assay.backends.tvm.intrinsics import QUAD, list_widths
from assay.backends.tvm.kernels import Window, pack_conv, pack_matmul
from assay.backends.tvm.layouts import IMAGE_RANK
from assay.backends.tvm.products import FORMATS, Product, count_call_macs, short_name
from assay.backends.tvm.values import Expr, Value
from assay.backends.tvm.vendor import load_compiler
from assay.core.precision import Precision
from assay.core.tensor import Array

if TYPE_CHECKING:
    from assay.backends.tvm.lowering import Lowering

Tensor = Any
"""A tensor of TVM's expressions, which has no types."""
FLOATS = frozenset({"float32", "float16"})
"""Element types that the kernels multiply as they are."""
ACCUMULATED = 2**31
"""Sums of 8-bit products must stay below."""
LARGEST_PRODUCT = 255 * 128
OPAQUE = 8
"""TVM's mark of a function that is fused to no other: a product whose loops are cut could not be tiled."""


def lower_conv(lowering: Lowering, call: Expr) -> Value | None:
    """A 2-D convolution, dense or depthwise; None for others, and where its weight is not constant."""
    shape, weight_shape, output = (static_shape(item) for item in (call.args[0], call.args[1], call))
    if shape is None or weight_shape is None or output is None or len(shape) != IMAGE_RANK:
        return None
    groups = int(call.attrs.groups)
    deep = groups == shape[1] == weight_shape[0] and weight_shape[1] == 1 and groups > 1
    if not (groups == 1 or deep) or str(call.attrs.data_layout) != "NCHW":
        return None
    window = read_window(call, weight_shape)
    integers = _read_integers(
        lowering, call.args[0], call.args[1], 0, weight_shape[1] * weight_shape[2] * weight_shape[3]
    )
    if integers is not None:
        return _emit_integers(
            lowering, call, integers, lambda weight, zero: _make_conv(lowering, weight, zero, window, deep=deep)
        )
    weight = lowering.constants.evaluate(call.args[1])
    if weight is None or element_type(call.args[0]) not in FLOATS:
        return None
    image = lowering.value(call.args[0]).take_last(lowering.builder)
    compute, packed = _make_conv(lowering, weight, 0, window, deep=deep)
    return Value(last=_emit_floats(lowering, call, image, packed, compute, output[1]))


def lower_matmul(lowering: Lowering, call: Expr) -> Value | None:
    """A product with a constant weight ``[K, N]``, or of two activations in floats; None for others."""
    left, right, output = (static_shape(item) for item in (call.args[0], call.args[1], call))
    if left is None or right is None or not output or len(left) < 2:  # noqa: PLR2004 - rows and columns
        return None
    if len(right) == 2:  # noqa: PLR2004 - as above
        integers = _read_integers(lowering, call.args[0], call.args[1], 1, right[0])
        if integers is not None:
            return _emit_integers(lowering, call, integers, lambda *given: _make_matmul(lowering, *given))
    both = _read_activations(lowering, call, right) if len(left) == len(right) else None
    lanes = pick_lanes(output[-1], lowering.machine.lanes)
    if both is not None:
        return Value(first=_cut(lowering.builder, emit_code_batches(lowering, call, both, lanes), output[-1]))
    if element_type(call.args[0]) not in FLOATS:
        return None
    weight = lowering.constants.evaluate(call.args[1]) if len(right) == 2 else None  # noqa: PLR2004 - as above
    data = lowering.value(call.args[0]).take_first(lowering.builder)
    if weight is not None:
        compute, packed = _make_matmul(lowering, weight, 0)
        return Value(first=_emit_floats(lowering, call, data, packed, compute, output[-1]))
    return _multiply_floats(lowering, call, data, output[-1]) if len(left) == len(right) else None


def _multiply_floats(lowering: Lowering, call: Expr, data: Expr, columns: int) -> Value:
    """A product of two activations in floats."""
    lanes = pick_lanes(columns, lowering.machine.lanes)
    other = lowering.value(call.args[1]).take_first(lowering.builder)
    return Value(
        first=_emit_floats(lowering, call, data, other, lambda a, b: kernels.multiply_batches(a, b, lanes), columns)
    )


def _read_activations(lowering: Lowering, call: Expr, right: tuple[int, ...]) -> tuple[Quantized, Quantized] | None:
    """Both operands of a product where they are dequantized activations whose sums are exact; else None."""
    found = [_read_activation(lowering, argument) for argument in call.args[:2]]
    if found[0] is None or found[1] is None or right[-2] * LARGEST_PRODUCT >= ACCUMULATED:
        return None
    return found[0], found[1]


def _read_activation(lowering: Lowering, expr: Expr) -> Quantized | None:
    """Codes and scale of an expression that is dequantized from 8 bits with one scale; else None."""
    source = lowering.constants.resolve(expr)
    if op_name(source) != "relax.dequantize":
        return None
    found = lowering.constants.read_quantized(source)
    if found is None or found.scale.ndim or element_type(found.codes) not in {"uint8", "int8"}:
        return None
    return found


def read_window(call: Expr, weight_shape: tuple[int, ...]) -> Window:
    """How a convolution of Relax walks."""
    down, right = (int(size) for size in call.attrs.strides)
    top, left, bottom, end = (int(size) for size in call.attrs.padding)
    tall, wide = (int(size) for size in call.attrs.dilation)
    return Window((weight_shape[2], weight_shape[3]), (down, right), (top, left, bottom, end), (tall, wide))


def pick_lanes(columns: int, widest: int) -> int:
    """Widest vector that columns fill; the widest that they fill half where they fill none."""
    for lanes in (16, 8, 4):
        if lanes <= widest and columns % lanes == 0 and lanes * 2 >= min(widest, columns):
            return lanes
    while widest > QUAD and columns <= widest // 2:
        widest //= 2
    return widest


def _read_integers(
    lowering: Lowering, data: Expr, weight: Expr, axis: int, inner: int
) -> tuple[Quantized, Quantized] | None:
    """Both operands where they are dequantized from 8 bits in a form whose sums are exact; else None."""
    found, right = _read_activation(lowering, data), lowering.constants.read_weight(weight)
    if found is None or right is None:
        return None
    if right.scale.ndim and right.axis != axis:
        return None
    return (found, right) if inner * LARGEST_PRODUCT < ACCUMULATED else None


def _emit_integers(
    lowering: Lowering,
    call: Expr,
    operands: tuple[Quantized, Quantized],
    make: Callable[[Array, int], tuple[Callable[[Tensor, Tensor], Tensor], Array]],
) -> Value:
    """The product on codes, times the product of the scales."""
    data, weight = operands
    relax, builder, kind = load_compiler("relax"), lowering.builder, lowering.machine.encoding
    codes, zero = lowering.codes(data, kind)
    image = len(weight.codes.shape) == IMAGE_RANK
    columns_axis = 0 if image else 1
    columns = weight.codes.shape[columns_axis]
    summed = tuple(axis for axis in range(weight.codes.ndim) if axis != columns_axis)
    compute, packed = make(weight.codes, zero)
    wide = packed.shape[-1] if packed.ndim == 3 else packed.shape[0] * packed.shape[-2]  # noqa: PLR2004 - depthwise
    shift, scale = np.zeros(wide, np.int32), np.zeros(wide, np.float32)
    shift[:columns] = -zero * weight.codes.astype(np.int64).sum(axis=summed)
    scale[:columns] = np.float32(data.scale) * weight.scale.astype(np.float32)
    te, out_type = load_compiler("te"), element_type(call)

    def multiply(tensor: Tensor, factor: Tensor, moved: Tensor, scaled: Tensor) -> Tensor:
        total = compute(tensor, factor)
        return te.compute(
            total.shape,
            lambda *at: ((total[at] + moved[at[-1]]).astype("float32") * scaled[at[-1]]).astype(out_type),
            name="rescale",
        )

    operand = codes.take_last(builder) if image else codes.take_first(builder)
    constants = [relax.const(array) for array in (packed, shift, scale)]
    made = builder.emit_te(multiply, operand, *constants, primfunc_name_hint=f"int8_{_hint(call)}")
    kernel = f"dot_{kind}_int8" if packed.shape[-1] == QUAD and packed.ndim > 3 else f"int32_{kind}"  # noqa: PLR2004
    lowering.products.append(Product(short_name(call), Precision.INT8, kernel, count_call_macs(call)))
    made = _cut(builder, made, columns)
    return Value(last=made) if image else Value(first=made)


def _emit_floats(
    lowering: Lowering,
    call: Expr,
    data: Expr,
    weight: Expr | Array,
    compute: Callable[[Tensor, Tensor], Tensor],
    columns: int,
) -> Expr:
    """The product on floats, added up in FP32."""
    relax, te, kind = load_compiler("relax"), load_compiler("te"), element_type(call)
    factor = relax.const(weight) if isinstance(weight, np.ndarray) else weight

    def multiply(left: Tensor, right: Tensor) -> Tensor:
        total = compute(left, right)
        if str(total.dtype) == kind:
            return total
        return te.compute(total.shape, lambda *at: total[at].astype(kind), name="narrow")

    made = lowering.builder.emit_te(multiply, data, factor, primfunc_name_hint=f"{kind}_{_hint(call)}")
    precision = FORMATS.get(element_type(call.args[0]), Precision.FP32)
    lowering.products.append(Product(short_name(call), precision, f"packed_{kind}", count_call_macs(call)))
    return _cut(lowering.builder, made, columns)


def _hint(call: Expr) -> str:
    return short_name(call).rpartition(".")[2]


def _cut(builder: Any, product: Expr, columns: int) -> Expr:  # noqa: ANN401 - Relax's builder has no types
    """A product without the columns that only fill its last vector."""
    shape = static_shape(product)
    if shape is None or shape[-1] == columns:
        return product
    te = load_compiler("te")

    def cut(tensor: Tensor) -> Tensor:
        return te.compute((*shape[:-1], columns), lambda *at: tensor[at], name="cut")

    return builder.emit_te(cut, product, primfunc_name_hint="cut", primfunc_attrs={"op_pattern": OPAQUE})


def _make_conv(
    lowering: Lowering, weight: Array, border: int, window: Window, *, deep: bool
) -> tuple[Callable[[Tensor, Tensor], Tensor], Array]:
    """How a convolution is computed, and its weight packed for that."""
    widest, integers = lowering.machine.lanes, weight.dtype == np.int8
    lanes = pick_lanes(weight.shape[0], widest)
    if deep:
        lanes = next((size for size in (16, 8, 4, 2) if size <= widest and weight.shape[0] % size == 0), 1)
        packed = np.ascontiguousarray(weight[:, 0].transpose(1, 2, 0))
        return lambda a, b: kernels.convolve_channels(a, b, window, lanes, border), packed
    quad = QUAD if integers and lanes in list_widths(lowering.machine) else 1
    return lambda a, b: kernels.convolve(a, b, window, border), pack_conv(weight, lanes, quad)


def _make_matmul(lowering: Lowering, weight: Array, border: int) -> tuple[Callable[[Tensor, Tensor], Tensor], Array]:
    """How a product with a constant weight is computed, and the weight packed for that."""
    del border
    lanes = pick_lanes(weight.shape[1], lowering.machine.lanes)
    quad = QUAD if weight.dtype == np.int8 and lanes in list_widths(lowering.machine) else 1
    return kernels.multiply_packed, pack_matmul(weight, lanes, quad)
