"""Stores the weights of matrix products in integers without any calibration.

``MatMul(x, w)`` becomes ``MatMul(x, Transpose(DequantizeLinear(codes, scales)))``, with codes ``[outputs, inputs]`` and
a scale for each output; or ``MatMul(x, DequantizeLinear(codes, scales))``, with codes ``[inputs, outputs]``: where each
block of inputs has a scale, and below opset 21, where ONNX Runtime does not recognise the Transpose. A Gemm becomes a
MatMul and an Add. Runtimes recognise these forms and multiply by integers that stay integers in memory. Where
activations are quantized in every call as well, each of them goes through DynamicQuantizeLinear and DequantizeLinear
before its products.

Sources: ONNX operators DequantizeLinear 21 and DynamicQuantizeLinear 11; Dettmers et al. 2022, LLM.int8(), for one
scale per output; Frantar et al. 2023, GPTQ, section 4, for blocks in 4 bits.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.core.errors import UnsupportedPlan
from assay.core.plan import WeightScheme
from assay.core.precision import Precision, RangeMethod, WeightStyle
from assay.core.tensor import Array
from assay.graph.convert_opset import convert_model
from assay.graph.naming import Namer
from assay.graph.quantize import BLOCKED_OPSET, OLDEST_OPSET, drop_unused_initializers
from assay.graph.quantize_roles import is_quantized, read_constant
from assay.graph.quantize_tables import encode_rows, quantize_tables
from assay.graph.quantize_weights import PRODUCTS, store_initializer, take_factor
from assay.graph.scales import REDUCED_CODES, SMALLEST_SCALE, encode_blocks, encode_weight

LEAST_ELEMENTS = 1 << 12
"""Smaller weights stay in floats: their products take no time."""
LEAST_BLOCK = 16
"""Shortest block that runtimes have kernels for; a weight that no such block divides has a scale per output."""
MATRIX = 2
CODES_4_BIT = 7


@dataclass(frozen=True, slots=True)
class Product:
    """A matrix product with a constant weight.

    Attributes:
        node: MatMul or Gemm; input 0 is the activation, input 1 the weight.
        weight: the initializer.
        transposed: the weight lies as ``[outputs, inputs]``.
        last: nothing but the model's own outputs reads its result.
    """

    node: ir.Node
    weight: ir.Value
    transposed: bool
    last: bool


def list_products(model: ir.Model, keep: Collection[str] = (), least_elements: int = LEAST_ELEMENTS) -> dict[str, int]:
    """Names of the initializers that ``quantize_products`` would store in integers -> their elements.

    Args:
        model: a prepared one.
        keep: names of nodes that stay in floats.
        least_elements: weights with fewer stay in floats.
    """
    found = find_products(model.graph, keep, least_elements)
    return {str(one.weight.name): _count(one.weight) for one in found}


def quantize_products(
    model: ir.Model,
    precision: Precision,
    scheme: WeightScheme,
    keep: Collection[str] = (),
    least_elements: int = LEAST_ELEMENTS,
) -> ir.Model:
    """The model with integer weights in its matrix products, and in its embedding tables where the scheme says so.

    A weight of 4 bits is one of 8 bits where its product makes an output of the model, since such a one (the output
    layer of a language model) loses most, and where its inputs cannot be divided into blocks.

    Args:
        model: a prepared one; left as it is.
        precision: INT8 or INT4, of the weights.
        scheme: style, blocks, tables.
        keep: names of nodes that stay in floats.
        least_elements: weights with fewer stay in floats.

    Raises:
        UnsupportedPlan: nothing can be quantized, or the model cannot be brought to the opset that this needs.
    """
    blocked = precision is Precision.INT4 or scheme.block > 0
    oldest = BLOCKED_OPSET if blocked else OLDEST_OPSET
    opset = model.graph.opset_imports.get("", 0)
    result = model.clone() if opset >= oldest else convert_model(model, oldest, f"weights in {precision}")
    products = find_products(result.graph, keep, least_elements)
    if not products:
        raise UnsupportedPlan(
            f"no matrix product of the model has a constant weight of {least_elements} elements or more",
            "nothing is to be won by quantizing weights: leave these plans out",
        )
    turns = max(opset, oldest) >= BLOCKED_OPSET
    _Writer(result.graph, precision, scheme, turns=turns).write(products)
    drop_unused_initializers(result.graph)
    if scheme.tables:
        result = quantize_tables(result, keep)
    share_codes(result.graph)
    return result


def find_products(graph: ir.Graph, keep: Collection[str], least_elements: int) -> list[Product]:
    """Products of the main graph with a constant matrix, in the graph's order."""
    outputs = {value.name for value in graph.outputs}
    found = []
    for node in graph:
        if node.domain not in {"", "ai.onnx"} or node.name in keep or is_quantized(node):
            continue
        if node.op_type not in PRODUCTS or bool(node.attributes.get_int("transA", 0)):
            continue
        weight, values = node.inputs[1], read_constant(node.inputs[1])
        if weight is None or values is None or values.ndim != MATRIX or values.size < least_elements:
            continue
        if not np.isfinite(values).all():
            continue
        transposed = node.op_type == "Gemm" and bool(node.attributes.get_int("transB", 0))
        found.append(Product(node, weight, transposed, last=_ends(node, outputs)))
    return found


