from __future__ import annotations

from collections.abc import Iterable

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graph_samples import run
from onnx.reference import ReferenceEvaluator
from quantize_samples import (
    ATTENTION,
    ATTENTION_SHAPES,
    RESIDUAL,
    RESIDUAL_SHAPES,
    S8S8,
    U8S8_LOOSE,
    calibrate,
    count_operators,
    draw,
    make,
    measure_sqnr,
)

from assay.backends.reference.operators import OPERATORS
from assay.calibrate.ranges import solve_ranges
from assay.core.errors import UnsupportedPlan
from assay.core.plan import Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod
from assay.graph.cast_nodes import keep_wide
from assay.graph.expose import expose, observable_tensors
from assay.graph.realise import list_kept, list_refused, needed_tensors, realise

CHAIN = Scheme(U8S8_LOOSE, Placement.CHAIN, RangeMethod.MIN_MAX)
OPERANDS = Scheme(S8S8, Placement.OPERANDS, RangeMethod.MIN_MAX)
BF16, FP16, FP32 = Precision.BF16, Precision.FP16, Precision.FP32
BFLOAT16, FLOAT16, FLOAT = ir.DataType.BFLOAT16, ir.DataType.FLOAT16, ir.DataType.FLOAT


def residual() -> ir.Model:
    return make(RESIDUAL, RESIDUAL_SHAPES)


def attention() -> ir.Model:
    return make(ATTENTION, ATTENTION_SHAPES)


def make_plan(model: ir.Model, scheme: Scheme, rest: Precision = FP32, **kept: Precision) -> Plan:
    """An INT8 plan that keeps the nodes with these outputs."""
    names = {str(node.outputs[0].name): str(node.name) for node in model.graph}
    overrides = tuple((names[output], precision) for output, precision in kept.items())
    return Plan(Precision.INT8, rest=rest, scheme=scheme, overrides=overrides)


def apply(model: ir.Model, plan: Plan, gain: float = 1.0) -> ir.Model:
    """The realised plan, checked by ONNX."""
    assert plan.scheme is not None
    feeds = {name: np.float32(gain) * values for name, values in draw(model).items()}
    calibration = calibrate(model, feeds, observable_tensors(model))
    result = realise(model, plan, calibration, solve_ranges(calibration, plan.scheme))
    onnx.checker.check_model(ir.to_proto(result), full_check=True)
    return result


def find_types(model: ir.Model, outputs: Iterable[str]) -> list[ir.DataType | None]:
    found = {str(value.name): value.dtype for node in model.graph for value in node.outputs}
    return [found[name] for name in outputs]


def evaluate(model: ir.Model, feeds: dict[str, np.ndarray]) -> np.ndarray:
    """What the graph means, type by type."""
    return np.asarray(ReferenceEvaluator(ir.to_proto(model), new_ops=list(OPERATORS)).run(None, feeds)[0])


def narrow(values: np.ndarray) -> np.ndarray:
    """Rounded to bfloat16."""
    return values.astype(ml_dtypes.bfloat16).astype(np.float32)


def test_three_formats_stand_side_by_side() -> None:
    model = residual()
    result = apply(model, make_plan(model, CHAIN, a=BF16, a1=BF16, e=FP32, h=BF16, h1=BF16))
    assert find_types(result, ["a", "a1", "e", "h", "h1", "y"]) == [
        BFLOAT16,
        BFLOAT16,
        FLOAT,
        BFLOAT16,
        BFLOAT16,
        FLOAT,
    ]
    stored = result.graph.initializers
    assert {"w2_quantized", "w5_quantized", "w3"} <= set(stored)
    assert stored["w1_bf16"].dtype is BFLOAT16
    assert not {"w1", "w4", "w1_quantized", "w3_quantized", "w4_quantized"} & set(stored)
    assert not any(
        value.dtype is BFLOAT16 for node in result.graph if "Linear" in node.op_type for value in node.inputs
    )


def test_casts_stand_only_where_formats_meet() -> None:
    model = residual()
    apart = apply(model, make_plan(model, CHAIN, e=BF16))
    together = apply(model, make_plan(model, CHAIN, e=BF16, s=BF16, s1=BF16, p=BF16, h=BF16))
    assert count_operators(apart)["Cast"] == 2
    assert count_operators(together)["Cast"] == 3  # two operands of what is kept, and what it hands on


