"""How the groups of a plan hang together: which group reads what another one writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from assay.core.explanation import GroupGraph
from assay.core.sensitivity import NodeGroup
from assay.graph.groups import Grouping, list_producers, order_contracted


def find_group_graph(prepared: ir.Model, grouping: Grouping, whole: Grouping) -> GroupGraph:
    """The groups of a plan with the ways between them.

    Args:
        prepared: the float model; left as it is.
        grouping: of what the plan quantizes.
        whole: of what the same scheme quantizes where nothing is kept: what it has beyond ``grouping`` is kept.
    """
    groups = (*grouping.groups, *_list_kept(prepared.graph, grouping.groups, whole.groups))
    ordered = _order(prepared.graph, groups)
    return GroupGraph(ordered, _find_edges(prepared.graph, ordered))


def _list_kept(graph: ir.Graph, quantized: Sequence[NodeGroup], whole: Sequence[NodeGroup]) -> list[NodeGroup]:
    """Groups of what a plan leaves in floats; what cannot run together without the quantized nodes stands alone."""
    taken = {name for group in quantized for name in group.nodes}
    found: list[NodeGroup] = []
    for group in whole:
        heads = [name for name in group.quantized if name not in taken]
        left = {name: op for name, op in zip(group.nodes, group.operators, strict=True) if name not in taken}
        if not heads:
            continue
        name = group.name if group.name in heads else heads[0]
        together = NodeGroup(name, tuple(left), tuple(left.values()), ())
        if len(_order(graph, (*quantized, *found, together))) == len(quantized) + len(found) + 1:
            found.append(together)
        else:
            found += [NodeGroup(head, (head,), (left[head],), ()) for head in heads]
    return found


def _order(graph: ir.Graph, groups: Sequence[NodeGroup]) -> tuple[NodeGroup, ...]:
    """Groups in an order in which they can run; those that depend on themselves are left out."""
    place = {node: index for index, node in enumerate(graph)}
    nodes = {str(node.name): node for node in place}
    sets = [{nodes[name] for name in group.nodes} for group in groups]
    member = {node: together for together in sets for node in together}
    rank = {step: at for at, steps in enumerate(order_contracted(place, member)) for step in steps}
    runnable = [group for group in groups if nodes[group.nodes[0]] in rank]
    return tuple(sorted(runnable, key=lambda group: rank[nodes[group.nodes[0]]]))


def _find_edges(graph: ir.Graph, groups: Sequence[NodeGroup]) -> tuple[tuple[int, int], ...]:
    """Pairs of writer and reader; what lies between them in no group is passed through."""
    member = {name: index for index, group in enumerate(groups) for name in group.nodes}
    behind: dict[ir.Node, frozenset[int]] = {}
    edges: set[tuple[int, int]] = set()
    for node in graph:
        own = member.get(str(node.name))
        sources = _join(behind, node)
        if own is not None:
            edges |= {(source, own) for source in sources if source != own}
        behind[node] = sources if own is None else frozenset({own})
    return tuple(sorted(edges))


def _join(behind: Mapping[ir.Node, frozenset[int]], node: ir.Node) -> frozenset[int]:
    """Groups whose outputs reach a node."""
    return frozenset().union(*(behind.get(producer, frozenset()) for producer in list_producers(node)))
