"""How many rows the tables have that a model's integer inputs look up: what the inputs may hold."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

PASSING = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Expand"})
"""Operators whose first input comes out with the same values."""


def count_rows(value: ir.Value) -> int | None:
    """Rows of the smallest table that a model input indexes; None where it indexes none of a known size."""
    rows = [size for node in _follow(value) if (size := _find_size(node)) is not None]
    return min(rows, default=None)


def _follow(value: ir.Value) -> Iterator[ir.Node]:
    """``Gather`` nodes whose indices are the value, as it is or in another shape."""
    waiting, seen = [value], {id(value)}
    while waiting:
        for node, place in waiting.pop().uses():
            if node.op_type == "Gather" and place == 1:
                yield node
            elif node.op_type in PASSING and place == 0 and id(node.outputs[0]) not in seen:
                seen.add(id(node.outputs[0]))
                waiting.append(node.outputs[0])


def _find_size(node: ir.Node) -> int | None:
    """Length of the axis of a ``Gather`` that is indexed."""
    table = node.inputs[0]
    shape = None if table is None else table.shape
    axis = node.attributes.get_int("axis", 0)
    size = None if shape is None or not -len(shape) <= axis < len(shape) else shape[axis]
    return size if isinstance(size, int) else None
