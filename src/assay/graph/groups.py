"""Groups of nodes that runtimes fuse into one kernel, so that a plan which keeps a group in floats is one that can run.

A group starts at an arithmetic node (Conv, Gemm, MatMul). Its bias and activation go with it, then the residual Add,
pool, Concat or mover behind it; the two products of an attention, with what lies between them, are one group.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from assay.core.calibration import TensorRange
from assay.core.plan import Scheme
from assay.core.sensitivity import NodeGroup
from assay.graph.bias_sites import find_bias
from assay.graph.expose import is_subgraph
from assay.graph.quantize_roles import Role, read_constant
from assay.graph.quantize_selection import Selection, read_operands, select
from assay.graph.quantize_tails import follow_tail

BETWEEN_PRODUCTS = frozenset({"Softmax", "Mul", "Div", "Add", "Sub", "Where", "Cast", "Clip", "Identity", "Reshape"})
"""What stands between the two products of an attention."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """The quantized part of a model in groups.

    Attributes:
        groups: in an order in which they can run.
        firm: names of tensors that every reader gets from integers, so that their producer's group rounds them.
        tensors: group name -> names of the activations that it reads or writes as integers.
        sources: name of each of these tensors -> tensor whose range it has.
    """

    groups: tuple[NodeGroup, ...]
    firm: frozenset[str]
    tensors: Mapping[str, tuple[str, ...]]
    sources: Mapping[str, str]


def find_groups(
    prepared: ir.Model, scheme: Scheme, ranges: Mapping[str, TensorRange], keep: Collection[str] = ()
) -> Grouping:
    """Divide the nodes that a scheme quantizes.

    Every quantized node is in exactly one group, and no group depends on itself through others.

    Args:
        prepared: the model; left as it is.
        scheme: dialect, placement and range method.
        ranges: solved ranges of its activations.
        keep: names of nodes that stay in floats.
    """
    selection = select(prepared, scheme, keep, ranges)
    members = _Grouper(prepared.graph, scheme, selection, keep).group()
    groups = [_describe(nodes, selection) for nodes in members]
    return Grouping(
        groups=tuple(groups),
        firm=frozenset(str(value.name) for value in selection.firm),
        tensors={
            group.name: tuple(dict.fromkeys(str(value.name) for value in _list_tensors(nodes, selection)))
            for group, nodes in zip(groups, members, strict=True)
        },
        sources={str(value.name): str(source.name) for value, source in selection.sources.items()},
    )


def _describe(nodes: Sequence[ir.Node], selection: Selection) -> NodeGroup:
    """A group by names; called after its first arithmetic node."""
    quantized = [node for node in nodes if node in selection.parts]
    arithmetic = [node for node in quantized if selection.parts[node].role is Role.ARITHMETIC]
    return NodeGroup(
        name=str((arithmetic or quantized)[0].name),
        nodes=tuple(str(node.name) for node in nodes),
        operators=tuple(node.op_type for node in nodes),
        quantized=tuple(str(node.name) for node in quantized),
    )


def _list_tensors(nodes: Sequence[ir.Node], selection: Selection) -> Iterator[ir.Value]:
    """Activations that a group reads as integers, then those that it alone writes as integers."""
    for node in nodes:
        if node in selection.parts:
            yield from (v for v in read_operands(node, selection.parts[node]) if v in selection.sources)
    for node in nodes:
        yield from (value for value in node.outputs if value in selection.firm)


class _Grouper:
    """Unites nodes as long as no group comes to depend on itself."""

    def __init__(self, graph: ir.Graph, scheme: Scheme, selection: Selection, keep: Collection[str]) -> None:
        self._scheme, self._selection, self._keep = scheme, selection, keep
        self._place = {node: index for index, node in enumerate(graph)}
        self._group: dict[ir.Node, set[ir.Node]] = {}

    def group(self) -> list[list[ir.Node]]:
        """Groups in an order in which they can run, their nodes in the graph's order."""
        parts = self._selection.parts
        arithmetic = [node for node, part in parts.items() if part.role is Role.ARITHMETIC]
        for node in arithmetic:
            self._start(node)
        for node in parts:
            if node not in self._group:
                self._follow(node)
        for node in arithmetic:
            self._pair_products(node)
        supers = order_contracted(self._place, self._group)
        return [nodes for nodes in supers if nodes[0] in self._group]

    def _start(self, node: ir.Node) -> None:
        """A group of an arithmetic node with its bias and activation."""
        if node in self._group:
            return
        part = self._selection.parts[node]
        found = {node, *follow_tail(node, self._scheme.dialect, self._keep)[1]}
        weight = None if part.weight is None else read_constant(node.inputs[part.weight])
        bias = None if weight is None else find_bias(node, part, weight)
        if bias is not None and bias.node is not node and str(bias.node.name) not in self._keep:
            found |= {bias.node, *follow_tail(bias.node, self._scheme.dialect, self._keep)[1]}
        self._unite({step for step in found if step not in self._group})

    def _follow(self, node: ir.Node) -> None:
        """Let a link or mover join what feeds it: the one that feeds it alone first, then the latest."""
        tail = follow_tail(node, self._scheme.dialect, self._keep)[1] if self._is_link(node) else []
        fresh = {step for step in (node, *tail) if step not in self._group}
        feeders: list[tuple[bool, int, ir.Node]] = []
        for value in read_operands(node, self._selection.parts[node]):
            producer = value.producer()
            if producer is not None and producer in self._group:
                feeders.append((len(value.uses()) == 1, self._place[producer], producer))
        for _, _, feeder in sorted(feeders, key=lambda found: found[:2], reverse=True):
            if self._unite(fresh | self._group[feeder]):
                return
        self._unite(fresh)

    def _is_link(self, node: ir.Node) -> bool:
        return self._selection.parts[node].role is Role.LINK

    def _pair_products(self, node: ir.Node) -> None:
        """Unite the two products of an attention with what lies between them."""
        parts = self._selection.parts
        if parts[node].weight is not None or node.op_type != "MatMul":
            return
        between: list[ir.Node] = []
        uses = tuple(node.outputs[0].uses())
        while len(uses) == 1 and uses[0].node.op_type in BETWEEN_PRODUCTS and uses[0].node in self._place:
            between.append(uses[0].node)
            uses = tuple(uses[0].node.outputs[0].uses())
        last = uses[0].node if len(uses) == 1 else None
        if last is None or last.op_type != "MatMul" or last not in parts or parts[last].weight is not None:
            return
        if not any(step.op_type == "Softmax" for step in between):
            return
        both = self._group[node] | self._group[last]
        if all(step in both or step not in self._group for step in between):
            self._unite(both | set(between))

    def _unite(self, nodes: set[ir.Node]) -> bool:
        """Make one group of some nodes, unless it would depend on itself; whether it was made."""
        if self._depends_on_itself(nodes):
            return False
        for node in nodes:
            self._group[node] = nodes
        return True

    def _depends_on_itself(self, nodes: set[ir.Node]) -> bool:
        """Whether something outside reads from the nodes and is read by them, directly or through others."""
        waiting = [p for node in nodes for p in list_producers(node) if p in self._place and p not in nodes]
        seen: set[ir.Node] = set()
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            together = self._group.get(node, {node})
            seen |= together
            for step in together:
                for producer in list_producers(step):
                    if producer in nodes:
                        return True
                    if producer in self._place and producer not in seen:
                        waiting.append(producer)
        return False


