"""A float model that rounds to 16 bits as a runtime would, in FP32 arithmetic: for what has no 16-bit kernels."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from assay.core.precision import Precision
from assay.graph.cast_rules import ALWAYS_FP32, DTYPES
from assay.graph.naming import Namer
from assay.graph.quantize_roles import read_constant
from assay.graph.quantize_weights import store_initializer


def round_nodes(model: ir.Model, names: Collection[str], precision: Precision) -> ir.Model:
    """The model with chosen nodes reading and writing values rounded to a 16-bit float; sums stay in FP32.

    Where a node is rounded, its name goes to the last Cast behind it, so that the nodes of both models still stand for
    each other by name and have the same outputs. Operators that stay in FP32 in a cast model are left as they are.

    Args:
        model: a prepared one, opset 13 or newer; left as it is.
        names: of nodes of the main graph.
        precision: FP16 or BF16.
    """
    result = model.clone()
    rounder = _Rounder(result.graph, precision)
    for node in list(result.graph):
        if str(node.name) in names and node.op_type not in ALWAYS_FP32 and not node.domain:
            rounder.round_node(node)
    return result


class _Rounder:
    """Puts pairs of casts around nodes, in place."""

    def __init__(self, graph: ir.Graph, precision: Precision) -> None:
        self._graph, self._precision, self._namer = graph, precision, Namer(graph)
        self._rounded: dict[ir.Value, ir.Value] = {}

    def round_node(self, node: ir.Node) -> None:
        """Round what a node reads and, where it is one tensor, what it writes."""
        for index, value in enumerate(node.inputs):
            if value is not None and value.dtype is ir.DataType.FLOAT:
                node.replace_input_with(index, self._round(value))
        if len(node.outputs) == 1 and node.outputs[0].dtype is ir.DataType.FLOAT:
            self._take_place(node)

    def _round(self, value: ir.Value) -> ir.Value:
        """The rounded form of a tensor: a constant is stored so."""
        if value not in self._rounded:
            constant = read_constant(value)
            if constant is None:
                self._rounded[value] = self._insert_pair(value).outputs[0]
            else:
                rounded = constant.astype(DTYPES[self._precision].numpy()).astype(constant.dtype)
                name = self._namer.name(f"{value.name}_{self._precision}")
                self._rounded[value] = store_initializer(self._graph, name, rounded)
        return self._rounded[value]

    def _take_place(self, node: ir.Node) -> None:
        """Let all readers of a node's output read it rounded, under the node's and the tensor's name."""
        value, name = node.outputs[0], str(node.name)
        readers, is_output = list(value.uses()), value.is_graph_output()
        last = self._insert_pair(value)
        rounded = last.outputs[0]
        for use in readers:
            use.node.replace_input_with(use.idx, rounded)
        if is_output:
            for index, output in enumerate(self._graph.outputs):
                if output is value:
                    self._graph.outputs[index] = rounded
        node.name, last.name = self._namer.name(f"{name}_{Precision.FP32}"), name
        tensor = value.name
        value.name = self._namer.name(f"{tensor}_{Precision.FP32}")
        rounded.name = tensor

    def _insert_pair(self, value: ir.Value) -> ir.Node:
        """A Cast to 16 bits and one back, behind what writes a tensor; gives the second."""
        nodes = []
        source = value
        for dtype in (DTYPES[self._precision], ir.DataType.FLOAT):
            stem = f"{value.name}_{dtype.name.lower()}"
            node = ir.Node("", "Cast", [source], [ir.AttrInt64("to", int(dtype))], name=self._namer.name(stem))
            source = node.outputs[0]
            source.name, source.type = self._namer.name(f"{stem}_rounded"), ir.TensorType(dtype)
            source.shape = None if value.shape is None else value.shape.copy()
            nodes.append(node)
        producer = value.producer()
        if producer is None:
            self._graph.insert_before(self._graph.node(0), nodes)
        else:
            self._graph.insert_after(producer, nodes)
        return nodes[1]
