"""Which plans TensorRT can realise, and what it is told of them beside the typed graph."""

from __future__ import annotations

from assay.backends.tensorrt.capability import Capability
from assay.core.plan import FloatDialect, IntegerDialect, Plan, WeightScheme
from assay.core.precision import CastStyle, IntegerFormat, Precision, WeightStyle

CHAIN_OPERATORS = frozenset({"Add", "AveragePool", "Concat", "ConvTranspose", "GlobalAveragePool", "MaxPool", "Resize"})
"""Operators that TensorRT is said to fuse with quantizers around them ("Working with Quantized Types").

Not measured: no GPU was to hand.
"""
DIALECT = IntegerDialect(activation=IntegerFormat.S8, symmetric=True, chain_operators=CHAIN_OPERATORS)
"""Symmetric s8 with zero point 0 and float biases: the parser takes nothing else as it is meant."""
FLOAT_DIALECT = FloatDialect(frozenset({"ConvTranspose"}))
"""8-bit floats (e4m3) on the operands of products: activations with one scale, weights with one per channel."""
BLOCKS = (64, 128)
"""Elements of a weight in 4 bits that share a scale."""
FLOATS = frozenset({Precision.FP32, Precision.TF32, Precision.FP16, Precision.BF16})


RESTS = (Precision.FP16, Precision.FP32)
"""Formats for what a plan does not quantize: TensorRT-RTX has no FP32 matrix products at all for 7.5."""


def list_weight_schemes(precision: Precision, capability: Capability) -> tuple[WeightScheme, ...]:
    """Weights stored in integers, multiplied in floats."""
    if capability.lacks(precision):
        return ()
    if precision is Precision.INT8:
        return (WeightScheme(WeightStyle.WEIGHTS),)
    if precision is Precision.INT4:
        return tuple(WeightScheme(WeightStyle.WEIGHTS, block=block) for block in BLOCKS)
    return ()


def refuse_plan(plan: Plan, capability: Capability) -> str:
    """Why a plan cannot be realised on GPUs of a compute capability; empty where it can.

    What only the builder knows, such as FP32 matrix products that TensorRT-RTX lacks for 7.5, fails there.
    """
    if plan.cast is CastStyle.HINT:
        return "TensorRT computes in the types of the graph, not by a hint"
    formats = {plan.precision, *(kept for _, kept in plan.overrides)} | ({plan.rest} if plan.quantizes else set())
    lacking = sorted(precision for precision in formats if capability.lacks(precision))
    if lacking:
        return f"a GPU of compute capability {capability} has no {lacking[0]}"
    if plan.quantizes and plan.rest not in FLOATS:
        return f"what {_name(plan)} plan leaves in floats cannot be {plan.rest}"
    if plan.quantizes and plan.rest in {Precision.FP16, Precision.BF16} and plan.cast is not CastStyle.TYPED:
        return f"TensorRT computes the rest of {_name(plan)} plan in {plan.rest} only where the graph is typed so"
    return _refuse_floats(plan) or _refuse_integers(plan)


def _name(plan: Plan) -> str:
    """What a plan that quantizes is called, with its article."""
    return "an FP8" if plan.precision is Precision.FP8 else "an INT8"


def _refuse_floats(plan: Plan) -> str:
    """Why the 8-bit floats of a plan are not as TensorRT takes them; empty where it has none."""
    if (plan.precision is Precision.FP8) != (plan.floats is not None):
        return "TensorRT has 8-bit floats only for products whose operands a plan quantizes to them"
    strange = next((node for node, kept in plan.overrides if Precision.FP8 is kept is not plan.precision), None)
    if strange is not None:
        return f"node {strange!r} is to run in fp8, which only FP8 plans have scales for"
    extra = sorted(plan.floats.dialect.operators - FLOAT_DIALECT.operators) if plan.floats is not None else []
    return f"TensorRT's 8-bit floats are not tried for {extra[0]}" if extra else ""


def _refuse_integers(plan: Plan) -> str:
    """Why the integers of a plan are not as TensorRT takes them."""
    if plan.precision is Precision.INT4 and plan.weights is None:
        return "TensorRT has 4 bits for stored weights alone"
    if plan.weights is not None and plan.weights.style is WeightStyle.DYNAMIC:
        return "TensorRT has no DynamicQuantizeLinear and no MatMulInteger"
    if plan.weights is not None and plan.weights.group:
        return "TensorRT does not round activations as it multiplies them by stored weights"
    dialect = None if plan.scheme is None else plan.scheme.dialect
    if dialect is None:
        return ""
    if dialect.activation is not IntegerFormat.S8 or not dialect.symmetric:
        return f"TensorRT takes symmetric s8 activations with zero point 0, not {dialect.name}"
    return "TensorRT takes float biases, not int32" if dialect.integer_bias else ""
