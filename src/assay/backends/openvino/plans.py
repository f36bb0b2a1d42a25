"""What OpenVINO is asked for by a plan, and which plans it cannot realise."""

from __future__ import annotations

from assay.core.plan import Plan
from assay.core.precision import CastStyle, Precision, WeightStyle

INTEGERS = frozenset({Precision.INT8, Precision.INT4})


def refuse_plan(plan: Plan, device: str, capabilities: frozenset[str]) -> str:
    """Why a plan cannot be realised; empty where it can.

    Args:
        plan: of any precision.
        device: of the target, for the words.
        capabilities: of the device, as OpenVINO spells them.
    """
    foreign = {plan.precision, plan.rest} & {Precision.TF32, Precision.FP8}
    if foreign:
        return f"OpenVINO has no {min(foreign).upper()} on this {device}"
    if plan.precision in INTEGERS and "INT8" not in capabilities:
        return f"OpenVINO has no INT8 kernels on this {device}"
    if plan.precision is Precision.INT4 and (plan.weights is None or plan.weights.style is WeightStyle.DYNAMIC):
        return "OpenVINO has 4 bits for stored weights alone"
    compute = find_compute(plan)
    if Precision.BF16 in (plan.precision, compute) and "BF16" not in capabilities:
        return f"this {device} has no BF16 units, OpenVINO would use FP32"
    if compute in INTEGERS:
        return "what an INT8 plan leaves in floats cannot itself be INT8"
    reasons = ((node, _refuse_override(plan, kept, capabilities)) for node, kept in plan.overrides)
    return next((f"node {node!r} {reason}" for node, reason in reasons if reason), "")


def _refuse_override(plan: Plan, kept: Precision, capabilities: frozenset[str]) -> str:
    """Why a node of the plan cannot run in a format of its own, or nothing."""
    compute = find_compute(plan)
    if kept is compute or (plan.precision in INTEGERS and kept is plan.precision):
        return ""
    if plan.weights is not None:
        return f"is to run in {kept}, but beside stored weights all floats run in {compute}"
    if plan.precision is not Precision.INT8 or kept is Precision.INT8:
        return f"is to run in {kept}, but the hint asks for {compute} in all float nodes"
    if compute is not Precision.FP32:
        return f"is to run in {kept}, but the rest in {compute}: only beside a rest in fp32 is it told node by node"
    if kept.upper() not in capabilities:
        return f"is to run in {kept}, which this device has no units for: OpenVINO would use fp32"
    return ""


def find_compute(plan: Plan) -> Precision:
    """Format that OpenVINO is asked to compute in, where the graph's own types do not say it.

    Of an INT8 plan, that of what stays in floats; of a graph typed BF16, FP32.
    """
    if plan.precision in INTEGERS:
        return plan.rest
    if plan.precision is Precision.BF16 and plan.cast is CastStyle.TYPED:
        return Precision.FP32
    return plan.precision
