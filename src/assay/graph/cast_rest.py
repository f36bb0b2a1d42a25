"""Types what an INT8 model leaves in floats as a 16-bit float, for runtimes that compute in the types of the graph.

A dequantizer then gives 16-bit floats, and a quantizer takes them where they are made, so that no tensor is widened
between two layers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from assay.core.plan import Plan
from assay.core.precision import CastStyle, Precision
from assay.graph.cast import raise_opset
from assay.graph.cast_rules import DTYPES, CastRules, Slots
from assay.graph.cast_typed import TypedCaster
from assay.graph.convert_opset import convert_model
from assay.graph.quantize import drop_unused_initializers
from assay.graph.quantize_roles import read_constant

QUANTIZERS_OPSET = 19
"""The first in which quantizers take and give 16-bit floats."""
SMALLEST_SCALE = {Precision.FP16: 2.0**-14, Precision.BF16: 2.0**-126}
"""Smallest normal number: below, a scale loses digits."""
TAKEN, SCALE = 0, 1


def types_rest(plan: Plan) -> bool:
    """Whether a plan with integers has its rest typed in the graph."""
    return plan.quantizes and plan.cast is CastStyle.TYPED and plan.rest in DTYPES


def raise_for_rest(model: ir.Model, plan: Plan) -> ir.Model:
    """The float model, in a newer opset where the plan's quantizers or its rest need that.

    Raises:
        UnsupportedPlan: the converter does not know how.
    """
    if not types_rest(plan):
        return model
    newer = raise_opset(model, plan.rest)
    if newer.graph.opset_imports.get("", 0) >= QUANTIZERS_OPSET:
        return newer
    return convert_model(newer, QUANTIZERS_OPSET, f"quantizers in {plan.rest}")


def cast_rest(model: ir.Model, precision: Precision, largest: Mapping[str, float]) -> None:
    """Type the float nodes of a quantized model, in place; its inputs and outputs keep their types.

    Nodes stay in FP32 that would lose too much, overflow, or whose operands have scales too small for the format.

    Args:
        model: with quantize/dequantize pairs, in an opset of ``raise_for_rest``.
        precision: FP16 or BF16.
        largest: tensor name -> largest observed magnitude, for the overflow check of FP16.
    """
    graph = model.graph
    rules = CastRules(precision, graph.opset_imports.get("", 0), largest, ())
    slots: dict[ir.Node, Slots] = {}
    for node in graph:
        verdict = rules.judge(node)
        if verdict.slots is not None:
            slots[node] = verdict.slots
    _keep_small_scales(slots, precision)
    for node in graph:
        if node.op_type == "DequantizeLinear" and _fits(node, precision) and _feeds(node, slots):
            slots[node] = Slots((SCALE,), (TAKEN,))
    for node in graph:
        if node.op_type == "QuantizeLinear" and _fits(node, precision) and _is_made_narrow(node, slots):
            slots[node] = Slots((TAKEN, SCALE), ())
    TypedCaster(graph, precision, slots).cast()
    drop_unused_initializers(graph)


def _keep_small_scales(slots: dict[ir.Node, Slots], precision: Precision) -> None:
    """Leave those nodes in FP32 that read a dequantizer which cannot be typed."""
    for node in list(slots):
        if any(_is_unfit(node.inputs[index], precision) for index in slots[node].inputs):
            del slots[node]


def _is_unfit(value: ir.Value | None, precision: Precision) -> bool:
    """Whether a tensor comes from a dequantizer that cannot be typed."""
    maker = None if value is None else value.producer()
    return maker is not None and maker.op_type == "DequantizeLinear" and not _fits(maker, precision)


def _fits(node: ir.Node, precision: Precision) -> bool:
    """Whether the constant scale of a quantizer or dequantizer keeps its digits in the format."""
    scale = read_constant(node.inputs[SCALE])
    if scale is None:
        return False
    magnitudes = np.abs(scale)
    return bool(magnitudes.min() >= SMALLEST_SCALE[precision] and magnitudes.max() <= precision.largest)


def _feeds(node: ir.Node, slots: Mapping[ir.Node, Slots]) -> bool:
    """Whether a node that is typed reads what a dequantizer gives."""
    return any(use.node in slots and use.idx in slots[use.node].inputs for use in node.outputs[0].uses())


def _is_made_narrow(node: ir.Node, slots: Mapping[ir.Node, Slots]) -> bool:
    """Whether a quantizer takes what a typed node gives."""
    taken = node.inputs[TAKEN]
    maker = None if taken is None else taken.producer()
    return maker is not None and maker in slots and bool(slots[maker].outputs)
