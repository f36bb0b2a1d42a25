"""Rewrites a Relax function onto our kernels: channels last, weights packed, quantized operands as integers.

A convolution or matrix product whose operands are both dequantized multiplies their codes instead: 8-bit products
added up in int32, to which the zero point's share of the sum is added, and which the product of the scales turns into
the floats that the model had there. What follows (bias, activation, residual sum, the next quantization) stays as the
model has it; TVM fuses it to the product, so that nothing but codes goes through memory.

Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", section 2.3.
"""

from __future__ import annotations

from typing import Any

from assay.backends.tvm.constants import Constants, Quantized, element_type, op_name, static_shape
from assay.backends.tvm.hoisting import list_bindings
from assay.backends.tvm.layouts import IMAGE_RANK, LAST_AXIS, TO_LAST, call_with_channels_last
from assay.backends.tvm.machine import Machine
from assay.backends.tvm.products import Product, count_call_macs, describe_float
from assay.backends.tvm.rewrites import lower_conv, lower_matmul
from assay.backends.tvm.values import HALF, Builder, Expr, Value, recode
from assay.backends.tvm.vendor import load_compiler

MAIN = "main"


class Lowering:
    """One function while it is rewritten.

    Args:
        machine: whose kernels are wanted.
        function: of Relax, with shapes known.

    Attributes:
        products: what multiplies, in the order of the function.
    """

    def __init__(self, machine: Machine, function: Expr) -> None:
        self.machine = machine
        self.builder: Builder = load_compiler("relax").BlockBuilder()
        self.products: list[Product] = []
        self._function = function
        self._relax: Any = load_compiler("relax")
        self._values: dict[Expr, Value] = {}
        self._codes: dict[tuple[Expr, str], Value] = {}
        self._bindings = list_bindings(function)
        self.constants = Constants({binding.var: binding.value for binding in self._bindings})

    def run(self) -> Expr:
        """The module with the rewritten function."""
        function, builder = self._function, self.builder
        with builder.function(MAIN, list(function.params)):
            with builder.dataflow():
                for binding in self._bindings:
                    self._bind(binding)
                output = builder.emit_output(self._substitute(function.body.body))
            builder.emit_func_output(output)
        return builder.get()

    def value(self, expr: Expr) -> Value:
        """The forms of an operand."""
        if isinstance(expr, self._relax.Var):
            return self._values.setdefault(expr, Value(first=expr))
        return Value(first=self._substitute(expr))

    def codes(self, operand: Quantized, kind: str) -> tuple[Value, int]:
        """Codes of a quantized activation in a type, and its zero point in that type.

        Args:
            operand: with one scale.
            kind: ``uint8`` or ``int8``.
        """
        zero, given = int(operand.zero), element_type(operand.codes)
        shift = 0 if given == kind else HALF if kind == "uint8" else -HALF
        known = self._codes.get((operand.codes, kind))
        if known is not None:
            return known, zero + shift
        value = self.value(operand.codes)
        if not shift:
            return value, zero
        moved = Value()
        if value.last is not None:
            moved.last = recode(self.builder, value.last, kind)
        else:
            moved.first = recode(self.builder, value.first, kind)
        self._codes[operand.codes, kind] = moved
        return moved, zero + shift

    def _bind(self, binding: Expr) -> None:
        var, call = binding.var, binding.value
        if isinstance(binding, self._relax.MatchCast):
            cast = self._relax.MatchCast(var, self._substitute(call), binding.ty)
            self._values[var] = Value(first=self.builder.emit_normalized(cast))
            return
        name = op_name(call)
        found = None
        if name in {"relax.nn.conv2d", "relax.matmul"}:
            found = (lower_conv if name == "relax.nn.conv2d" else lower_matmul)(self, call)
        elif name in {"relax.quantize", "relax.dequantize"}:
            found = self._lower_quantizer(var, call)
        if found is None and name:
            found = self._turn_call(call)
        if found is None:
            macs = count_call_macs(call) if name else 0
            if macs:
                self.products.append(describe_float(call, macs))
            found = Value(first=self.builder.emit(self._substitute(call)))
        self._values[var] = found

    def _turn_call(self, call: Expr) -> Value | None:
        """The call on images with their channels last, where one of its operands already is one."""
        if op_name(call) == "relax.concat":
            return self._turn_concat(call)
        values = [self.value(argument) if self._is_tensor(argument) else None for argument in call.args]
        if not any(value is not None and value.last is not None for value in values):
            return None
        arguments = []
        quantizes = op_name(call) in {"relax.quantize", "relax.dequantize"}
        for index, (argument, value) in enumerate(zip(call.args, values, strict=True)):
            turned = self._turn_operand(argument, value, parameter=quantizes and index > 0)
            if turned is None:
                return None
            arguments.append(turned)
        made = call_with_channels_last(call, arguments)
        return None if made is None else Value(last=self.builder.emit(made))

    def _turn_operand(self, argument: Expr, value: Value | None, *, parameter: bool) -> Expr | None:
        """An operand with its channels last; None where it cannot have them.

        Args:
            argument: of the call.
            value: its forms; None where it is no tensor.
            parameter: it is a list with one number for each channel, and stays one.
        """
        if value is None:
            return self._substitute(argument)
        if value.is_image():
            array = None if value.last is not None else self.constants.evaluate(argument)
            if array is not None:
                value.last = self._relax.const(array.transpose(TO_LAST), element_type(argument))
            return value.take_last(self.builder)
        shape = static_shape(argument)
        if shape is None or len(shape) > IMAGE_RANK:
            return None
        if parameter or not shape:
            return value.take_first(self.builder)
        array = self.constants.evaluate(argument)
        if array is None:
            return None
        image = array.reshape((1,) * (IMAGE_RANK - array.ndim) + array.shape)
        return self._relax.const(image.transpose(TO_LAST), element_type(argument))

    def _turn_concat(self, call: Expr) -> Value | None:
        """Images joined along an axis, with their channels last where one of them has them so."""
        joined = self.constants.resolve(call.args[0])
        values = [self.value(field) for field in getattr(joined, "fields", ())]
        if call.attrs.axis is None or not any(value.last is not None for value in values):
            return None
        if not all(value.is_image() for value in values):
            return None
        images = [value.take_last(self.builder) for value in values]
        axis = LAST_AXIS[int(call.attrs.axis) % IMAGE_RANK]
        return Value(last=self.builder.emit(load_compiler("relax.op").concat(images, axis=axis)))

    def _lower_quantizer(self, var: Expr, call: Expr) -> Value | None:
        """Quantize straight into the type that products want; dequantize from it."""
        form, kind = self.constants.read_quantized(call), self.machine.encoding
        codes_of = call if op_name(call) == "relax.quantize" else None
        given = element_type(codes_of if codes_of is not None else call.args[0])
        if form is None or form.scale.ndim or given == kind or given not in {"uint8", "int8"}:
            return None
        op, relax, shift = load_compiler("relax.op"), self._relax, HALF if kind == "uint8" else -HALF
        scale = self._substitute(call.args[1])
        zero = relax.const(form.zero.astype("int32").item() + shift, kind)
        if codes_of is not None:
            source = self.value(call.args[0])
            turned = source.last is not None
            moved = self.builder.emit(op.quantize(source.any, scale, zero, axis=0, out_dtype=kind))
            self._codes[var, kind] = Value(last=moved) if turned else Value(first=moved)
            back = recode(self.builder, moved, given)
            return Value(last=back) if turned else Value(first=back)
        if (call.args[0], kind) not in self._codes:
            return None
        source = self._codes[call.args[0], kind]
        made = self.builder.emit(op.dequantize(source.any, scale, zero, axis=0, out_dtype=element_type(var)))
        return Value(last=made) if source.last is not None else Value(first=made)

    def _is_tensor(self, expr: Expr) -> bool:
        return isinstance(expr, (self._relax.Var, load_compiler("ir").GenericConst)) and bool(element_type(expr))

    def _substitute(self, expr: Expr) -> Expr:
        """An expression over the rewritten variables."""
        relax = self._relax
        if isinstance(expr, relax.Var):
            return self.value(expr).take_first(self.builder)
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self._substitute(field) for field in expr.fields])
        if isinstance(expr, relax.TupleGetItem):
            return relax.TupleGetItem(self._substitute(expr.tuple_value), expr.index)
        if isinstance(expr, relax.Call):
            return relax.Call(expr.op, [self._substitute(item) for item in expr.args], expr.attrs, expr.ty_args)
        return expr
