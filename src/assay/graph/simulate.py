"""One model in which every group of a plan can be switched between floats and its quantized form, call by call.

Each group becomes an ``If`` whose condition is one element of a further input. Its branches are the group as the float
model has it, and as the realised plan has it, with the very same scales, zero points and integers. A tensor that two
quantized groups share is rounded by both to the same grid, which changes nothing the second time. What a switched-off
group costs is the float arithmetic alone, and constants stay constants, so that a runtime can prepare both branches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from assay.core.errors import ModelError
from assay.core.sensitivity import NodeGroup
from assay.graph.groups import Grouping
from assay.graph.naming import Namer
from assay.graph.quantize import drop_unused_initializers
from assay.graph.quantize_weights import store_initializer

SWITCH = "quantized_groups"


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """A model with switches.

    Attributes:
        model: the float model's inputs and outputs, and the switches as a further input.
        switch: name of that input, ``[groups] bool``: True runs a group in its quantized form.
        groups: in the order of the switches, in which they run.
        nodes: name of the node that stands for each group.
        picks: name of the node that reads each group's switch.
    """

    model: ir.Model
    switch: str
    groups: tuple[NodeGroup, ...]
    nodes: tuple[str, ...]
    picks: tuple[str, ...]


def simulate(prepared: ir.Model, realised: ir.Model, grouping: Grouping) -> SimulatedModel:
    """Join a float model and its realised plan.

    Args:
        prepared: the float model that was realised; left as it is.
        realised: the plan as ONNX; left as it is.
        grouping: of the same plan.

    Raises:
        ModelError: the plan quantizes nothing.
    """
    if not grouping.groups:
        raise ModelError("the plan quantizes no node", "choose another trial")
    model = prepared.clone()
    graph = model.graph
    namer = Namer(graph)
    switch = ir.Value(
        name=namer.name(SWITCH), shape=ir.Shape([len(grouping.groups)]), type=ir.TensorType(ir.DataType.BOOL)
    )
    builder = _Builder(model, realised, grouping.firm, namer)
    chosen = [builder.replace(group, switch, index) for index, group in enumerate(grouping.groups)]
    graph.inputs.append(switch)
    graph.sort()
    drop_unused_initializers(graph)
    picks = [node.inputs[0].producer() for node in chosen if node.inputs[0] is not None]
    return SimulatedModel(
        model=model,
        switch=str(switch.name),
        groups=grouping.groups,
        nodes=tuple(str(node.name) for node in chosen),
        picks=tuple(str(node.name) for node in picks if node is not None),
    )


class _Builder:
    """Replaces groups by switches, in place."""

    def __init__(self, model: ir.Model, realised: ir.Model, firm: frozenset[str], namer: Namer) -> None:
        self.graph, self.namer, self.firm = model.graph, namer, firm
        self.nodes = {str(node.name): node for node in model.graph}
        self.realised = {str(node.name): node for node in realised.graph}
        self.values = {str(v.name): v for node in model.graph for v in node.outputs if v.name}
        self.values |= {str(v.name): v for v in model.graph.inputs}
        self.own = {
            output: twin
            for name, node in self.nodes.items()
            if name in self.realised
            for output, twin in zip(self.realised[name].outputs, (str(v.name) for v in node.outputs), strict=True)
        }
        """Tensor of the realised model -> name of the float model's tensor in whose place it is."""

    def replace(self, group: NodeGroup, switch: ir.Value, index: int) -> ir.Node:
        """Put an If in the place of a group; gives it."""
        members = {self.nodes[name] for name in group.nodes}
        ends = [
            value
            for name in group.nodes
            for value in self.nodes[name].outputs
            if value.is_graph_output() or any(use.node not in members for use in value.uses())
        ]
        condition = self._pick(switch, index, group)
        branches = [
            ir.AttrGraph("then_branch", _Branch(self, "quantized").copy_realised(group, ends)),
            ir.AttrGraph("else_branch", _Branch(self, "float").copy_float(group, ends)),
        ]
        chosen = ir.Node(
            "", "If", [condition], branches, num_outputs=len(ends), name=self.namer.name(f"{group.name}_If")
        )
        self.graph.append(chosen)
        for old, new in zip(ends, chosen.outputs, strict=True):
            name = str(old.name)
            new.type, new.shape = old.type, None if old.shape is None else old.shape.copy()
            ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
            old.name, new.name = None, name
            self.values[name] = new
        self.graph.remove([self.nodes[name] for name in group.nodes], safe=True)
        return chosen

    def _pick(self, switch: ir.Value, index: int, group: NodeGroup) -> ir.Value:
        """The switch of one group, as a scalar."""
        place = store_initializer(self.graph, self.namer.name(f"{group.name}_switch_index"), np.asarray(index))
        node = ir.Node("", "Gather", [switch, place], name=self.namer.name(f"{group.name}_switch"))
        picked = node.outputs[0]
        picked.name = self.namer.name(f"{group.name}_is_quantized")
        picked.type, picked.shape = ir.TensorType(ir.DataType.BOOL), ir.Shape([])
        self.graph.append(node)
        return picked


