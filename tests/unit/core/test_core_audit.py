"""Shares of an audit: by the format that ran, and by the format that weights lie in."""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import pytest

from assay.core.audit import ExecutionAudit, NodeExecution
from assay.core.plan import FloatDialect, FloatScheme, Plan, WeightScheme
from assay.core.precision import ARITHMETIC, STANDARD_PRECISIONS, Precision, RangeMethod, WeightStyle


def node(precision: Precision, macs: int, stored: Precision | None = None) -> NodeExecution:
    return NodeExecution("node", "MatMul", precision, "kernel", macs, stored)


def test_stored_weights_are_told_beside_what_ran() -> None:
    audit = ExecutionAudit(
        (
            node(Precision.FP32, 60, Precision.INT8),
            node(Precision.INT8, 20, Precision.INT4),
            node(Precision.INT8, 10),
            node(Precision.FP32, 10),
            node(Precision.FP32, 0, Precision.BF16),
        )
    )
    assert audit.shares() == {
        Precision.FP32: pytest.approx(0.7),
        Precision.INT8: pytest.approx(0.3),
        Precision.BF16: 0,
        Precision.FP16: 0,
        Precision.TF32: 0,
        Precision.FP8: 0,
    }
    assert audit.stored_shares() == {Precision.INT8: pytest.approx(0.6), Precision.INT4: pytest.approx(0.2)}


def test_an_audit_without_products_stores_nothing() -> None:
    assert ExecutionAudit((node(Precision.FP32, 0, Precision.INT8),)).stored_shares() == {}


def test_nothing_multiplies_in_4_bits_and_nobody_tries_them_unasked() -> None:
    assert Precision.INT4 not in ARITHMETIC
    assert Precision.INT4 not in STANDARD_PRECISIONS
    assert set(STANDARD_PRECISIONS) | {Precision.INT4, Precision.TF32, Precision.FP8} == set(Precision)
    assert {Precision.TF32, Precision.FP8} <= set(ARITHMETIC)
    assert (Precision.FP8.bits, Precision.FP8.largest) == (8, float(ml_dtypes.finfo(ml_dtypes.float8_e4m3fn).max))
    assert (Precision.INT4.bits, Precision.INT4.largest) == (4, 7)


@pytest.mark.parametrize(
    ("plan", "name"),
    [
        (Plan(Precision.INT8, weights=WeightScheme(WeightStyle.WEIGHTS)), "int8-weights"),
        (
            Plan(Precision.INT8, rest=Precision.BF16, weights=WeightScheme(WeightStyle.WEIGHTS, group=64, tables=True)),
            "int8-weights-group64-tables-bf16",
        ),
        (Plan(Precision.INT4, weights=WeightScheme(WeightStyle.WEIGHTS, 32, 32)), "int4-weights-block32-group32"),
        (Plan(Precision.INT8, weights=WeightScheme(WeightStyle.DYNAMIC)), "int8-dynamic"),
        (Plan(Precision.FP8, floats=FloatScheme(FloatDialect(), RangeMethod.MIN_MAX)), "fp8-minmax"),
        (Plan(Precision.FP8, Precision.FP16, floats=FloatScheme(FloatDialect(), RangeMethod.MSE)), "fp8-mse-fp16"),
    ],
)
def test_names_tell_forms_apart(plan: Plan, name: str) -> None:
    assert plan.name == name
    assert plan.quantizes
    kept = replace(plan, overrides=(("head", Precision.FP32),))
    assert kept.name.startswith(f"{name}-1kept-")
