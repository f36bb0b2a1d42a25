"""A simulated model in successive chunks, so that what lies before a switched group need not be computed again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import onnx_ir as ir

from assay.graph.groups import list_inner, list_reads
from assay.graph.quantize import drop_unused_initializers
from assay.graph.simulate import SimulatedModel


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some of a model's nodes, as a model.

    Attributes:
        model: takes the whole model's inputs, the switches, and ``reads``.
        reads: names of tensors that earlier chunks give.
        gives: names of its outputs, for later chunks or the caller.
        first: index of its first group.
        last: one after that of its last group.
    """

    model: ir.Model
    reads: tuple[str, ...]
    gives: tuple[str, ...]
    first: int
    last: int


def split_chunks(simulated: SimulatedModel, most: int) -> tuple[Chunk, ...]:
    """Divide a simulated model where groups begin, into parts of about as many groups each.

    Args:
        simulated: left as it is; weights are shared.
        most: chunks at most (>= 1); fewer where a tensor at a cut has no known type.
    """
    nodes = list(simulated.model.graph)
    starts = {str(node.name): index for index, node in enumerate(nodes)}
    count = len(simulated.groups)
    wanted = sorted({count * number // most for number in range(1, most)} - {0})
    cuts = [(starts[simulated.nodes[group]], group) for group in wanted]
    cuts = [cut for cut in cuts if _has_types(nodes, cut[0])]
    edges = [(0, 0), *cuts, (len(nodes), count)]
    return tuple(_extract(simulated, (begin, end), (first, last)) for (begin, first), (end, last) in pairwise(edges))


def _has_types(nodes: Sequence[ir.Node], cut: int) -> bool:
    """Whether every tensor that crosses a cut has a known element type."""
    before = set(nodes[:cut])
    crossing = (value for node in nodes[cut:] for value in list_reads(node) if value.producer() in before)
    return all(value.dtype is not None for value in crossing)


def _extract(simulated: SimulatedModel, span: tuple[int, int], groups: tuple[int, int]) -> Chunk:
    """The chunk of the nodes in a span."""
    model = simulated.model.clone()
    graph = model.graph
    nodes, switches = list(graph), set(simulated.picks)
    own = [node for node in nodes[span[0] : span[1]] if node.name not in switches]
    # Every switch is read from the input anew, by the chunk that needs it.
    kept = {*own, *(p for node in own for v in list_reads(node) if (p := v.producer()) and p.name in switches)}
    reads = {v.name: v for node in own for v in list_reads(node) if (p := v.producer()) and p.graph is graph}
    reads = {name: value for name, value in reads.items() if value.producer() not in kept}
    outputs = set(graph.outputs)
    later = {value for node in nodes[span[1] :] for value in list_reads(node)}
    gives = [v for node in own for v in node.outputs if v in outputs or v in later]
    if span[1] == len(nodes):
        gives += [value for value in graph.outputs if value.producer() is None and value not in gives]
    for name, value in reads.items():
        taken = ir.Value(name=name, shape=value.shape, type=value.type)
        ir.convenience.replace_all_uses_with(value, taken, replace_graph_outputs=True)
        value.name = None
        graph.inputs.append(taken)
    graph.outputs.clear()
    graph.outputs.extend(gives)
    gone = [node for node in nodes if node not in kept]
    for inner in (inner for node in gone for inner in list_inner(node)):
        for index in range(len(inner.inputs)):
            inner.replace_input_with(index, None)
    graph.remove(gone, safe=True)
    drop_unused_initializers(graph)
    names = tuple(str(value.name) for value in gives)
    return Chunk(model, tuple(str(name) for name in reads), names, *groups)
