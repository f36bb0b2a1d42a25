"""Types chosen nodes of a quantized model as 16-bit floats, beside those that stay in FP32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import onnx_ir as ir

from assay.core.errors import UnsupportedPlan
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.graph.cast import raise_opset
from assay.graph.cast_rules import ARITHMETIC, DTYPES, CastRules, Slots, Verdict
from assay.graph.cast_typed import TypedCaster
from assay.graph.quantize import drop_unused_initializers


def list_narrow(plan: Plan) -> dict[str, Precision]:
    """Node -> 16-bit float in which an INT8 plan keeps it, where the runtime does not compute so of itself."""
    if plan.precision is not Precision.INT8:
        return {}
    return {name: kept for name, kept in plan.overrides if kept in DTYPES and kept is not plan.rest}


def keep_wide(plan: Plan) -> Plan:
    """The plan with FP32 in place of every format that ``realise`` would type, for what runs no 16-bit floats."""
    narrow = list_narrow(plan)
    wide = tuple((name, Precision.FP32 if name in narrow else kept) for name, kept in plan.overrides)
    return replace(plan, overrides=wide)


def raise_for_nodes(model: ir.Model, narrow: Mapping[str, Precision]) -> ir.Model:
    """The model, in a newer opset where chosen arithmetic gets its format only there.

    Raises:
        UnsupportedPlan: the converter does not know how.
    """
    for precision in dict.fromkeys(narrow.values()):
        model = raise_opset(model, precision, {name for name, kept in narrow.items() if kept is precision})
    return model


def judge_nodes(
    model: ir.Model, narrow: Mapping[str, Precision], largest: Mapping[str, float]
) -> Mapping[str, Verdict]:
    """What becomes of each chosen node.

    Args:
        model: the float model, in the opset that it is cast in.
        narrow: node -> 16-bit float.
        largest: tensor name -> largest observed magnitude.

    Raises:
        UnsupportedPlan: the model has no such node; names it.
    """
    nodes = {str(node.name): node for node in model.graph}
    lost = next((name for name in narrow if name not in nodes), None)
    if lost is not None:
        raise UnsupportedPlan(f"the plan keeps node {lost!r}, which the model does not have", "plan for this model")
    opset = model.graph.opset_imports.get("", 0)
    rules = {kept: CastRules(kept, opset, largest, ()) for kept in set(narrow.values())}
    return {name: rules[kept].judge(nodes[name]) for name, kept in narrow.items()}


def refuse_arithmetic(model: ir.Model, narrow: Mapping[str, Precision], verdicts: Mapping[str, Verdict]) -> None:
    """Refuse a plan one of whose products would not be computed in the format that it names.

    Other operators stay in FP32 where the rules say so, as they do in a model that is cast as a whole.

    Raises:
        UnsupportedPlan: names the node and the reason.
    """
    for node in model.graph:
        verdict = verdicts.get(str(node.name))
        if verdict is not None and verdict.slots is None and node.op_type in ARITHMETIC:
            kept = narrow[str(node.name)]
            message = f"node {node.name!r} ({node.op_type}) cannot be kept in {kept}: {verdict.reason}"
            raise UnsupportedPlan(message, "keep it in FP32, or in the other 16-bit format")


def type_nodes(realised: ir.Model, narrow: Mapping[str, Precision], verdicts: Mapping[str, Verdict]) -> None:
    """Give nodes their 16-bit types, in place, with casts only where formats meet.

    Args:
        realised: the quantized model; its quantize/dequantize pairs stay in FP32.
        narrow: node -> 16-bit float.
        verdicts: of ``judge_nodes``.
    """
    for precision in dict.fromkeys(narrow.values()):
        slots: dict[ir.Node, Slots] = {}
        for node in realised.graph:
            verdict = verdicts.get(str(node.name))
            if verdict is not None and verdict.slots is not None and narrow[str(node.name)] is precision:
                slots[node] = verdict.slots
        TypedCaster(realised.graph, precision, slots).cast()
    drop_unused_initializers(realised.graph)