def share_codes(graph: ir.Graph) -> None:
    """Let equal integer initializers be one, in place: a table and the output layer that is tied to it."""
    known: dict[tuple[tuple[int, ...], bytes], ir.Value] = {}
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.dtype is not ir.DataType.INT8 or tensor.size < LEAST_ELEMENTS:
            continue
        key = (tuple(tensor.numpy().shape), tensor.tobytes())
        first = known.setdefault(key, value)
        if first is not value:
            value.replace_all_uses_with(first)
            graph.initializers.pop(name)


def _ends(node: ir.Node, outputs: Collection[str | None]) -> bool:
    """Whether a product is the last one: its result, or that with a bias added, is an output of the model."""
    value = node.outputs[0]
    if value.name in outputs:
        return True
    readers = [use.node for use in value.uses()]
    return bool(readers) and all(one.op_type == "Add" and one.outputs[0].name in outputs for one in readers)


def _count(weight: ir.Value) -> int:
    """Elements of an initializer."""
    return 0 if weight.const_value is None else int(weight.const_value.size)


class _Writer:
    """Writes integer weights into a graph, in place; products that share a weight go on sharing it."""

    def __init__(self, graph: ir.Graph, precision: Precision, scheme: WeightScheme, *, turns: bool) -> None:
        self._graph = graph
        self._turns = turns
        self._precision = precision
        self._scheme = scheme
        self._namer = Namer(graph)
        self._weights: dict[tuple[str, float, bool, bool], ir.Value] = {}
        self._activations: dict[ir.Value, ir.Value] = {}

    def write(self, products: list[Product]) -> None:
        """Replace the weights, and quantize the activations where the scheme does."""
        for product in products:
            node = product.node
            factor = take_factor(node, "alpha") if node.op_type == "Gemm" else 1.0
            weight = self._find_weight(product, factor)
            source = node.inputs[0]
            if self._scheme.style is WeightStyle.DYNAMIC and source is not None:
                source = self._quantize(source, node)
            if node.op_type == "Gemm":
                self._split_gemm(node, source, weight)
            else:
                node.replace_input_with(0, source)
                node.replace_input_with(1, weight)

    def _find_weight(self, product: Product, factor: float) -> ir.Value:
        """The dequantized weight ``[inputs, outputs]``, made once for every use."""
        narrow = self._precision is Precision.INT4 and not product.last
        key = (str(product.weight.name), factor, product.transposed, narrow)
        if key not in self._weights:
            self._weights[key] = self._store_weight(product, factor, narrow=narrow)
        return self._weights[key]

    def _store_weight(self, product: Product, factor: float, *, narrow: bool) -> ir.Value:
        """Add codes, scales, DequantizeLinear and Transpose before the product."""
        values = read_constant(product.weight)
        if values is None:
            raise ValueError(f"{product.weight.name!r} is no float32 constant")
        rows = np.ascontiguousarray(values if product.transposed else values.T)
        codes, scales, block = self._encode(rows * np.float32(factor) if factor != 1 else rows, narrow=narrow)
        stem = str(product.weight.name)
        straight = not block and not self._turns
        codes = np.ascontiguousarray(codes.T) if straight else codes
        inputs = [self._store(f"{stem}_codes", codes), self._store(f"{stem}_scales", scales)]
        attributes = [ir.AttrInt64("axis", int(straight))] + ([ir.AttrInt64("block_size", block)] if block else [])
        whole = self._add("DequantizeLinear", inputs, attributes, stem, product.node)
        whole.shape = ir.Shape(codes.shape)
        if block or straight:
            return whole
        turned = self._add("Transpose", [whole], [ir.AttrInt64s("perm", [1, 0])], stem, product.node)
        turned.shape = ir.Shape(codes.shape[::-1])
        return turned

    def _encode(self, rows: NDArray[np.float32], *, narrow: bool) -> tuple[Array, NDArray[np.float32], int]:
        """Codes and scales of a weight ``[outputs, inputs]``, and the block: turned round where that is not 0."""
        scheme = self._scheme
        blocked = narrow or self._precision is Precision.INT8
        block = fit_block(rows.shape[1], scheme.block, ragged=scheme.ragged) if blocked else 0
        if block:
            method, largest = (RangeMethod.MSE, CODES_4_BIT) if narrow else (RangeMethod.MIN_MAX, self._largest_code)
            encoded = encode_blocks(rows.T, 0, block, method, largest)
            return encoded.codes.astype(ml_dtypes.int4 if narrow else np.int8), encoded.scale, block
        if scheme.reduced_range:
            encoded = encode_weight(rows, 0, RangeMethod.MIN_MAX, REDUCED_CODES, np.zeros(1))
            return encoded.codes, encoded.scale, 0
        codes, scales = encode_rows(rows)  # as an embedding table is encoded, so that a tied one is stored once
        return codes, np.maximum(scales.reshape(-1), np.float32(SMALLEST_SCALE)), 0

    @property
    def _largest_code(self) -> int:
        """Of weights in 8 bits."""
        return REDUCED_CODES if self._scheme.reduced_range else 127

    def _quantize(self, source: ir.Value, node: ir.Node) -> ir.Value:
        """An activation as it comes out of 8 bits that are scaled in every call; made once for all its products."""
        if source not in self._activations:
            stem = str(source.name)
            name = self._namer.name(f"{stem}_DynamicQuantizeLinear")
            quantize = ir.Node("", "DynamicQuantizeLinear", [source], num_outputs=3, name=name)
            kinds = (("codes", ir.DataType.UINT8), ("scale", ir.DataType.FLOAT), ("zero_point", ir.DataType.UINT8))
            for value, (suffix, kind) in zip(quantize.outputs, kinds, strict=True):
                value.name, value.type = self._namer.name(f"{stem}_{suffix}"), ir.TensorType(kind)
            self._graph.insert_before(node, quantize)
            found = self._add("DequantizeLinear", list(quantize.outputs), [], stem, node)
            found.shape = source.shape
            self._activations[source] = found
        return self._activations[source]

    def _split_gemm(self, node: ir.Node, source: ir.Value | None, weight: ir.Value) -> None:
        """Put a MatMul, and an Add where there is a bias, in the place of a Gemm; the MatMul keeps its name."""
        result = node.outputs[0]
        bias = node.inputs[2] if len(node.inputs) > MATRIX else None
        factor = take_factor(node, "beta")
        stem = str(node.name)
        product = ir.Node("", "MatMul", [source, weight], name=stem)
        end, added = product, [product]
        if bias is not None:
            shift = self._scale_bias(bias, factor, node)
            end = ir.Node("", "Add", [product.outputs[0], shift], name=self._namer.name(f"{stem}_Add"))
            added.append(end)
            product.outputs[0].name = self._namer.name(f"{result.name}_product")
            product.outputs[0].type, product.outputs[0].shape = result.type, result.shape
        node.name = None
        ir.convenience.replace_nodes_and_values(self._graph, node, [node], added, [result], [end.outputs[0]])

    def _scale_bias(self, bias: ir.Value, factor: float, node: ir.Node) -> ir.Value:
        """A Gemm's bias times its ``beta``."""
        if factor == 1:
            return bias
        scalar = self._store(f"{bias.name}_beta", np.asarray(factor, np.float32))
        return self._add("Mul", [bias, scalar], [], str(bias.name), node)

    def _add(self, kind: str, inputs: list[ir.Value], attributes: list[ir.Attr], stem: str, node: ir.Node) -> ir.Value:
        """The float32 result of a new node before another one."""
        added = ir.Node("", kind, inputs, attributes, name=self._namer.name(f"{stem}_{kind}"))
        value = added.outputs[0]
        value.name = self._namer.name(f"{stem}_{kind}_output")
        value.type = ir.TensorType(ir.DataType.FLOAT)
        self._graph.insert_before(node, added)
        return value

    def _store(self, stem: str, values: Array) -> ir.Value:
        """Register a new initializer."""
        return store_initializer(self._graph, self._namer.name(stem), values)


def fit_block(length: int, block: int, *, ragged: bool = False) -> int:
    """The longest block that divides a weight's inputs: as asked, or halved; 0 where none is long enough.

    Args:
        length: of the inputs.
        block: as asked.
        ragged: the last block may be shorter than the others.
    """
    if ragged and length > block:
        return block
    while block >= LEAST_BLOCK:
        if length % block == 0:
            return block
        block //= 2
    return 0
