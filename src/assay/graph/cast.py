"""Casts a model to a 16-bit float, and keeps in FP32 what would overflow or lose too much."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx_ir as ir

from assay.core.errors import UnsupportedPlan
from assay.core.precision import CastStyle, Precision
from assay.graph.cast_hint import store_weights
from assay.graph.cast_rules import ARITHMETIC, DTYPES, CastRules, Slots, find_slots
from assay.graph.cast_typed import TypedCaster
from assay.graph.convert_opset import convert_model
from assay.graph.quantize import drop_unused_initializers

BFLOAT16_OPSET = 22
"""The first in which Conv and the pools are defined for bfloat16."""


def cast_floats(
    model: ir.Model,
    precision: Precision,
    style: CastStyle,
    largest: Mapping[str, float],
    keep: frozenset[str] = frozenset(),
) -> ir.Model:
    """The model with 16-bit floats inside and FP32 at its inputs and outputs.

    Args:
        model: a prepared one; left as it is.
        precision: FP16 or BF16.
        style: whether the graph is typed or the runtime is told.
        largest: tensor name -> largest observed magnitude, for the overflow check of FP16.
        keep: names of nodes that stay in FP32.

    Raises:
        UnsupportedPlan: no arithmetic can run in the format, or a hinted FP16 would overflow; names the node.
    """
    if precision not in DTYPES:
        raise UnsupportedPlan(f"{precision} is not a 16-bit float", "cast to FP16 or BF16")
    if style is CastStyle.HINT:
        return _cast_hinted(model, precision, largest, keep)
    return _cast_typed(raise_opset(model, precision), precision, largest, keep)


def raise_opset(model: ir.Model, precision: Precision, names: Collection[str] | None = None) -> ir.Model:
    """The model itself, or in the first opset with bfloat16 convolutions where arithmetic needs that.

    Args:
        model: a prepared one; left as it is.
        precision: FP16 or BF16.
        names: of the nodes that get the format; None for all.

    Raises:
        UnsupportedPlan: the converter does not know how.
    """
    opset = _read_opset(model)
    if precision is not Precision.BF16 or opset >= BFLOAT16_OPSET:
        return model
    nodes = [node for node in model.graph if node.op_type in ARITHMETIC and node.domain == ""]
    needed = any(
        (names is None or str(node.name) in names)
        and find_slots(node, precision, opset) is None
        and find_slots(node, precision, BFLOAT16_OPSET)
        for node in nodes
    )
    return convert_model(model, BFLOAT16_OPSET, "convolutions in bf16") if needed else model


def _cast_hinted(model: ir.Model, precision: Precision, largest: Mapping[str, float], keep: frozenset[str]) -> ir.Model:
    """Weights in 16 bits; every activation must fit, since the runtime decides where it computes so."""
    result = model.clone()
    rules = CastRules(precision, _read_opset(model), largest, keep)
    for node in result.graph:
        for value in (*node.inputs, *node.outputs):
            reason = "" if value is None else rules.refuse_activation(str(value.name))
            if reason:
                raise UnsupportedPlan(
                    f"node {node.name!r} ({node.op_type}) would overflow: {reason}",
                    "use BF16, which has the range of FP32, or a runtime that takes typed graphs",
                )
    store_weights(result.graph, precision, rules, keep)
    drop_unused_initializers(result.graph)
    return result


def _cast_typed(model: ir.Model, precision: Precision, largest: Mapping[str, float], keep: frozenset[str]) -> ir.Model:
    """Types inside the graph itself."""
    result = model.clone()
    rules = CastRules(precision, _read_opset(result), largest, keep)
    slots: dict[ir.Node, Slots] = {}
    refused: dict[ir.Node, str] = {}
    for node in result.graph:
        verdict = rules.judge(node)
        if verdict.slots is not None:
            slots[node] = verdict.slots
        elif node.op_type in ARITHMETIC:
            refused[node] = verdict.reason
    if refused and not any(node.op_type in ARITHMETIC for node in slots):
        node, reason = next(iter(refused.items()))
        raise UnsupportedPlan(
            f"no arithmetic of the model can run in {precision}; node {node.name!r} ({node.op_type}): {reason}",
            "keep FP32, or try the other 16-bit format",
        )
    TypedCaster(result.graph, precision, slots).cast()
    drop_unused_initializers(result.graph)
    return result


def _read_opset(model: ir.Model) -> int:
    """Version of the standard operators; 0 where the model has none."""
    return model.graph.opset_imports.get("", 0)