class _Branch:
    """Copies nodes into a graph of their own; constants come along, other tensors are read from around it."""

    def __init__(self, builder: _Builder, suffix: str) -> None:
        self._builder, self._suffix = builder, suffix
        self._nodes: list[ir.Node] = []
        self._initializers: list[ir.Value] = []
        self._copies: dict[ir.Value, ir.Value] = {}

    def copy_float(self, group: NodeGroup, ends: list[ir.Value]) -> ir.Graph:
        """The group as the float model has it."""
        for name in group.nodes:
            self._copy(self._builder.nodes[name])
        return self._finish([self._copies[value] for value in ends])

    def copy_realised(self, group: NodeGroup, ends: list[ir.Value]) -> ir.Graph:
        """The group as the plan has it, with the pairs on what it reads and on what it writes."""
        twins = [self._builder.realised[name] for name in group.nodes]
        for node in twins:
            self._copy(node)
        outputs = {self._builder.own[value]: value for node in twins for value in node.outputs if value.name}
        return self._finish([self._end(outputs[str(end.name)], str(end.name)) for end in ends])

    def _end(self, value: ir.Value, name: str) -> ir.Value:
        """What the group hands on of a tensor: rounded, where every reader gets it from integers."""
        if name not in self._builder.firm:
            return self._copies[value]
        quantize = next(use.node for use in value.uses() if use.node.op_type == "QuantizeLinear")
        return self._read(next(iter(quantize.outputs[0].uses())).node.outputs[0])

    def _copy(self, node: ir.Node) -> None:
        """A copy of a node, after copies of the quantizers that it reads from."""
        inputs = [None if value is None else self._read(value) for value in node.inputs]
        builder = self._builder
        copy = ir.Node(
            node.domain,
            node.op_type,
            inputs,
            list(node.attributes.values()),
            overload=node.overload,
            num_outputs=len(node.outputs),
            name=builder.namer.name(f"{node.name}_{self._suffix}"),
        )
        for old, new in zip(node.outputs, copy.outputs, strict=True):
            if old.name:
                new.name = builder.namer.name(f"{old.name}_{self._suffix}")
            new.type, new.shape = old.type, None if old.shape is None else old.shape.copy()
            self._copies[old] = new
        self._nodes.append(copy)

    def _read(self, value: ir.Value) -> ir.Value:
        """A tensor as the branch reads it."""
        if value in self._copies:
            return self._copies[value]
        producer, builder = value.producer(), self._builder
        if producer is None and value.const_value is not None and not value.is_graph_input():
            return self._store(value)
        if producer is None or value in builder.own:
            return builder.values[builder.own.get(value, str(value.name))]
        if producer.graph is builder.graph:
            return value
        self._copy(producer)
        return self._copies[value]

    def _store(self, value: ir.Value) -> ir.Value:
        """A constant of the branch."""
        name = self._builder.namer.name(f"{value.name}_{self._suffix}")
        copy = ir.Value(name=name, shape=value.shape, type=value.type, const_value=value.const_value)
        self._initializers.append(copy)
        self._copies[value] = copy
        return copy

    def _finish(self, outputs: list[ir.Value]) -> ir.Graph:
        """The branch as a graph."""
        name = self._builder.namer.name(f"branch_{self._suffix}")
        return ir.Graph([], outputs, nodes=self._nodes, initializers=self._initializers, name=name)
