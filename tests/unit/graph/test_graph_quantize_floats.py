"""FP8 graphs: which nodes have them, their scales, and their numbers against a simulation in float64."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graph_samples import run
from numpy.lib.stride_tricks import sliding_window_view
from onnx.reference import ReferenceEvaluator
from quantize_samples import (
    ATTENTION,
    ATTENTION_SHAPES,
    GATED,
    GATED_SHAPES,
    HEADER,
    RESIDUAL,
    RESIDUAL_SHAPES,
    S8S8,
    calibrate,
    draw,
    make,
    measure_sqnr,
    solve,
)
from tensorrt_samples import BACKEND, builds, target

from assay.backends.tensorrt.plans import FLOAT_DIALECT
from assay.calibrate.ranges import solve_float_ranges
from assay.core.calibration import Calibration, TensorRange
from assay.core.errors import ModelError, UnsupportedPlan
from assay.core.plan import FloatDialect, FloatScheme, Plan, Scheme
from assay.core.precision import CastStyle, Placement, Precision, RangeMethod
from assay.graph.expose import observable_tensors
from assay.graph.float_scales import HALF_SCALE, encode_floats, find_scale, round_codes
from assay.graph.quantize import insert_qdq
from assay.graph.quantize_floats import FLOATS_OPSET
from assay.graph.realise import needed_tensors, realise
from assay.graph.save import save_model

Doubles = np.ndarray
ITEMS = 256
"""That ranges come from."""
FP8 = Plan(Precision.FP8, floats=FloatScheme(FloatDialect(), RangeMethod.MIN_MAX))
LISTED = Plan(Precision.FP8, floats=FloatScheme(FLOAT_DIALECT, RangeMethod.MIN_MAX))
TYPED = Plan(Precision.FP8, rest=Precision.FP16, cast=CastStyle.TYPED, floats=FP8.floats)
INT8 = Scheme(S8S8, Placement.OPERANDS, RangeMethod.MIN_MAX)
CONVNET = (
    HEADER
    + """g (float[N, 3, 8, 8] x) => (float[N, 5] y) {
    a = Conv<kernel_shape = [3, 3]>(x, w1, b1)
    a1 = Relu(a)
    d = Conv<kernel_shape = [1, 1]>(a1, w2, b2)
    d1 = Relu(d)
    f = Flatten(d1)
    y = Gemm<transB = 1, alpha = 0.5, beta = 2.0>(f, w3, b3)
}"""
)
CONVNET_SHAPES = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (6, 8, 1, 1), "b2": (6,), "w3": (5, 216), "b3": (5,)}
PRODUCTS = (
    HEADER
    + """g (float[N, 64] x) => (float[N, 10] y) {
    a = MatMul(x, w1)
    a1 = Add(a, b1)
    a2 = Relu(a1)
    y = MatMul(a2, w2)
}"""
)
PRODUCTS_SHAPES = {"w1": (64, 48), "b1": (48,), "w2": (48, 10)}


def round_e4m3(x: Doubles) -> Doubles:
    """Nearest value of E4M3 in float64: three fraction bits, from 2^-6 down a fixed step of 2^-9, at most 448."""
    exponent = np.floor(np.log2(np.maximum(np.abs(x), 2.0**-6)))
    step = 2.0 ** (exponent - 3)
    return np.clip(np.rint(x / step) * step, -448, 448)


def quantize_rows(w: Doubles, axis: int) -> Doubles:
    """A weight under one scale per channel of an axis, which its largest magnitude gives."""
    other = tuple(index for index in range(w.ndim) if index != axis)
    scale = np.abs(w).max(axis=other, keepdims=True).astype(np.float32) / np.float32(448)
    return round_e4m3(w / scale) * scale


def quantize_tensor(x: Doubles, limit: float) -> Doubles:
    scale = np.float64(np.float32(limit / 448))
    return round_e4m3(x / scale) * scale


def convolve(x: Doubles, w: Doubles, b: Doubles) -> Doubles:
    windows = sliding_window_view(x, w.shape[2:], axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, w) + b[:, None, None]


def simulate_convnet(x: Doubles, w: dict[str, Doubles], limits: dict[str, float]) -> Doubles:
    a = np.maximum(convolve(quantize_tensor(x, limits["x"]), quantize_rows(w["w1"], 0), w["b1"]), 0)
    d = np.maximum(convolve(quantize_tensor(a, limits["a1"]), quantize_rows(w["w2"], 0), w["b2"]), 0)
    f = quantize_tensor(d.reshape(len(d), -1), limits["f"])
    return 0.5 * f @ quantize_rows(w["w3"], 0).T + 2.0 * w["b3"]


def simulate_products(x: Doubles, w: dict[str, Doubles], limits: dict[str, float]) -> Doubles:
    a = np.maximum(quantize_tensor(x, limits["x"]) @ quantize_rows(w["w1"], 1) + w["b1"], 0)
    return quantize_tensor(a, limits["a2"]) @ quantize_rows(w["w2"], 1)


NETS = {
    "convnet": (CONVNET, CONVNET_SHAPES, simulate_convnet),
    "products": (PRODUCTS, PRODUCTS_SHAPES, simulate_products),
}


def realise_plan(model: ir.Model, plan: Plan = FP8) -> ir.Model:
    assert plan.floats is not None
    calibration = calibrate(model, draw(model, items=ITEMS), needed_tensors(model, plan))
    result = realise(model, plan, calibration, solve_float_ranges(calibration, plan.floats))
    onnx.checker.check_model(ir.to_proto(result), full_check=True)
    return result


def list_pairs(model: ir.Model) -> set[str]:
    return {str(node.inputs[0].name) for node in model.graph if node.op_type == "QuantizeLinear" and node.inputs[0]}


@pytest.mark.parametrize("name", NETS)
def test_the_graph_computes_what_float64_says(name: str) -> None:
    text, shapes, simulate = NETS[name]
    model = make(text, shapes)
    quantized, fresh = realise_plan(model), draw(model, items=64, seed=11)
    weights = {
        key: value.const_value.numpy().astype(np.float64)
        for key, value in model.graph.initializers.items()
        if value.const_value is not None
    }
    seen = calibrate(model, draw(model, items=ITEMS), needed_tensors(model, FP8)).tensors
    expected = simulate(fresh["x"].astype(np.float64), weights, {key: one.largest for key, one in seen.items()})
    (ran,) = run(quantized, fresh)
    (evaluated,) = ReferenceEvaluator(ir.to_proto(quantized)).run(None, fresh)
    # Sums in float32 move single activations across the middle between two codes: a step of one of hundreds.
    assert measure_sqnr(expected, ran) > 45
    assert measure_sqnr(expected, evaluated) > 45
    exact = np.isclose(ran, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert exact.mean() > 0.9
    assert measure_sqnr(run(model, fresh)[0], expected) < 35, "rounding must be there to be found"


@pytest.mark.parametrize("name", NETS)
def test_the_error_is_that_of_three_fraction_bits(name: str) -> None:
    text, shapes, _ = NETS[name]
    model = make(text, shapes)
    fresh = draw(model, items=64, seed=11)
    (reference,) = run(model, fresh)
    eighths = measure_sqnr(reference, run(realise_plan(model), fresh)[0])
    many = draw(model, items=ITEMS)
    integers = measure_sqnr(reference, run(insert_qdq(model, INT8, solve(model, INT8, many)), fresh)[0])
    assert 20 < eighths < 34
    assert eighths + 4 < integers < eighths + 16


def test_where_few_values_are_huge_8_bit_floats_lose_less_than_integers() -> None:
    model = make(PRODUCTS, PRODUCTS_SHAPES)
    feeds = draw(model)
    feeds["x"][:, 0] *= 200
    fresh = draw(model, seed=12)
    calibration = calibrate(model, feeds, needed_tensors(model, FP8))
    assert FP8.floats is not None
    eighths = realise(model, FP8, calibration, solve_float_ranges(calibration, FP8.floats))
    (reference,) = run(model, fresh)
    integers = insert_qdq(model, INT8, solve(model, INT8, feeds))
    assert measure_sqnr(reference, run(eighths, fresh)[0]) > measure_sqnr(reference, run(integers, fresh)[0]) + 6


def test_codes_are_the_nearest_ties_to_even_and_saturate() -> None:
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(size=4000) * 10.0 ** rng.integers(-4, 4, 4000), [17.0, 19.0, 1e9, -464.0, 2.0**-10]])
    x = x.astype(np.float32)
    np.testing.assert_array_equal(round_codes(x).astype(np.float64), round_e4m3(x.astype(np.float64)))
    assert round_codes(np.float32([17, 19, 465])).astype(np.float32).tolist() == [16, 20, 448]


def test_least_squares_never_loses_to_the_largest_magnitude() -> None:
    weight = np.random.default_rng(4).standard_t(3, (6, 5, 3, 3)).astype(np.float32)

    def measure(method: RangeMethod, axis: int) -> Doubles:
        encoded = encode_floats(weight, axis, method)
        shape = [-1 if index == axis else 1 for index in range(4)]
        error = weight - encoded.codes.astype(np.float32) * encoded.scale.reshape(shape)
        return np.square(error).sum(axis=tuple(index for index in range(4) if index != axis))

    for axis in (0, 1):
        plain, best = measure(RangeMethod.MIN_MAX, axis), measure(RangeMethod.MSE, axis)
        assert (best <= plain).all()
        assert best.sum() < 0.97 * plain.sum()


def test_scales_reach_the_largest_code_and_stay_normal_in_fp16() -> None:
    assert find_scale(TensorRange(-896, 100)) == 2
    assert find_scale(TensorRange(0, 0)) == 1
    assert find_scale(TensorRange(0, 1e-3)) == HALF_SCALE
    assert find_scale(TensorRange(0, 1e-7)) == np.float32(1e-7 / 448), "the codes would be too few"
    small = np.random.default_rng(5).uniform(-0.004, 0.004, (4, 64)).astype(np.float32)
    encoded = encode_floats(small, 0, RangeMethod.MIN_MAX)
    assert (encoded.scale == HALF_SCALE).all()
    lost = measure_sqnr(small, encoded.codes.astype(np.float32) * HALF_SCALE)
    wide = encode_floats(small * 1000, 0, RangeMethod.MIN_MAX)
    assert lost > measure_sqnr(small * 1000, wide.codes.astype(np.float32) * wide.scale[:, None]) - 0.5


def test_pairs_stand_on_the_operands_of_products_alone() -> None:
    model = make(ATTENTION, ATTENTION_SHAPES)
    quantized = realise_plan(model)
    assert list_pairs(quantized) == {"n", "q", "t", "p", "v", "o"}
    for node in quantized.graph:
        makers = {value.producer().op_type for value in node.inputs if value is not None and value.producer()}
        assert (makers == {"DequantizeLinear"}) == (node.op_type == "MatMul") or node.op_type == "DequantizeLinear"
    kinds = {value.dtype for value in quantized.graph.initializers.values() if str(value.name).endswith("_quantized")}
    assert kinds == {ir.DataType.FLOAT8E4M3FN}
    assert quantized.graph.opset_imports[""] >= FLOATS_OPSET


def test_deconvolutions_are_left_to_dialects_that_list_them() -> None:
    text = HEADER + "g (float[N, 4, 5, 5] x) => (float[N, 6, 6, 6] y) { y = ConvTranspose(x, w, b) }"
    model = make(text, {"w": (4, 6, 2, 2), "b": (6,)})
    assert not list_pairs(realise_plan(model))
    quantized, feeds = realise_plan(model, LISTED), draw(model)
    assert quantized.graph.initializers["w_scale"].shape == [6]
    assert measure_sqnr(run(model, feeds)[0], run(quantized, feeds)[0]) > 25


def test_a_rest_in_fp16_is_typed_up_to_the_quantizers() -> None:
    model = make(CONVNET, CONVNET_SHAPES)
    calibration = calibrate(model, draw(model), observable_tensors(model))
    assert TYPED.floats is not None
    typed = realise(model, TYPED, calibration, solve_float_ranges(calibration, TYPED.floats))
    products = [node for node in typed.graph if node.op_type in {"Conv", "Gemm", "DequantizeLinear"}]
    assert {node.outputs[0].dtype for node in products} == {ir.DataType.FLOAT16}
    feeds = draw(model, seed=9)
    assert measure_sqnr(run(model, feeds)[0], run(typed, feeds)[0]) > 22


@builds
@pytest.mark.parametrize(
    ("text", "shapes"), [(RESIDUAL, RESIDUAL_SHAPES), (GATED, GATED_SHAPES), (ATTENTION, ATTENTION_SHAPES)]
)
@pytest.mark.parametrize("plan", [LISTED, replace(LISTED, rest=Precision.FP16, cast=CastStyle.TYPED)])
def test_tensorrt_builds_what_is_written(
    tmp_path: Path, text: str, shapes: dict[str, tuple[int, ...]], plan: Plan
) -> None:
    model = make(text, shapes)
    calibration = calibrate(model, draw(model), observable_tensors(model))
    assert plan.floats is not None
    path = tmp_path / "model.onnx"
    save_model(realise(model, plan, calibration, solve_float_ranges(calibration, plan.floats)), path)
    BACKEND.build(path, tmp_path, plan, target("sm89"))
    assert list(tmp_path.glob("sm89-*.engine"))


def test_kept_nodes_and_tensors_without_a_scale_stay_in_floats() -> None:
    model = make(CONVNET, CONVNET_SHAPES)
    head = next(str(node.name) for node in model.graph if node.op_type == "Gemm")
    kept = Plan(Precision.FP8, floats=FP8.floats, overrides=((head, Precision.FP32),))
    assert list_pairs(realise_plan(model, kept)) == {"x", "a1"}
    seen = calibrate(model, draw(model), needed_tensors(model, FP8)).tensors
    broken = calibrate(model, {"x": np.full((1, 3, 8, 8), np.nan, np.float32)}, {"x"}).tensors
    calibration = Calibration({**seen, "x": broken["x"]}, "", 1)
    assert FP8.floats is not None
    assert list_pairs(realise(model, FP8, calibration, solve_float_ranges(calibration, FP8.floats))) == {"a1", "f"}


def test_plans_that_contradict_themselves_are_refused() -> None:
    model = make(PRODUCTS, PRODUCTS_SHAPES)
    with pytest.raises(UnsupportedPlan, match="without scheme"):
        realise(model, Plan(Precision.FP8), ranges={})
    with pytest.raises(UnsupportedPlan, match="without solved ranges"):
        realise(model, FP8)
    with pytest.raises(ModelError, match="'x' has no range"):
        realise(model, FP8, ranges={})
    strange = Plan(Precision.FP8, floats=FP8.floats, overrides=(("head", Precision.BF16),))
    with pytest.raises(UnsupportedPlan, match="'head' in another format"):
        realise(model, strange, ranges={})


def test_a_shared_weight_is_stored_once() -> None:
    text = HEADER + "g (float[N, 16] x) => (float[N, 16] y) { a = MatMul(x, w) b = Relu(a) y = MatMul(b, w) }"
    quantized = realise_plan(make(text, {"w": (16, 16)}))
    assert sum(node.op_type == "DequantizeLinear" for node in quantized.graph) == 3
