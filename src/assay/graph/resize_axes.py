"""Lets a Resize name all its axes: the optimiser of a runtime may misread the attribute that leaves some out.

ONNX Runtime 1.31 brings the Resize of a quantized network to channels-last with scales or sizes for all axes in mind,
and then refuses the model or runs out of bounds. Spelt out, the operator means the same (ONNX Resize, version 18).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.graph.naming import Namer
from assay.graph.quantize_weights import store_initializer

ROI, SCALES, SIZES = 1, 2, 3


def spell_resize_axes(graph: ir.Graph) -> None:
    """Rewrite every Resize of the main graph that names some axes only, in place.

    One stays as it is where its scales or sizes are not constants, its rank is unknown, it keeps an aspect ratio
    (which concerns the named axes alone) or crops a region.
    """
    namer = Namer(graph)
    for node in list(graph):
        if node.op_type == "Resize" and not node.domain and "axes" in node.attributes:
            _spell_node(graph, node, namer)


def _spell_node(graph: ir.Graph, node: ir.Node, namer: Namer) -> None:
    """One node, where it can be spelt out."""
    source = node.inputs[0]
    if source is None or source.shape is None or _read(node, ROI) is not None:
        return
    if node.attributes.get_string("keep_aspect_ratio_policy", "stretch") != "stretch":
        return
    if node.attributes.get_string("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        return
    rank = len(source.shape)
    axes = [axis % rank for axis in node.attributes["axes"].as_ints()]
    scales, sizes = _read(node, SCALES), _read(node, SIZES)
    if scales is not None and len(scales) == len(axes):
        every = np.ones(rank, scales.dtype)
        every[axes] = scales
        node.replace_input_with(SCALES, store_initializer(graph, namer.name(f"{node.name}_scales"), every))
    elif sizes is not None and len(sizes) == len(axes):
        node.replace_input_with(SIZES, _join_sizes(graph, node, dict(zip(axes, sizes, strict=True)), namer))
    else:
        return
    node.attributes.pop("axes")


def _read(node: ir.Node, index: int) -> NDArray[np.generic] | None:
    """A constant operand that is not empty, or None."""
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None or value.const_value is None or value.is_graph_input() or not value.const_value.size:
        return None
    return value.const_value.numpy()


def _join_sizes(graph: ir.Graph, node: ir.Node, sizes: dict[int, np.generic], namer: Namer) -> ir.Value:
    """Sizes of all axes: a constant, or joined at run time where an axis that is left as it is, is dynamic."""
    source = node.inputs[0]
    if source is None or source.shape is None:
        raise ValueError(f"node {node.name} has no input of known rank")
    known = {axis: size for axis, size in enumerate(source.shape) if isinstance(size, int)}
    known |= {axis: int(size) for axis, size in sizes.items()}
    name = namer.name(f"{node.name}_sizes")
    if len(known) == len(source.shape):
        return store_initializer(graph, name, np.array([known[axis] for axis in sorted(known)], np.int64))
    parts: list[ir.Value] = []
    for axis in range(len(source.shape)):
        part = namer.name(f"{node.name}_size_{axis}")
        if axis in known:
            parts.append(store_initializer(graph, part, np.array([known[axis]], np.int64)))
            continue
        attributes = [ir.AttrInt64("start", axis), ir.AttrInt64("end", axis + 1)]
        shape = ir.Node("", "Shape", [source], attributes, name=part)
        shape.outputs[0].name = part
        graph.insert_before(node, shape)
        parts.append(shape.outputs[0])
    joined = ir.Node("", "Concat", parts, [ir.AttrInt64("axis", 0)], name=name)
    joined.outputs[0].name = name
    graph.insert_before(node, joined)
    return joined.outputs[0]
