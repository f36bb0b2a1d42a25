"""A graph that stays FP32 but stores its weights in 16 bits, for a runtime that is asked to compute so."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from assay.core.precision import Precision
from assay.graph.cast_rules import DTYPES, CastRules
from assay.graph.naming import Namer
from assay.graph.quantize_roles import read_constant
from assay.graph.quantize_weights import store_initializer

WEIGHT_OPERANDS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1,),
    "ConvTranspose": (1,),
    "MatMul": (0, 1),
    "Gemm": (0, 1),
    "Gather": (0,),
}
LEAST_ELEMENTS = 64
"""Smaller constants are not worth a Cast."""


def store_weights(graph: ir.Graph, precision: Precision, rules: CastRules, keep: frozenset[str]) -> int:
    """Store the weights of the main graph in 16 bits with a Cast to FP32 behind each, in place.

    A weight that does not fit the format, or that a kept node reads, stays as it is.

    Returns:
        The number of weights stored so.
    """
    namer = Namer(graph)
    stored = 0
    for value in list(graph.initializers.values()):
        weight = read_constant(value)
        uses = list(value.uses())
        eligible = weight is not None and weight.size >= LEAST_ELEMENTS and not value.is_graph_output()
        if weight is None or not eligible or not uses or rules.refuse_constant(value):
            continue
        if not all(_is_weight(use.node, use.idx, graph) and str(use.node.name) not in keep for use in uses):
            continue
        narrow = store_initializer(
            graph, namer.name(f"{value.name}_{precision}"), weight.astype(DTYPES[precision].numpy())
        )
        to = ir.AttrInt64("to", int(ir.DataType.FLOAT))
        cast = ir.Node("", "Cast", [narrow], [to], name=namer.name(f"{value.name}_Cast"))
        output = cast.outputs[0]
        output.name, output.type, output.shape = (
            namer.name(f"{value.name}_{Precision.FP32}"),
            value.type,
            value.shape and value.shape.copy(),
        )
        graph.insert_before(graph.node(0), cast)
        for use in uses:
            use.node.replace_input_with(use.idx, output)
        stored += 1
    return stored


def _is_weight(node: ir.Node, index: int, graph: ir.Graph) -> bool:
    """Whether an input is a weight of a node of this graph."""
    return node.graph is graph and node.domain == "" and index in WEIGHT_OPERANDS.get(node.op_type, ())
