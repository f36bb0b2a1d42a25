"""What an INT8 model leaves in floats, typed in the graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from graph_samples import run
from quantize_samples import HEADER, RESIDUAL, RESIDUAL_SHAPES, S8S8, calibrate, draw, make, measure_sqnr

from assay.calibrate.ranges import solve_ranges
from assay.core.plan import Plan, Scheme, WeightScheme
from assay.core.precision import CastStyle, Placement, Precision, RangeMethod, WeightStyle
from assay.graph.cast_rest import QUANTIZERS_OPSET, raise_for_rest
from assay.graph.realise import needed_tensors, realise

SCHEME = Scheme(S8S8, Placement.CHAIN, RangeMethod.MIN_MAX)
WIDE = Plan(Precision.INT8, scheme=SCHEME)
TYPED = Plan(Precision.INT8, rest=Precision.FP16, scheme=SCHEME, cast=CastStyle.TYPED)
ARITHMETIC = {"Conv", "Gemm", "MatMul"}


def realise_plan(model: ir.Model, plan: Plan) -> ir.Model:
    calibration = calibrate(model, draw(model), needed_tensors(model, plan))
    return realise(model, plan, calibration, solve_ranges(calibration, SCHEME))


def list_types(model: ir.Model, kinds: set[str]) -> set[ir.DataType | None]:
    return {node.outputs[0].dtype for node in model.graph if node.op_type in kinds}


@pytest.fixture
def model() -> ir.Model:
    return make(RESIDUAL, RESIDUAL_SHAPES)


def test_products_take_and_give_16_bit_floats(model: ir.Model) -> None:
    typed = realise_plan(model, TYPED)
    assert list_types(typed, ARITHMETIC | {"DequantizeLinear"}) == {ir.DataType.FLOAT16}
    for node in typed.graph:
        if node.op_type in ARITHMETIC:
            assert {value.dtype for value in node.inputs if value is not None} == {ir.DataType.FLOAT16}
    quantizers = [node for node in typed.graph if node.op_type == "QuantizeLinear"]
    wide = [node for node in quantizers if node.inputs[0] is not None and node.inputs[0].dtype is ir.DataType.FLOAT]
    assert len(wide) == 1, "the model's input is FP32, and quantized as it is"
    assert typed.graph.opset_imports[""] >= QUANTIZERS_OPSET


def test_the_interface_stays_fp32(model: ir.Model) -> None:
    typed = realise_plan(model, TYPED)
    assert [value.dtype for value in (*typed.graph.inputs, *typed.graph.outputs)] == [ir.DataType.FLOAT] * 2
    assert [value.name for value in typed.graph.outputs] == ["y"]


def test_no_tensor_is_widened_between_layers(model: ir.Model) -> None:
    typed = realise_plan(model, TYPED)
    casts = [node for node in typed.graph if node.op_type == "Cast"]
    assert len(casts) <= 1, "at most the output is widened"


def test_it_computes_what_the_fp32_rest_does(model: ir.Model) -> None:
    feeds = draw(model, seed=5)
    (wide,) = run(realise_plan(model, WIDE), feeds)
    (typed,) = run(realise_plan(model, TYPED), feeds)
    assert measure_sqnr(wide, typed) > 25
    assert not np.array_equal(wide, typed)


def test_a_scale_that_loses_digits_stays_in_fp32(model: ir.Model) -> None:
    tiny = model.graph.initializers["w3"].const_value
    assert tiny is not None
    model.graph.initializers["w3"].const_value = ir.tensor(tiny.numpy() * np.float32(1e-5), name="w3")
    typed = realise_plan(model, TYPED)
    kinds = [node.outputs[0].dtype for node in typed.graph if node.op_type == "Conv"]
    assert kinds.count(ir.DataType.FLOAT) == 1
    assert kinds.count(ir.DataType.FLOAT16) == 3


def test_what_would_overflow_stays_in_fp32(model: ir.Model) -> None:
    large = model.graph.initializers["b4"].const_value
    assert large is not None
    model.graph.initializers["b4"].const_value = ir.tensor(large.numpy() + np.float32(6e4), name="b4")
    typed = realise_plan(model, TYPED)
    kinds = [node.outputs[0].dtype for node in typed.graph if node.op_type == "Conv"]
    assert kinds.count(ir.DataType.FLOAT) == 1


def test_stored_weights_are_typed_too() -> None:
    text = "g (float[N, 256] x) => (float[N, 64] y) { h = MatMul(x, w) y = Relu(h) }"
    model = make(HEADER + text, {"w": (256, 64)})
    for precision, block in ((Precision.INT8, 0), (Precision.INT4, 64)):
        stored = WeightScheme(WeightStyle.WEIGHTS, block=block)
        plan = Plan(precision, rest=Precision.FP16, weights=stored, cast=CastStyle.TYPED)
        typed = realise(model, plan)
        assert list_types(typed, {"MatMul", "DequantizeLinear"}) == {ir.DataType.FLOAT16}
        feeds = draw(model, seed=3)
        (wide,) = run(realise(model, Plan(precision, weights=stored)), feeds)
        assert measure_sqnr(wide, run(typed, feeds)[0]) > 35


def test_other_plans_are_left_alone(model: ir.Model) -> None:
    assert raise_for_rest(model, WIDE) is model
    hinted = Plan(Precision.INT8, rest=Precision.FP16, scheme=SCHEME)
    assert list_types(realise_plan(model, hinted), ARITHMETIC) == {ir.DataType.FLOAT}
