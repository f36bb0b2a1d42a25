"""Where the channels of a tensor lie, and where they lie behind a node that lets a positive factor through.

A node lets a factor through where scaling its input's channels by ``s > 0`` scales its output's channels by ``s``:
linear nodes without a weight over the channels, and positively homogeneous ones (Nagel et al. 2019, section 4.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.graph.channels import STANDARD
from assay.graph.quantize_roles import read_constant

Dims = tuple[int | None, ...]

ELEMENTWISE = frozenset({"Relu", "LeakyRelu", "PRelu", "Identity", "Dropout", "Abs", "Neg", "Clip"})
POOLS = frozenset({"MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"})
REDUCTIONS = frozenset({"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2"})
RESHAPES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
UNBOUNDED = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Layout:
    """Channel of an element: the index over ``axes``, the last one fastest, divided by ``repeat``."""

    axes: tuple[int, ...]
    repeat: int = 1


def read_dims(value: ir.Value | None) -> Dims | None:
    """Shape of a tensor, None for each axis that is not fixed; None where not even the rank is known."""
    if value is None or value.shape is None:
        return None
    return tuple(axis if isinstance(axis, int) else None for axis in value.shape)


def read_integers(node: ir.Node, name: str, index: int) -> tuple[int, ...] | None:
    """Integers that older opsets have as an attribute and newer ones as a constant input; None where not constant."""
    if name in node.attributes:
        return tuple(node.attributes.get_ints(name, ()))
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return tuple(int(number) for number in value.const_value.numpy().reshape(-1))


def count_positions(layout: Layout, dims: Dims) -> int | None:
    """Positions along the axes of a layout: channels times ``repeat``."""
    sizes = [dims[axis] for axis in layout.axes]
    return math.prod(size for size in sizes if size is not None) if None not in sizes else None


def expand_factor(factor: NDArray[np.float64], layout: Layout, dims: Dims) -> NDArray[np.float64]:
    """A ``[C]`` factor in a shape that broadcasts against a tensor of this layout."""
    axes = layout.axes
    sizes = [dims[axis] or 1 for axis in axes]
    spread = np.repeat(factor, layout.repeat).reshape(sizes)
    order = np.argsort(axes)
    shape = [size if axis in axes else 1 for axis, size in enumerate(dims)]
    return spread.transpose(order).reshape([size or 1 for size in shape])


def pass_layout(node: ir.Node, index: int, layout: Layout) -> Layout | None:
    """Layout behind a node with one data input that lets factors through, or None where it does not."""
    source, target = read_dims(node.inputs[index]), read_dims(node.outputs[0])
    if node.domain not in STANDARD or source is None or target is None:
        return None
    kind = node.op_type
    if index != 0 or kind == "MatMul":
        return _pass_product(index, layout, source, target) if kind == "MatMul" else None
    if kind in RESHAPES:
        return reshape_layout(layout, source, target)
    if kind == "Transpose":
        order = node.attributes.get_ints("perm") or tuple(reversed(range(len(source))))
        return Layout(tuple(order.index(axis) for axis in layout.axes), layout.repeat)
    if kind in REDUCTIONS:
        return _reduce_layout(node, layout, len(source))
    return layout if _keeps_layout(node, layout, source, target) else None


def trace_layout(node: ir.Node, layout: Layout) -> Layout | None:
    """Layout of the first input of a node, from that of its output; the inverse of ``pass_layout`` for index 0."""
    source, target = read_dims(node.inputs[0]), read_dims(node.outputs[0])
    if source is None or target is None:
        return None
    kind = node.op_type
    found: Layout | None = layout
    if kind in RESHAPES:
        found = reshape_layout(layout, target, source)
    elif kind == "Transpose":
        order = node.attributes.get_ints("perm") or tuple(reversed(range(len(source))))
        found = Layout(tuple(order[axis] for axis in layout.axes), layout.repeat)
    elif kind in REDUCTIONS and not node.attributes.get_int("keepdims", 1):
        gone = {axis % len(source) for axis in read_integers(node, "axes", 1) or ()}
        left = [axis for axis in range(len(source)) if axis not in gone]
        found = Layout(tuple(left[axis] for axis in layout.axes), layout.repeat) if left else None
    # What the inverse finds must lead forward again, so that all conditions are stated once.
    return found if found is not None and pass_layout(node, 0, found) == layout else None


def reshape_layout(layout: Layout, source: Dims, target: Dims) -> Layout | None:
    """Layout after a reshape that keeps the channels in blocks; None where it mixes them or is not known."""
    first, last = layout.axes[0], layout.axes[-1]
    if layout.axes != tuple(range(first, last + 1)):
        return None
    inner, whole = measure(source, last + 1), measure(source, first)
    if inner is None or whole is None or not whole:
        return None
    run = layout.repeat * inner
    for begin in reversed(range(len(target))):
        if measure(target, begin) != whole:
            continue
        for end in range(begin, len(target)):
            behind = measure(target, end + 1)
            if behind is not None and run % behind == 0:
                return Layout(tuple(range(begin, end + 1)), run // behind)
    return None


def measure(dims: Dims, begin: int) -> int | None:
    """Elements of the axes from ``begin`` on, or None where one is not fixed."""
    behind = [size for size in dims[begin:] if size is not None]
    return math.prod(behind) if len(behind) == len(dims) - begin else None


def _pass_product(index: int, layout: Layout, source: Dims, target: Dims) -> Layout | None:
    """A matrix product sums over one axis of each operand and is linear along the others."""
    summed = len(source) - (1 if index == 0 else 2)
    kept = summed not in layout.axes and len(source) == len(target) and len(source) > 1
    return layout if kept and _agree(layout, source, target) else None


def _reduce_layout(node: ir.Node, layout: Layout, rank: int) -> Layout | None:
    """Behind a reduction over other axes than the channels'."""
    axes = read_integers(node, "axes", 1)
    gone = {axis % rank for axis in axes or ()}
    if not gone or gone & set(layout.axes):
        return None
    if node.attributes.get_int("keepdims", 1):
        return layout
    return Layout(tuple(axis - sum(other < axis for other in gone) for axis in layout.axes), layout.repeat)


