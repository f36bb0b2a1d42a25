"""Which plans our kernels for TVM execute, and in which form."""

from __future__ import annotations

from assay.core.plan import IntegerDialect, Plan
from assay.core.precision import CastStyle, IntegerFormat, Precision

CHAIN_OPERATORS = frozenset(
    {"Add", "AveragePool", "Concat", "GlobalAveragePool", "MaxPool", "ReduceMean", "Flatten", "Reshape", "Transpose"}
)
"""Operators between products that hand on codes instead of floats, a quarter of the memory."""
FORMATS = frozenset({Precision.FP32, Precision.FP16, Precision.INT8})


def list_dialects() -> tuple[IntegerDialect, ...]:
    """Asymmetric u8 and symmetric s8 activations; both take s8 weights per channel and float biases.

    Signed codes are re-encoded as unsigned ones where the processor multiplies those, which loses nothing.
    """
    return tuple(
        IntegerDialect(activation=kind, symmetric=kind is IntegerFormat.S8, chain_operators=CHAIN_OPERATORS)
        for kind in (IntegerFormat.U8, IntegerFormat.S8)
    )


def refuse_plan(plan: Plan) -> str:
    """Why a plan cannot be realised; empty where it can."""
    if plan.precision not in FORMATS:
        return f"our kernels for TVM multiply in fp32, fp16 and int8, not in {plan.precision}"
    if plan.weights is not None:
        return "our kernels for TVM have none for stored weights under activations in floats"
    if plan.cast is CastStyle.HINT:
        return "TVM takes 16-bit floats as typed graphs, not as a hint"
    formats = {plan.rest, *(kept for _, kept in plan.overrides)} - FORMATS
    if formats:
        return f"our kernels for TVM do not compute in {min(formats)}"
    if plan.quantizes and plan.rest is not Precision.FP32:
        return f"TVM would widen the {plan.rest} rest of an INT8 plan to fp32"
    return ""
