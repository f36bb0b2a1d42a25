"""A graph whose inner tensors are 16-bit floats, with casts around what stays in FP32."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from assay.core.precision import Precision
from assay.graph.cast_rules import DTYPES, Slots
from assay.graph.naming import Namer
from assay.graph.quantize_roles import read_constant
from assay.graph.quantize_weights import store_initializer


class TypedCaster:
    """Changes the types of chosen nodes, in place; the graph's inputs and outputs keep theirs.

    Args:
        graph: main graph.
        precision: FP16 or BF16.
        slots: node -> its operands that change.
    """

    def __init__(self, graph: ir.Graph, precision: Precision, slots: Mapping[ir.Node, Slots]) -> None:
        self._graph = graph
        self._precision = precision
        self._slots = slots
        self._namer = Namer(graph)
        self._narrow: dict[ir.Value, ir.Value] = {}

    def cast(self) -> None:
        """Type the outputs of the chosen nodes, then cast where the types do not meet."""
        typed = [node.outputs[index] for node, slots in self._slots.items() for index in slots.outputs]
        for value in typed:
            value.type = ir.TensorType(DTYPES[self._precision])
        for node, slots in self._slots.items():
            for index in slots.inputs:
                operand = node.inputs[index]
                if operand is not None and operand.dtype is ir.DataType.FLOAT:
                    node.replace_input_with(index, self._narrow_value(operand))
        for value in typed:
            self._widen_for_readers(value)

    def _narrow_value(self, value: ir.Value) -> ir.Value:
        """The 16-bit form of an FP32 tensor: a constant is stored so, an activation is cast."""
        if value not in self._narrow:
            constant = read_constant(value)
            stem = f"{value.name}_{self._precision}"
            if constant is None:
                self._narrow[value] = self._insert_cast(value, DTYPES[self._precision], stem)
            else:
                stored = constant.astype(DTYPES[self._precision].numpy())
                self._narrow[value] = store_initializer(self._graph, self._namer.name(stem), stored)
        return self._narrow[value]

    def _widen_for_readers(self, value: ir.Value) -> None:
        """Give FP32 readers of a 16-bit tensor, and the graph's output, a cast to FP32."""
        readers = [
            use for use in value.uses() if use.node not in self._slots or use.idx not in self._slots[use.node].inputs
        ]
        if not readers and not value.is_graph_output():
            return
        if value.is_graph_output():
            name = value.name
            value.name = self._namer.name(f"{name}_{self._precision}")
            wide = self._insert_cast(value, ir.DataType.FLOAT, f"{name}_{Precision.FP32}")
            for index, output in enumerate(self._graph.outputs):
                if output is value:
                    self._graph.outputs[index] = wide
            wide.name = name
        else:
            wide = self._insert_cast(value, ir.DataType.FLOAT, f"{value.name}_{Precision.FP32}")
        for use in readers:
            use.node.replace_input_with(use.idx, wide)

    def _insert_cast(self, value: ir.Value, dtype: ir.DataType, stem: str) -> ir.Value:
        """A Cast right behind the producer of a tensor, or at the start of the graph for a graph input."""
        name = self._namer.name(stem)
        node = ir.Node("", "Cast", [value], [ir.AttrInt64("to", int(dtype))], name=self._namer.name(f"{stem}_Cast"))
        output = node.outputs[0]
        output.name, output.type, output.shape = name, ir.TensorType(dtype), value.shape and value.shape.copy()
        producer = value.producer()
        if producer is None:
            self._graph.insert_before(self._graph.node(0), node)
        else:
            self._graph.insert_after(producer, node)
        return output