def _keeps_layout(node: ir.Node, layout: Layout, source: Dims, target: Dims) -> bool:
    """Whether a node of one data input lets factors through and leaves the channels where they are."""
    kind = node.op_type
    if len(source) != len(target) or not _agree(layout, source, target) or _has_other_outputs(node):
        return False
    if kind in ELEMENTWISE:
        return _is_homogeneous(node)
    if kind in POOLS:
        return layout.axes == (1,)
    check = {"Resize": _resizes_space, "Pad": _pads_zeros, "Slice": _slices_space}.get(kind)
    return check is not None and check(node, layout, len(source))


def _agree(layout: Layout, source: Dims, target: Dims) -> bool:
    """Whether two tensors have the same sizes along the axes of the channels."""
    return all(source[axis] is not None and source[axis] == target[axis] for axis in layout.axes)


def _has_other_outputs(node: ir.Node) -> bool:
    """Whether anybody reads an output beside the first, such as the indices of a MaxPool."""
    return any(value.uses() or value.is_graph_output() for value in node.outputs[1:])


def _is_homogeneous(node: ir.Node) -> bool:
    """Whether a PRelu has constant slopes, a Clip no limits but 0 and infinity, and a Dropout drops nothing."""
    if node.op_type == "PRelu":
        return read_constant(node.inputs[1]) is not None
    if node.op_type == "Dropout":
        return len(node.inputs) <= len(("data", "ratio"))
    if node.op_type != "Clip":
        return True
    if "min" in node.attributes or "max" in node.attributes:
        return False
    for index, limit in ((1, -UNBOUNDED), (2, UNBOUNDED)):
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is None:
            continue
        constant = read_constant(value)
        if constant is None or not (constant == 0).all() | (constant * np.sign(limit) >= UNBOUNDED).all():
            return False
    return True


def _resizes_space(node: ir.Node, layout: Layout, _rank: int) -> bool:
    """Whether a Resize leaves the axes of the channels as they are and adds no value of its own."""
    if node.attributes.get_string("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        return False
    scales = node.inputs[2] if len(node.inputs) > len(("data", "roi")) else None
    if scales is None or (len(node.inputs) > len(("data", "roi", "scales")) and node.inputs[3] is not None):
        return "axes" not in node.attributes
    factors = read_constant(scales)
    return factors is not None and "axes" not in node.attributes and all(factors[axis] == 1 for axis in layout.axes)


def _pads_zeros(node: ir.Node, layout: Layout, rank: int) -> bool:
    """Whether a Pad adds zeros or copies, none of them along the channels."""
    pads = read_integers(node, "pads", 1)
    fill = node.inputs[2] if len(node.inputs) > len(("data", "pads")) else None
    named = node.inputs[3] if len(node.inputs) > len(("data", "pads", "fill")) else None
    constant = None if fill is None else read_constant(fill)
    if pads is None or named is not None or len(pads) != 2 * rank:
        return False
    if fill is not None and (constant is None or constant.any()):
        return False
    return not any(pads[axis] or pads[axis + rank] for axis in layout.axes)


def _slices_space(node: ir.Node, layout: Layout, rank: int) -> bool:
    """Whether a Slice cuts known axes, none of them the channels'."""
    axes = read_integers(node, "axes", 3)
    return axes is not None and not {axis % rank for axis in axes} & set(layout.axes)
