"""Inserts quantize/dequantize pairs: a float model becomes one that a runtime executes on integers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from assay.core.calibration import TensorRange
from assay.core.errors import ModelError
from assay.core.plan import Scheme
from assay.graph.naming import Namer
from assay.graph.quantize_roles import Part, read_constant
from assay.graph.quantize_selection import Selection, find_range, select
from assay.graph.quantize_weights import WeightQuantizer, store_initializer
from assay.graph.repair_weights import WeightRepairs
from assay.graph.scales import Encoding, encode_activation

OLDEST_OPSET = 13
"""The first with one scale per channel."""
BLOCKED_OPSET = 21
"""The first with one scale per block."""


def list_quantized(model: ir.Model, scheme: Scheme, keep: frozenset[str] = frozenset()) -> frozenset[str]:
    """Names of the tensors whose ranges ``insert_qdq`` may ask for.

    Args:
        model: a prepared one.
        scheme: dialect, placement and range method.
        keep: names of nodes that stay in floats.
    """
    selection = select(model, scheme, keep)
    return frozenset(str(source.name) for source in selection.sources.values())


def insert_qdq(
    model: ir.Model,
    scheme: Scheme,
    ranges: Mapping[str, TensorRange],
    keep: frozenset[str] = frozenset(),
    repairs: WeightRepairs | None = None,
) -> ir.Model:
    """The model with quantize/dequantize pairs on activations, integer weights and, where wanted, integer biases.

    Args:
        model: a prepared one, opset 13 or newer; left as it is.
        scheme: dialect, placement and range method.
        ranges: tensor name -> clipping range, for all of ``list_quantized``.
        keep: names of nodes that stay in floats.
        repairs: what weights are rounded and biases corrected by; None for plain rounding.

    Raises:
        ModelError: the opset is too old, or a tensor has no range; names it.
    """
    opset = model.graph.opset_imports.get("", 0)
    if opset < OLDEST_OPSET:
        raise ModelError(
            f"opset {opset} has no quantization per channel", f"export the model for opset {OLDEST_OPSET} or newer"
        )
    if scheme.dialect.weight_block and opset < BLOCKED_OPSET:
        hint = f"export the model for opset {BLOCKED_OPSET} or newer"
        raise ModelError(f"opset {opset} has no quantization in blocks", hint)
    result = model.clone()
    selection = select(result, scheme, keep, ranges)
    _Inserter(result.graph, scheme, selection, ranges, repairs or WeightRepairs()).insert()
    drop_unused_initializers(result.graph)
    return result


class _Inserter:
    """Writes a selection into a graph, in place."""

    def __init__(
        self,
        graph: ir.Graph,
        scheme: Scheme,
        selection: Selection,
        ranges: Mapping[str, TensorRange],
        repairs: WeightRepairs,
    ) -> None:
        self._graph = graph
        self._scheme = scheme
        self._selection = selection
        self._namer = Namer(graph)
        self._weights = WeightQuantizer(graph, scheme, self._namer, repairs)
        self._encodings = {value: self._encode(source, ranges) for value, source in selection.sources.items()}

    def _encode(self, source: ir.Value, ranges: Mapping[str, TensorRange]) -> Encoding:
        """Scale and zero point of a tensor."""
        limits = find_range(source, ranges)
        if limits is None:
            raise ModelError(f"tensor {source.name!r} has no range", "calibrate it before it is quantized")
        dialect = self._scheme.dialect
        return encode_activation(limits, dialect.activation, symmetric=dialect.symmetric)

    def insert(self) -> None:
        """Weights first, while the nodes still read the tensors that were chosen."""
        for node, part in self._selection.parts.items():
            self._quantize_constants(node, part)
        for value in self._selection.sources:
            self._insert_pair(value)

    def _quantize_constants(self, node: ir.Node, part: Part) -> None:
        """Replace the constant operands of a node."""
        activation = node.inputs[part.operands[0]]
        if part.weight is not None and activation is not None:
            self._weights.quantize(node, part, self._encodings[activation].scale)
        for index in part.constants:
            source = node.inputs[index]
            values = read_constant(source)
            if source is None or values is None:
                continue
            limit = float(values.reshape(-1)[0])
            dialect = self._scheme.dialect
            limits = TensorRange(min(limit, 0.0), max(limit, 0.0))
            encoding = encode_activation(limits, dialect.activation, symmetric=dialect.symmetric)
            codes = np.rint(values / encoding.scale) + encoding.zero_point
            stored = store_initializer(
                self._graph, self._namer.name(f"{source.name}_quantized"), codes.astype(encoding.code_dtype)
            )
            pair = self._make_node("DequantizeLinear", source, stored, self._store_encoding(source, encoding))
            self._graph.insert_before(node, pair)
            node.replace_input_with(index, pair.outputs[0])

    def _insert_pair(self, value: ir.Value) -> None:
        """Put a pair on a tensor and let its integer readers read it, or all of them where the tensor is firm."""
        firm = value in self._selection.firm
        uses = [use for use in value.uses() if self._reads_pair(use.node, use.idx, firm=firm)]
        encoding = self._encodings[value]
        parameters = self._store_encoding(value, encoding)
        quantize = self._make_node("QuantizeLinear", value, value, parameters)
        dequantize = self._make_node("DequantizeLinear", value, quantize.outputs[0], parameters)
        self._place([quantize, dequantize], value)
        for use in uses:
            use.node.replace_input_with(use.idx, dequantize.outputs[0])
        if firm and value.is_graph_output():
            self._move_output(value, dequantize.outputs[0])

    def _reads_pair(self, node: ir.Node, index: int, *, firm: bool) -> bool:
        """Whether a reader of the tensor gets its dequantized form; subgraphs are left alone."""
        if node.graph is not self._graph:
            return False
        part = self._selection.parts.get(node)
        return firm or (part is not None and index in part.operands)

    def _make_node(self, kind: str, value: ir.Value, data: ir.Value, parameters: tuple[ir.Value, ir.Value]) -> ir.Node:
        """One half of a pair, named after the tensor that it stands on."""
        node = ir.Node("", kind, [data, *parameters], name=self._namer.name(_name_half(str(value.name), kind)))
        output, quantizes = node.outputs[0], kind == "QuantizeLinear"
        output.name = self._namer.name(f"{value.name}_{'quantized' if quantizes else 'dequantized'}")
        output.type = parameters[1 if quantizes else 0].type
        output.shape = None if value.shape is None else value.shape.copy()
        return node

    def _store_encoding(self, value: ir.Value, encoding: Encoding) -> tuple[ir.Value, ir.Value]:
        """Scale and zero point as initializers."""
        scale = self._namer.name(f"{value.name}_scale")
        zero_point = self._namer.name(f"{value.name}_zero_point")
        code = np.asarray(encoding.zero_point, encoding.code_dtype)
        return (
            store_initializer(self._graph, scale, np.asarray(encoding.scale)),
            store_initializer(self._graph, zero_point, code),
        )

    def _place(self, nodes: list[ir.Node], value: ir.Value) -> None:
        """Insert right behind the producer of a tensor; at the start of the graph for a graph input."""
        producer = value.producer()
        if producer is None:
            self._graph.insert_before(self._graph.node(0), nodes)
        else:
            self._graph.insert_after(producer, nodes)

    def _move_output(self, value: ir.Value, dequantized: ir.Value) -> None:
        """Let the graph give the dequantized tensor under the name of the float one."""
        name = value.name
        value.name = self._namer.name(f"{name}_float")
        for index, output in enumerate(self._graph.outputs):
            if output is value:
                self._graph.outputs[index] = dequantized
        dequantized.name = name


def name_pair(tensor: str) -> tuple[str, str]:
    """Names of the two nodes of a tensor's pair, where the model has no such names already."""
    return _name_half(tensor, "QuantizeLinear"), _name_half(tensor, "DequantizeLinear")


def _name_half(tensor: str, kind: str) -> str:
    return f"{tensor}_{kind}"


def drop_unused_initializers(graph: ir.Graph) -> None:
    """Remove the float weights that integers took the place of."""
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
            graph.initializers.pop(name)
