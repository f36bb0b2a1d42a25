"""Realises a plan: from a prepared model to the ONNX that a runtime gets."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from assay.core.calibration import Calibration, TensorRange
from assay.core.errors import UnsupportedPlan
from assay.core.moments import LayerMoments
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.graph.cast import cast_floats
from assay.graph.cast_nodes import judge_nodes, list_narrow, raise_for_nodes, refuse_arithmetic, type_nodes
from assay.graph.cast_rest import cast_rest, raise_for_rest, types_rest
from assay.graph.expose import observable_tensors
from assay.graph.quantize import insert_qdq, list_quantized
from assay.graph.quantize_floats import insert_floats, list_floats, raise_for_floats
from assay.graph.quantize_products import quantize_products
from assay.graph.quantize_tables import quantize_tables
from assay.graph.repair_weights import WeightRepairs
from assay.graph.rounded import RoundedWeights


def needed_tensors(prepared: ir.Model, plan: Plan) -> frozenset[str]:
    """Names of the tensors whose statistics the plan needs.

    INT8 and FP8 need those that carry quantize/dequantize pairs, FP16 all floats (for the overflow check), FP32 and
    BF16 none; a node that an INT8 plan keeps in FP16, its own.
    """
    if types_rest(plan) and plan.rest is Precision.FP16:
        return frozenset(observable_tensors(prepared))
    if plan.precision is Precision.INT8 and plan.scheme is not None:
        checked = {name for name, kept in list_narrow(plan).items() if kept is Precision.FP16}
        touched = {str(v.name) for n in prepared.graph if n.name in checked for v in (*n.inputs, *n.outputs) if v}
        return list_quantized(prepared, plan.scheme, list_kept(plan)) | (touched & {*observable_tensors(prepared)})
    if plan.precision is Precision.FP8 and plan.floats is not None:
        return list_floats(prepared, plan.floats, list_kept(plan))
    if plan.precision is Precision.FP16:
        return frozenset(observable_tensors(prepared))
    return frozenset()


def list_kept(plan: Plan) -> frozenset[str]:
    """Names of the nodes that the plan leaves out of its precision."""
    return frozenset(name for name, precision in plan.overrides if precision is not plan.precision)


def list_nonfinite(prepared: ir.Model, calibration: Calibration) -> frozenset[str]:
    """Names of the nodes that touch a tensor with observed NaN or Inf, or with no value at all: no scale fits it."""
    unfit = {name for name, tensor in calibration.tensors.items() if tensor.nonfinite or not tensor.count}
    return frozenset(
        str(node.name)
        for node in prepared.graph
        if unfit and any(value is not None and value.name in unfit for value in (*node.inputs, *node.outputs))
    )


def list_refused(prepared: ir.Model, plan: Plan, calibration: Calibration | None = None) -> dict[str, str]:
    """Nodes that an INT8 plan keeps in a 16-bit float and that cannot be computed so -> why.

    ``realise`` refuses a plan where one of them is a product (Conv, MatMul, Gemm); the others stay in FP32.

    Args:
        prepared: the prepared FP32 model.
        plan: of any precision; for others than INT8 the answer is empty.
        calibration: for the overflow check of FP16.

    Raises:
        UnsupportedPlan: the model lacks a node, or cannot be brought to the opset that the format needs.
    """
    narrow = list_narrow(plan)
    verdicts = judge_nodes(raise_for_nodes(prepared, narrow), narrow, _list_largest(calibration))
    return {name: verdict.reason for name, verdict in verdicts.items() if verdict.slots is None}


def realise(
    prepared: ir.Model,
    plan: Plan,
    calibration: Calibration | None = None,
    ranges: Mapping[str, TensorRange] | None = None,
    moments: Mapping[str, LayerMoments] | None = None,
    rounded: RoundedWeights | None = None,
) -> ir.Model:
    """The model that the plan describes. Its ``rest`` is for the runtime to arrange, unless the plan says it is typed.

    Nodes that an INT8 plan keeps in another 16-bit float than its rest are typed so, with casts where formats meet.

    Args:
        prepared: the prepared FP32 model; left as it is.
        plan: what to make of it.
        calibration: statistics of ``needed_tensors``; without them FP16 is not checked for overflow, nor INT8 for
            tensors that are not finite. Of a scheme's repairs, BIAS needs their channels (or moments).
        ranges: solved ranges of ``needed_tensors``, for INT8 and FP8 plans.
        moments: node name -> moments of its input, of ``list_moment_layers``, for schemes with ROUND.
        rounded: what was rounded for other plans, read and added to.

    Raises:
        UnsupportedPlan: the plan contradicts itself, its repairs lack their statistics, the model cannot be cast, or
            a product that the plan keeps in a 16-bit float cannot be computed so.
        ModelError: a tensor has no range; names it.
    """
    kept = list_kept(plan)
    if plan.precision in {Precision.FP32, Precision.TF32}:
        return prepared.clone()
    if plan.weights is not None:
        stored = quantize_products(raise_for_rest(prepared, plan), plan.precision, plan.weights, kept)
        return _type_rest(stored, plan, calibration)
    if plan.precision is Precision.INT8:
        if plan.scheme is None or ranges is None:
            missing = "scheme" if plan.scheme is None else "solved ranges"
            raise UnsupportedPlan(f"plan {plan.name!r} quantizes without {missing}", "calibrate first")
        kept |= list_nonfinite(prepared, calibration) if calibration is not None else frozenset()
        repairs = WeightRepairs.of(plan.scheme, calibration, moments, rounded)
        narrow = list_narrow(plan)
        newer = raise_for_nodes(raise_for_rest(prepared, plan), narrow)
        verdicts = judge_nodes(newer, narrow, _list_largest(calibration))
        refuse_arithmetic(newer, narrow, verdicts)
        quantized = insert_qdq(newer, plan.scheme, ranges, kept, repairs)
        type_nodes(quantized, narrow, verdicts)
        quantized = quantize_tables(quantized, kept) if plan.scheme.tables else quantized
        return _type_rest(quantized, plan, calibration)
    if plan.precision is Precision.FP8:
        return _type_rest(_quantize_floats(prepared, plan, calibration, ranges), plan, calibration)
    if plan.cast is None:
        raise UnsupportedPlan(f"plan {plan.name!r} does not say how it is cast", "set its cast style")
    return cast_floats(prepared, plan.precision, plan.cast, _list_largest(calibration), kept)


def _quantize_floats(
    prepared: ir.Model, plan: Plan, calibration: Calibration | None, ranges: Mapping[str, TensorRange] | None
) -> ir.Model:
    """The model of an FP8 plan before its rest is typed.

    Raises:
        UnsupportedPlan: the plan has no scheme or no ranges, or keeps a node in another format than its rest.
        ModelError: a tensor has no range; names it.
    """
    if plan.floats is None or ranges is None:
        missing = "scheme" if plan.floats is None else "solved ranges"
        raise UnsupportedPlan(f"plan {plan.name!r} quantizes without {missing}", "calibrate first")
    strange = next((node for node, kept in plan.overrides if kept not in {plan.precision, plan.rest}), None)
    if strange is not None:
        message = f"plan {plan.name!r} keeps node {strange!r} in another format than its rest"
        raise UnsupportedPlan(message, f"keep it in {plan.rest}")
    kept = list_kept(plan) | (list_nonfinite(prepared, calibration) if calibration is not None else frozenset())
    newer = raise_for_floats(raise_for_rest(prepared, plan), plan)
    return insert_floats(newer, plan.floats, ranges, kept)


def _type_rest(quantized: ir.Model, plan: Plan, calibration: Calibration | None) -> ir.Model:
    """The quantized model, its floats typed where the plan says so; in place."""
    if types_rest(plan):
        cast_rest(quantized, plan.rest, _list_largest(calibration))
    return quantized


def _list_largest(calibration: Calibration | None) -> dict[str, float]:
    """Tensor name -> largest observed magnitude, of the tensors that were observed."""
    return {} if calibration is None else {name: tensor.largest for name, tensor in calibration.tensors.items()}