def list_inner(node: ir.Node) -> Iterator[ir.Node]:
    """All nodes of a node's subgraphs, at any depth."""
    for attribute in node.attributes.values():
        if is_subgraph(attribute):
            graphs = attribute.as_graphs() if attribute.type is ir.AttributeType.GRAPHS else [attribute.as_graph()]
            for graph in graphs:
                yield from graph.all_nodes()


def list_reads(node: ir.Node) -> Iterator[ir.Value]:
    """Values that a node reads, also inside its subgraphs."""
    for reader in (node, *list_inner(node)):
        yield from (value for value in reader.inputs if value is not None)


def list_producers(node: ir.Node) -> Iterator[ir.Node]:
    """The nodes that a node reads from, also inside its subgraphs."""
    for value in list_reads(node):
        producer = value.producer()
        if producer is not None:
            yield producer


def order_contracted(place: Mapping[ir.Node, int], group: Mapping[ir.Node, set[ir.Node]]) -> list[list[ir.Node]]:
    """All nodes of a graph in an order in which groups stand together, each group in the graph's order.

    Args:
        place: node -> position in the graph.
        group: node -> all nodes of its group, the node among them; others stand alone.
    """
    first = {node: min(place[step] for step in group.get(node, {node})) for node in place}
    whole = {first[node]: sorted(group.get(node, {node}), key=place.__getitem__) for node in place}
    before = {key: set[int]() for key in whole}
    after = {key: set[int]() for key in whole}
    for node in place:
        for producer in list_producers(node):
            if producer in place and first[producer] != first[node]:
                before[first[node]].add(first[producer])
                after[first[producer]].add(first[node])
    ready = [key for key, needed in before.items() if not needed]
    heapq.heapify(ready)
    ordered: list[list[ir.Node]] = []
    while ready:
        key = heapq.heappop(ready)
        ordered.append(whole[key])
        for follower in after[key]:
            before[follower].discard(key)
            if not before[follower]:
                heapq.heappush(ready, follower)
    return ordered
