import numpy as np
import onnx_ir as ir
import pytest
from quantize_samples import CHAIN, RESIDUAL, RESIDUAL_SHAPES, calibrate, count_operators, draw, make, solve

from assay.calibrate.ranges import solve_ranges
from assay.calibrate.statistics import observe_array
from assay.core.calibration import Calibration
from assay.core.errors import UnsupportedPlan
from assay.core.plan import Plan
from assay.core.precision import CastStyle, Precision
from assay.graph.expose import observable_tensors
from assay.graph.quantize import list_quantized
from assay.graph.realise import needed_tensors, realise

INT8 = Plan(Precision.INT8, scheme=CHAIN)
FP16 = Plan(Precision.FP16, cast=CastStyle.TYPED)


def find_name(model: ir.Model, output: str) -> str:
    return next(str(node.name) for node in model.graph if node.outputs[0].name == output)


def test_fp32_is_a_copy() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    result = realise(model, Plan(Precision.FP32))
    assert result is not model
    assert ir.to_proto(result) == ir.to_proto(model)


def test_int8_quantizes_and_leaves_out_what_the_plan_overrides() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    ranges = solve(model, CHAIN, draw(model))
    assert "w3_quantized" in realise(model, INT8, ranges=ranges).graph.initializers
    kept = Plan(Precision.INT8, scheme=CHAIN, overrides=((find_name(model, "e"), Precision.FP32),))
    assert "w3" in realise(model, kept, ranges=ranges).graph.initializers


@pytest.mark.parametrize("seen", [[np.inf, 1.0], [np.nan], []])
def test_int8_leaves_out_what_touches_a_tensor_that_no_scale_fits(seen: list[float]) -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    feeds = draw(model)
    calibration = calibrate(model, feeds, observable_tensors(model))
    tensors = {**calibration.tensors, "h1": observe_array(np.asarray(seen, np.float32))}
    broken = Calibration(tensors, "", 1)
    result = realise(model, INT8, broken, solve_ranges(broken, CHAIN))
    kinds = {node.op_type for node in result.graph if "h1" in {v.name for v in (*node.inputs, *node.outputs) if v}}
    assert kinds == {"Relu", "GlobalAveragePool"}
    assert "w1_quantized" in result.graph.initializers


def test_fp16_checks_the_calibration_for_overflow() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    feeds = {name: 1e5 * value for name, value in draw(model).items()}
    calibration = calibrate(model, feeds, observable_tensors(model))
    with pytest.raises(UnsupportedPlan, match="reaches"):
        realise(model, Plan(Precision.FP16, cast=CastStyle.HINT), calibration)
    assert count_operators(realise(model, FP16))["Cast"] == 2


def test_the_tensors_needed_depend_on_the_plan() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    assert needed_tensors(model, Plan(Precision.FP32)) == frozenset()
    assert needed_tensors(model, Plan(Precision.BF16, cast=CastStyle.HINT)) == frozenset()
    assert needed_tensors(model, FP16) == set(observable_tensors(model))
    assert needed_tensors(model, INT8) == list_quantized(model, CHAIN)
    kept = Plan(Precision.INT8, scheme=CHAIN, overrides=((find_name(model, "e"), Precision.FP32),))
    assert needed_tensors(model, INT8) == needed_tensors(model, kept)
    kept = Plan(Precision.INT8, scheme=CHAIN, overrides=((find_name(model, "a"), Precision.FP32),))
    assert needed_tensors(model, INT8) - needed_tensors(model, kept) == {"x"}


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan(Precision.INT8), "without scheme"),
        (INT8, "without solved ranges"),
        (Plan(Precision.FP16), "does not say how it is cast"),
    ],
)
def test_an_incomplete_plan_is_refused(plan: Plan, words: str) -> None:
    with pytest.raises(UnsupportedPlan, match=words):
        realise(make(RESIDUAL, RESIDUAL_SHAPES), plan)
