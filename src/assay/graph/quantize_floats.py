"""Inserts quantize/dequantize pairs of 8-bit floats (e4m3) on the operands of products.

Activations have one scale, weights one per output channel; biases stay as they are, and so do the results: what reads
them takes floats.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from assay.core.calibration import TensorRange
from assay.core.errors import ModelError
from assay.core.plan import FloatDialect, FloatScheme, IntegerDialect, Plan, Scheme
from assay.core.precision import IntegerFormat, Placement, Precision, RangeMethod
from assay.graph.convert_opset import convert_model
from assay.graph.float_scales import E4M3, EncodedFloats, encode_floats, find_scale
from assay.graph.naming import Namer
from assay.graph.quantize import drop_unused_initializers, name_pair
from assay.graph.quantize_roles import Part, read_constant
from assay.graph.quantize_selection import Selection, find_range, select
from assay.graph.quantize_weights import store_initializer

FLOATS_OPSET = 19
"""The first whose quantizers take 8-bit floats."""
FLOATS_IR_VERSION = 9
"""The first ONNX IR version with 8-bit floats."""


def raise_for_floats(model: ir.Model, plan: Plan) -> ir.Model:
    """The float model, in an opset with 8-bit floats where the plan has them.

    Raises:
        UnsupportedPlan: the converter does not know how.
    """
    if plan.precision is not Precision.FP8 or model.graph.opset_imports.get("", 0) >= FLOATS_OPSET:
        return model
    return convert_model(model, FLOATS_OPSET, "8-bit floats")


def list_floats(model: ir.Model, scheme: FloatScheme, keep: frozenset[str] = frozenset()) -> frozenset[str]:
    """Names of the tensors whose ranges ``insert_floats`` asks for.

    Args:
        model: a prepared one.
        scheme: of an FP8 plan.
        keep: names of nodes that stay in other floats.
    """
    return frozenset(str(source.name) for source in _select(model, scheme.dialect, keep).sources.values())


def insert_floats(
    model: ir.Model, scheme: FloatScheme, ranges: Mapping[str, TensorRange], keep: frozenset[str] = frozenset()
) -> ir.Model:
    """The model with pairs on the activations that products read, and weights in 8-bit floats.

    Args:
        model: a prepared one, in an opset of ``raise_for_floats``; left as it is.
        scheme: of an FP8 plan.
        ranges: tensor name -> clipping range, for all of ``list_floats``.
        keep: names of nodes that stay in other floats.

    Raises:
        ModelError: a tensor has no range; names it.
    """
    result = model.clone()
    result.ir_version = max(result.ir_version, FLOATS_IR_VERSION)
    _Inserter(result.graph, scheme.ranges, _select(result, scheme.dialect, keep)).insert(ranges)
    drop_unused_initializers(result.graph)
    return result


def _select(model: ir.Model, dialect: FloatDialect, keep: frozenset[str]) -> Selection:
    """The products that a symmetric dialect of integers with float biases would have, which differs in codes alone."""
    same = IntegerDialect(IntegerFormat.S8, symmetric=True, chain_operators=dialect.operators)
    return select(model, Scheme(same, Placement.OPERANDS, RangeMethod.MIN_MAX), keep)


class _Inserter:
    """Writes a selection into a graph, in place."""

    def __init__(self, graph: ir.Graph, method: RangeMethod, selection: Selection) -> None:
        self._graph = graph
        self._method = method
        self._selection = selection
        self._namer = Namer(graph)
        self._weights: dict[tuple[str, int], ir.Value] = {}

    def insert(self, ranges: Mapping[str, TensorRange]) -> None:
        """Weights first, while the nodes still read the tensors that were chosen."""
        for node, part in self._selection.parts.items():
            if part.weight is not None and part.axis is not None:
                self._store_weight(node, part.weight, part.axis)
        for value in self._selection.sources:
            limits = find_range(value, ranges)
            if limits is None:
                raise ModelError(f"tensor {value.name!r} has no range", "calibrate it before it is quantized")
            self._insert_pair(value, find_scale(limits))

    def _store_weight(self, node: ir.Node, index: int, axis: int) -> None:
        """Let a node read its dequantized weight, which nodes share that read the same one."""
        source = node.inputs[index]
        weight = read_constant(source)
        if source is None or weight is None:
            return
        key = str(source.name), axis
        if key not in self._weights:
            self._weights[key] = self._dequantize(source, encode_floats(weight, axis, self._method), axis, node)
        node.replace_input_with(index, self._weights[key])

    def _dequantize(self, source: ir.Value, encoded: EncodedFloats, axis: int, node: ir.Node) -> ir.Value:
        """A weight's codes and scales as initializers, and a DequantizeLinear of them before a node."""
        inputs = [
            self._store(f"{source.name}_quantized", encoded.codes),
            self._store(f"{source.name}_scale", encoded.scale),
        ]
        added = self._make_node("DequantizeLinear", source, inputs, [ir.AttrInt64("axis", axis)])
        self._graph.insert_before(node, added)
        return added.outputs[0]

    def _insert_pair(self, value: ir.Value, scale: np.float32) -> None:
        """Put a pair behind a tensor and let its products read it."""
        uses = [use for use in value.uses() if self._reads_pair(use.node, use.idx)]
        parameters = [
            self._store(f"{value.name}_scale", np.asarray(scale)),
            self._store(f"{value.name}_zero_point", np.zeros((), E4M3)),
        ]
        quantize = self._make_node("QuantizeLinear", value, [value, *parameters])
        dequantize = self._make_node("DequantizeLinear", value, [quantize.outputs[0], *parameters])
        producer = value.producer()
        if producer is None:
            self._graph.insert_before(self._graph.node(0), [quantize, dequantize])
        else:
            self._graph.insert_after(producer, [quantize, dequantize])
        for use in uses:
            use.node.replace_input_with(use.idx, dequantize.outputs[0])

    def _reads_pair(self, node: ir.Node, index: int) -> bool:
        """Whether a reader of the tensor multiplies it as 8-bit floats."""
        part: Part | None = self._selection.parts.get(node)
        return node.graph is self._graph and part is not None and index in part.operands

    def _make_node(
        self, kind: str, value: ir.Value, inputs: list[ir.Value], attributes: list[ir.Attr] | None = None
    ) -> ir.Node:
        """One half of a pair, named after the tensor that it stands on."""
        quantizes = kind == "QuantizeLinear"
        name = name_pair(str(value.name))[0 if quantizes else 1]
        node = ir.Node("", kind, inputs, attributes or [], name=self._namer.name(name))
        output = node.outputs[0]
        output.name = self._namer.name(f"{value.name}_{'quantized' if quantizes else 'dequantized'}")
        output.type = ir.TensorType(ir.DataType.FLOAT8E4M3FN if quantizes else ir.DataType.FLOAT)
        output.shape = None if value.shape is None else value.shape.copy()
        return node

    def _store(self, stem: str, values: np.ndarray) -> ir.Value:
        """Register a new initializer."""
        return store_initializer(self._graph, self._namer.name(stem), values)
