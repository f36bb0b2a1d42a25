"""Weights as integer initializers with a DequantizeLinear, and biases as int32 where the dialect wants them."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.core.plan import Scheme
from assay.core.precision import IntegerFormat
from assay.core.tensor import Array
from assay.graph.bias_sites import BiasSite, find_bias
from assay.graph.naming import Namer
from assay.graph.quantize_roles import Part, read_constant
from assay.graph.repair_weights import InputMoments, WeightRepairs, find_shift
from assay.graph.scales import (
    POSITIVE_CODES,
    REDUCED_CODES,
    SMALLEST_SCALE,
    EncodedWeight,
    encode_bias,
    encode_blocks,
    encode_weight,
    find_bias_floor,
)

UNSIGNED_MIDDLE = 128
PRODUCTS = frozenset({"MatMul", "Gemm"})
"""Operators whose weights may be quantized in blocks."""


class WeightQuantizer:
    """Replaces constant operands of arithmetic nodes, in place; one integer copy per distinct encoding."""

    def __init__(self, graph: ir.Graph, scheme: Scheme, namer: Namer, repairs: WeightRepairs) -> None:
        self._graph = graph
        self._scheme = scheme
        self._namer = namer
        self._repairs = repairs
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
        bias, known = find_bias(node, part, weight), self._repairs.find_input(node)
        factor = take_factor(node, "alpha") if node.op_type == "Gemm" else 1.0
        if factor != 1:
            weight = weight * np.float32(factor)
        corrects = bias is not None and known is not None and self._repairs.corrects
        floor = self._find_floor(node, part, weight, bias, input_scale)
        encoded = self._encode(node, part, weight, known, floor)
        node.replace_input_with(part.weight, self._add_weight(source, encoded, factor, node))
        if bias is None:
            return
        shift = find_shift(node, known, weight, encoded) if known is not None and corrects else None
        if bias.node is node and self._has_integer_bias(node):
            self._store_codes(bias, shift, np.maximum(encoded.scale * input_scale, np.float32(SMALLEST_SCALE)))
        else:
            self._store_floats(bias, shift)

    def _has_integer_bias(self, node: ir.Node) -> bool:
        """Whether the bias of the node is integers of one scale per output channel."""
        return self._scheme.dialect.integer_bias and not self._divides(node)

    def _divides(self, node: ir.Node) -> bool:
        """Whether the weight of the node has a scale per block."""
        return self._scheme.dialect.weight_block > 0 and node.op_type in PRODUCTS

    def _find_floor(
        self, node: ir.Node, part: Part, weight: NDArray[np.float32], bias: BiasSite | None, input_scale: np.float32
    ) -> NDArray[np.float64]:
        """Smallest scales at which the bias fits its integers."""
        per_channel = self._scheme.dialect.per_channel and part.axis is not None
        channels = weight.shape[part.axis] if part.axis is not None and per_channel else 1
        if bias is None or not bias.present or bias.node is not node or not self._has_integer_bias(node):
            return np.zeros(channels)
        floor: NDArray[np.float64] = find_bias_floor(bias.values, input_scale).reshape(-1, channels).max(axis=0)
        return floor

    def _encode(
        self,
        node: ir.Node,
        part: Part,
        weight: NDArray[np.float32],
        known: InputMoments | None,
        floor: NDArray[np.float64],
    ) -> EncodedWeight:
        """The weight in integers, rounded as the scheme says."""
        dialect, method = self._scheme.dialect, self._scheme.ranges
        codes = REDUCED_CODES if dialect.reduced_range else POSITIVE_CODES
        if part.axis is not None and self._divides(node):
            encoded = encode_blocks(weight, 1 - part.axis, dialect.weight_block, method, codes)
        else:
            encoded = encode_weight(weight, part.axis if dialect.per_channel else None, method, codes, floor)
        return self._repairs.round(node, known, weight, encoded, codes, floor)

    def _add_weight(self, source: ir.Value, encoded: EncodedWeight, factor: float, node: ir.Node) -> ir.Value:
        """The dequantized weight, shared by nodes that want the same integers of it."""
        content = hashlib.blake2b(encoded.scale.tobytes() + encoded.codes.tobytes()).digest()
        key = (str(source.name), encoded.axis, factor, content)
        if key not in self._encoded:
            codes: Array = encoded.codes
            if self._scheme.dialect.weight is IntegerFormat.U8:
                codes = (encoded.codes.astype(np.int16) + UNSIGNED_MIDDLE).astype(np.uint8)
            middle = UNSIGNED_MIDDLE if codes.dtype == np.uint8 else 0
            parameters = encoded.scale, np.full(encoded.scale.shape, middle, codes.dtype)
            self._encoded[key] = self._dequantize(
                str(source.name), codes, parameters, node, encoded.axis, encoded.block
            )
        return self._encoded[key]

    def _store_codes(self, bias: BiasSite, shift: NDArray[np.float64] | None, scale: NDArray[np.float32]) -> None:
        """Store a bias as int32; one that is not there only where a shift must be taken back."""
        if not bias.present and shift is None:
            return
        if scale.ndim and bias.values.size != scale.size:  # the groups of a ConvTranspose share their scales
            scale = np.tile(scale, bias.values.size // scale.size)
        codes = encode_bias(bias.values if shift is None else bias.values - shift, scale)
        axis = 0 if scale.ndim else None
        parameters = scale, np.zeros(scale.shape, np.int32)
        self._attach(bias, self._dequantize(self._name_bias(bias), codes, parameters, bias.node, axis))

    def _store_floats(self, bias: BiasSite, shift: NDArray[np.float64] | None) -> None:
        """Store a bias as float32 where a shift is taken back, or Gemm's ``beta`` is not 1."""
        scaled = bias.present and bias.node.op_type == "Gemm" and bias.node.attributes.get_float("beta", 1.0) != 1
        if shift is None and not scaled:
            return
        values = bias.values if shift is None else (bias.values - shift).astype(np.float32)
        suffix = "scaled" if shift is None else "corrected"
        self._attach(bias, self._store(f"{self._name_bias(bias)}_{suffix}", values.reshape(bias.shape)))

    def _name_bias(self, bias: BiasSite) -> str:
        """Stem of the names of what takes a bias's place."""
        source = bias.node.inputs[bias.index] if bias.present else None
        return f"{bias.node.outputs[0].name}_bias" if source is None else str(source.name)

    def _attach(self, bias: BiasSite, value: ir.Value) -> None:
        """Let the node read its new bias."""
        if len(bias.node.inputs) <= bias.index:
            bias.node.resize_inputs(bias.index + 1)
        if bias.node.op_type == "Gemm":
            take_factor(bias.node, "beta")
        bias.node.replace_input_with(bias.index, value)

    def _dequantize(
        self,
        stem: str,
        codes: Array,
        parameters: tuple[NDArray[np.float32], Array],
        node: ir.Node,
        axis: int | None,
        block: int = 0,
    ) -> ir.Value:
        """Insert initializers (codes, and scale and zero point) and a DequantizeLinear before a node."""
        inputs = [
            self._store(f"{stem}_quantized", codes),
            self._store(f"{stem}_scale", parameters[0]),
            self._store(f"{stem}_zero_point", parameters[1]),
        ]
        attributes = [] if axis is None else [ir.AttrInt64("axis", axis)]
        attributes += [ir.AttrInt64("block_size", block)] if block else []
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
