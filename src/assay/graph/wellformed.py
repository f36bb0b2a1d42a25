"""Checks that every name of an ONNX graph is produced once, before it is used, without a cycle."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

import onnx

from assay.core.errors import ModelError

EXPORT_AGAIN = "export the model again, or repair it with the tool that wrote it"


def describe_node(node: onnx.NodeProto) -> str:
    """A node in words, by its name, or by what it computes where it has none."""
    operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    if node.name:
        return f"node '{node.name}' ({operator})"
    output = next((name for name in node.output if name), "")
    return f"the {operator} node that computes '{output}'"


def check_names(proto: onnx.ModelProto, path: Path) -> None:
    """Check inputs, outputs and all names, and put the nodes of ``proto`` in order where a file has them unsorted.

    Raises:
        ModelError: no inputs or outputs, a name produced twice, a name used but never produced, or a cycle.
    """
    graph = proto.graph
    stored = {tensor.name for tensor in graph.initializer}
    if not any(value.name not in stored for value in graph.input):
        raise ModelError(f"{path}: the graph has no inputs", "Assay studies models that are fed data")
    if not graph.output:
        raise ModelError(f"{path}: the graph has no outputs", EXPORT_AGAIN)
    check_graph(graph, frozenset(), path)
    for function in proto.functions:
        where = f"function '{function.name}' of {path}"
        defined = check_unique((function.input, list_outputs(function.node)), where)
        check_uses(function.node, defined, where)
        check_ends(function.output, defined, where)
        sort_nodes(function.node, where)


def check_graph(graph: onnx.GraphProto, outer: AbstractSet[str], path: Path, where: str = "") -> None:
    """Check one graph and, recursively, the graphs inside its nodes."""
    where = where or str(path)
    if graph.sparse_initializer:
        name = graph.sparse_initializer[0].values.name
        raise ModelError(f"{where}: the initializer '{name}' is sparse", "export the model with dense weights")
    inputs = [value.name for value in graph.input]
    stored = [tensor.name for tensor in graph.initializer]
    check_unique((stored,), where)
    overridable = [name for name in stored if name not in set(inputs)]
    own = check_unique((inputs, overridable, list_outputs(graph.node)), where)
    visible = outer | own
    check_uses(graph.node, visible, where)
    check_ends([value.name for value in graph.output], visible, where)
    sort_nodes(graph.node, where)
    for node in graph.node:
        for inner in list_subgraphs(node):
            check_graph(inner, visible, path, f"{path}, a graph inside {describe_node(node)}")


def check_unique(groups: Iterable[Iterable[str]], where: str) -> frozenset[str]:
    """All names; refuses one that is defined twice."""
    seen: set[str] = set()
    for group in groups:
        for name in group:
            if name in seen:
                raise ModelError(f"{where}: the name '{name}' is defined twice", EXPORT_AGAIN)
            if name:
                seen.add(name)
    return frozenset(seen)


def check_uses(nodes: Iterable[onnx.NodeProto], visible: AbstractSet[str], where: str) -> None:
    """Refuse a node that reads what nothing produces."""
    for node in nodes:
        for name in node.input:
            if name and name not in visible:
                message = f"{where}: {describe_node(node)} reads '{name}', which nothing produces"
                raise ModelError(message, EXPORT_AGAIN)


def check_ends(outputs: Iterable[str], visible: AbstractSet[str], where: str) -> None:
    """Refuse a graph output that nothing produces."""
    for name in outputs:
        if name not in visible:
            raise ModelError(f"{where}: nothing produces the output '{name}'", EXPORT_AGAIN)


def list_outputs(nodes: Iterable[onnx.NodeProto]) -> list[str]:
    """Names of everything the nodes produce."""
    return [name for node in nodes for name in node.output if name]


def list_subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Graphs in a node's attributes: the bodies of If, Loop and Scan."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def list_needs(node: onnx.NodeProto) -> set[str]:
    """Names that a node reads, those of the graphs inside it included."""
    needs = {name for name in node.input if name}
    for graph in list_subgraphs(node):
        needs |= {value.name for value in graph.output}
        for inner in graph.node:
            needs |= list_needs(inner)
    return needs


def sort_nodes(nodes: MutableSequence[onnx.NodeProto], where: str) -> None:
    """Bring nodes into topological order in place, keeping the order they have wherever it is one.

    Raises:
        ModelError: a cycle, naming nodes on it.
    """
    producer = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    before = [{producer[name] for name in list_needs(node) if name in producer} for node in nodes]
    if all(not needed or max(needed) < index for index, needed in enumerate(before)):
        return
    after: list[list[int]] = [[] for _ in before]
    for index, needed in enumerate(before):
        for earlier in needed:
            after[earlier].append(index)
    waiting = [len(needed) for needed in before]
    ready = [index for index, count in enumerate(waiting) if count == 0]
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for later in after[index]:
            waiting[later] -= 1
            if waiting[later] == 0:
                heapq.heappush(ready, later)
    if len(order) < len(before):
        raise explain_cycle(nodes, before, frozenset(order), where)
    ordered = [nodes[index] for index in order]
    del nodes[:]
    nodes.extend(ordered)


def explain_cycle(
    nodes: Sequence[onnx.NodeProto], before: Sequence[AbstractSet[int]], sorted_nodes: AbstractSet[int], where: str
) -> ModelError:
    """Walk backwards from a node that never became ready until one repeats: those between are on a cycle."""
    index = next(i for i in range(len(before)) if i not in sorted_nodes)
    walk: list[int] = []
    while index not in walk:
        walk.append(index)
        index = min(i for i in before[index] if i not in sorted_nodes)
    cycle = walk[walk.index(index) :][::-1]
    names = " -> ".join(describe_node(nodes[i]) for i in [*cycle[:4], cycle[0]])
    return ModelError(f"{where}: the graph has a cycle of {len(cycle)} nodes: {names}", EXPORT_AGAIN)
