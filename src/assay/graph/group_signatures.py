"""What the time of a group depends on, without its weights: equal signatures take equally long on one target."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import onnx_ir as ir

from assay.graph.expose import is_subgraph
from assay.graph.groups import Grouping


def sign_groups(bound: ir.Model, grouping: Grouping) -> tuple[str, ...]:
    """A hash for each group: operators, attributes, shapes and types of activations and weights, which are integers.

    Args:
        bound: the float model with the input shapes of a call, as ``bind_shapes`` gives it; left as it is.
        grouping: of the model.
    """
    nodes = {str(node.name): node for node in bound.graph}
    return tuple(
        _sign([nodes[name] for name in group.nodes if name in nodes], frozenset(grouping.tensors[group.name]))
        for group in grouping.groups
    )


def sign_rest(bound: ir.Model, grouping: Grouping) -> str:
    """The same for all nodes that no group has."""
    grouped = {name for group in grouping.groups for name in group.nodes}
    return _sign([node for node in bound.graph if node.name not in grouped], frozenset())


def _sign(nodes: Sequence[ir.Node], integers: frozenset[str]) -> str:
    """Hash of nodes in their order; values are numbered as they come."""
    numbers: dict[ir.Value, int] = {}
    lines = []
    for node in nodes:
        inputs = [_describe(value, numbers, integers) for value in node.inputs]
        outputs = [_describe(value, numbers, integers) for value in node.outputs]
        attributes = sorted(f"{name}={_spell(attribute)}" for name, attribute in node.attributes.items())
        lines.append(f"{node.domain}:{node.op_type}({_join(inputs)}; {_join(attributes)}) -> {_join(outputs)}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:24]


def _describe(value: ir.Value | None, numbers: dict[ir.Value, int], integers: frozenset[str]) -> str:
    """A value by its number, type and shape; a constant without its content."""
    if value is None:
        return "-"
    number = numbers.setdefault(value, len(numbers))
    kind = "constant" if value.const_value is not None else "integers" if value.name in integers else "floats"
    shape = (
        "?" if value.shape is None else "x".join(str(axis) if isinstance(axis, int) else "?" for axis in value.shape)
    )
    return f"{number} {kind} {value.dtype} {shape}"


def _spell(attribute: ir.Attr) -> str:
    """An attribute's value; of a graph its operators, of a tensor its shape."""
    if is_subgraph(attribute):
        graphs = attribute.as_graphs() if attribute.type is ir.AttributeType.GRAPHS else [attribute.as_graph()]
        return _join(f"[{_join(node.op_type for node in graph.all_nodes())}]" for graph in graphs)
    if attribute.type is ir.AttributeType.TENSOR:
        tensor = attribute.as_tensor()
        return f"{tensor.dtype} {tensor.shape}"
    return str(attribute.value)


def _join(parts: Iterable[str]) -> str:
    return ", ".join(parts)