def test_the_rest_of_the_runtime_s_own_format_is_not_typed() -> None:
    model = residual()
    plan = make_plan(model, CHAIN, rest=BF16, e=BF16)
    result = apply(model, plan)
    assert count_operators(result)["Cast"] == 0
    assert result.graph.opset_imports[""] == 17


def test_only_a_format_that_needs_it_raises_the_opset() -> None:
    model, products = residual(), attention()
    assert apply(model, make_plan(model, CHAIN, e=BF16)).graph.opset_imports[""] == 22
    assert apply(model, make_plan(model, CHAIN, e=FP16)).graph.opset_imports[""] == 17
    assert apply(products, make_plan(products, OPERANDS, r=BF16)).graph.opset_imports[""] == 17


def test_a_kept_product_multiplies_rounded_operands() -> None:
    model = attention()
    plan = make_plan(model, OPERANDS, q=BF16)
    result = apply(model, plan)
    feeds = draw(model)
    (normed,) = run(expose(model, ["n"]), feeds, ["n"])
    weight = model.graph.initializers["wq"].const_value
    assert weight is not None
    expected = narrow(narrow(normed) @ narrow(weight.numpy()))
    (wide,) = (v for node in result.graph for v in node.outputs if v.name == "q_fp32")
    result.graph.outputs[:] = [wide]
    np.testing.assert_allclose(evaluate(result, feeds), expected, rtol=2**-7, atol=1e-6)


@pytest.mark.parametrize("kept", [BF16, FP16])
def test_keeping_in_16_bits_is_nearly_as_good_as_in_fp32(kept: Precision) -> None:
    model = residual()
    feeds = draw(model)
    (reference,) = run(model, feeds)
    every = ("a", "a1", "d", "d1", "e", "s", "s1", "h", "h1")
    quality = {
        precision: measure_sqnr(
            reference, evaluate(apply(model, make_plan(model, CHAIN, **dict.fromkeys(every, precision))), feeds)
        )
        for precision in (Precision.INT8, kept, FP32)
    }
    assert quality[Precision.INT8] + 3 < quality[kept] < quality[FP32] + 1


def test_fp16_and_bf16_meet_in_fp32() -> None:
    model = residual()
    result = apply(model, make_plan(model, CHAIN, e=BF16, s=FP16))
    assert find_types(result, ["e", "s"]) == [BFLOAT16, FLOAT16]
    feeds = draw(model)
    assert measure_sqnr(run(model, feeds)[0], evaluate(result, feeds)) > 25


def test_a_product_that_overflows_is_refused_by_name() -> None:
    model = residual()
    plan = make_plan(model, CHAIN, h=FP16)
    with pytest.raises(UnsupportedPlan, match=r"'\w+' \(Conv\) cannot be kept in fp16: tensor '\w+' reaches"):
        apply(model, plan, gain=1e5)
    assert find_types(apply(model, plan), ["h"]) == [FLOAT16]
    feeds = {name: 1e5 * values for name, values in draw(model).items()}
    calibration = calibrate(model, feeds, observable_tensors(model))
    assert list(list_refused(model, plan, calibration)) == [plan.overrides[0][0]]
    assert list_refused(model, plan) == {}
    assert {"p", "h"} <= needed_tensors(model, plan)


def test_what_loses_too_much_stays_in_fp32_and_is_told() -> None:
    model = attention()
    plan = make_plan(model, OPERANDS, n=BF16, p=BF16, o=BF16)
    result = apply(model, plan)
    assert find_types(result, ["n", "p", "o"]) == [FLOAT, FLOAT, BFLOAT16]
    told = list_refused(model, plan)
    assert list(told) == [name for name, _ in plan.overrides[:2]]
    assert "LayerNormalization loses too much in bf16" in told.values()


def test_a_plan_for_what_runs_no_16_bit_floats_keeps_the_same_nodes() -> None:
    model = residual()
    plan = make_plan(model, CHAIN, e=BF16, s=FP32, h=FP16)
    wide = keep_wide(plan)
    assert [precision for _, precision in wide.overrides] == [FP32, FP32, FP32]
    assert list_kept(wide) == list_kept(plan)
    hinted = make_plan(model, CHAIN, rest=BF16, e=BF16)
    assert keep_wide(hinted) == hinted


def test_a_node_that_is_not_there_is_named() -> None:
    plan = Plan(Precision.INT8, scheme=CHAIN, overrides=(("ghost", BF16),))
    with pytest.raises(UnsupportedPlan, match="'ghost'"):
        apply(residual(), plan)
