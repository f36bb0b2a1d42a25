"""Weights as integer initializers with a DequantizeLinear, and biases as int32 where the dialect wants them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.core.plan import Scheme
from assay.core.precision import IntegerFormat
from assay.core.tensor import Array
from assay.graph.naming import Namer
from assay.graph.quantize_roles import Part, read_constant
from assay.graph.scales import (
    POSITIVE_CODES,
    REDUCED_CODES,
    SMALLEST_SCALE,
    EncodedWeight,
    encode_bias,
    encode_weight,
    find_bias_floor,
)

UNSIGNED_MIDDLE = 128


class WeightQuantizer:
    """Replaces constant operands of arithmetic nodes, in place; one integer copy per distinct encoding."""

    def __init__(self, graph: ir.Graph, scheme: Scheme, namer: Namer) -> None:
        self._graph = graph
        self._scheme = scheme
        self._namer = namer
        self._encoded: dict[tuple[str, int | None, float, bytes], ir.Value] = {}

    def quantize(self, node: ir.Node, part: Part, input_scale: np.float32) -> None:
        """Store the weight of a node, and its bias, as integers.

        Args:
            node: Conv, ConvTranspose, MatMul or Gemm.
            part: its part, with a constant weight.
            input_scale: of the activation that the weight multiplies.
        """
        if part.weight is None:
            return
        source = node.inputs[part.weight]
        weight = read_constant(source)
        if source is None or weight is None:
            return
        bias = self._read_bias(node, part, weight)
        factor = take_factor(node, "alpha") if node.op_type == "Gemm" else 1.0
        if factor != 1:
            weight = weight * np.float32(factor)
        dialect = self._scheme.dialect
        axis = part.axis if dialect.per_channel else None
        channels = 1 if axis is None else weight.shape[axis]
        floor = np.zeros(channels)
        if dialect.integer_bias and bias is not None:
            floor = find_bias_floor(bias, input_scale).reshape(-1, channels).max(axis=0)
        codes = REDUCED_CODES if dialect.reduced_range else POSITIVE_CODES
        encoded = encode_weight(weight, axis, self._scheme.ranges, codes, floor)
        node.replace_input_with(part.weight, self._add_weight(source, encoded, factor, node))
        if part.bias is not None and bias is not None:
            scale = np.maximum(encoded.scale * input_scale, np.float32(SMALLEST_SCALE))
            repeats = bias.size // scale.size if scale.ndim else 1  # the groups of a ConvTranspose share their scales
            self._replace_bias(node, part.bias, bias, np.tile(scale, repeats) if repeats > 1 else scale)

    def _read_bias(self, node: ir.Node, part: Part, weight: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """The bias where it must be rewritten: as one number per channel, with Gemm's ``beta`` multiplied in."""
        bias = None if part.bias is None else read_constant(node.inputs[part.bias])
        scaled = node.op_type == "Gemm" and node.attributes.get_float("beta", 1.0) != 1
        if bias is None or part.axis is None or not (self._scheme.dialect.integer_bias or scaled):
            return None
        if node.op_type != "Gemm":
            return bias
        return np.broadcast_to(bias.reshape(-1) * np.float32(take_factor(node, "beta")), weight.shape[part.axis])

    def _add_weight(self, source: ir.Value, encoded: EncodedWeight, factor: float, node: ir.Node) -> ir.Value:
        """The dequantized weight, shared by nodes that want the same integers of it."""
        key = (str(source.name), encoded.axis, factor, encoded.scale.tobytes())
        if key not in self._encoded:
            codes: Array = encoded.codes
            if self._scheme.dialect.weight is IntegerFormat.U8:
                codes = (encoded.codes.astype(np.int16) + UNSIGNED_MIDDLE).astype(np.uint8)
            middle = UNSIGNED_MIDDLE if codes.dtype == np.uint8 else 0
            zero_point = np.full(encoded.scale.shape, middle, codes.dtype)
            self._encoded[key] = self._dequantize(source, codes, encoded.scale, zero_point, encoded.axis, node)
        return self._encoded[key]

    def _replace_bias(self, node: ir.Node, index: int, bias: NDArray[np.float32], scale: NDArray[np.float32]) -> None:
        """Store a bias as int32, or as float32 where only its factor changed."""
        source = node.inputs[index]
        if source is None:
            return
        if not self._scheme.dialect.integer_bias:
            node.replace_input_with(index, self._store(f"{source.name}_scaled", bias))
            return
        codes = encode_bias(bias, scale)
        axis = 0 if scale.ndim else None
        zero_point = np.zeros(scale.shape, np.int32)
        node.replace_input_with(index, self._dequantize(source, codes, scale, zero_point, axis, node))

    def _dequantize(
        self,
        source: ir.Value,
        codes: Array,
        scale: NDArray[np.float32],
        zero_point: Array,
        axis: int | None,
        node: ir.Node,
    ) -> ir.Value:
        """Insert initializers and a DequantizeLinear before a node."""
        stem = str(source.name)
        inputs = [
            self._store(f"{stem}_quantized", codes),
            self._store(f"{stem}_scale", scale),
            self._store(f"{stem}_zero_point", zero_point),
        ]
        attributes = [] if axis is None else [ir.AttrInt64("axis", axis)]
        name = self._namer.name(f"{stem}_DequantizeLinear")
        added = ir.Node("", "DequantizeLinear", inputs, attributes, name=name)
        output = added.outputs[0]
        output.name = self._namer.name(f"{stem}_dequantized")
        output.type, output.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(codes.shape)
        self._graph.insert_before(node, added)
        return output

    def _store(self, stem: str, values: Array) -> ir.Value:
        """Register a new initializer."""
        return store_initializer(self._graph, self._namer.name(stem), values)


def take_factor(node: ir.Node, name: str) -> float:
    """Remove Gemm's ``alpha`` or ``beta`` from the node and give its value, to be multiplied into a constant."""
    factor = node.attributes.get_float(name, 1.0)
    node.attributes.pop(name, None)
    return float(1.0 if factor is None else factor)


def store_initializer(graph: ir.Graph, name: str, values: Array) -> ir.Value:
    """Register an initializer of this name, which must be new."""
    tensor = ir.tensor(np.ascontiguousarray(values).reshape(values.shape), name=name)
    value = ir.Value(name=name, shape=ir.Shape(values.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value
