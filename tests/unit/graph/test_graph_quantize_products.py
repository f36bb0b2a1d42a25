"""Weights of matrix products in integers: what they become, what stays as it is, and what the numbers are."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from graph_samples import fill, run
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.core.errors import UnsupportedPlan
from assay.core.plan import Plan, WeightScheme
from assay.core.precision import Precision, WeightStyle
from assay.graph.convert_opset import convert_model
from assay.graph.prepare import prepare
from assay.graph.quantize_products import find_products, fit_block, list_products, quantize_products
from assay.graph.realise import needed_tensors, realise

HEADER = '<ir_version: 10, opset_import: ["": 21]>'
WEIGHTS, DYNAMIC = WeightScheme(WeightStyle.WEIGHTS), WeightScheme(WeightStyle.DYNAMIC)
BLOCKS = WeightScheme(WeightStyle.WEIGHTS, block=32)
NET = (
    HEADER
    + """g (float[N, 5, 64] x) => (float[N, 5, 96] y) {
    h = MatMul(x, w1)
    g = MatMul(x, w2)
    r = Relu(h)
    m = Mul(r, g)
    y = MatMul(m, w3)
}"""
)
SHAPES = {"w1": (64, 128), "w2": (64, 128), "w3": (128, 96)}
TIED = (
    HEADER
    + """g (int64[N, T] ids) => (float[N, T, 512] y) {
    e = Gather(table, ids)
    h = MatMul(e, w1)
    t = Transpose<perm = [1, 0]>(table)
    y = MatMul(h, t)
}"""
)


def draw(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def make(text: str, **shapes: tuple[int, ...]) -> ir.Model:
    """A prepared model with random weights."""
    return prepare(fill(text, np.random.default_rng(0), **shapes))


def read_weight(model: ir.Model, node: str) -> np.ndarray:
    """A product's weight ``[inputs, outputs]`` in float64, from codes and scales."""
    product = next(one for one in model.graph if one.name == node)
    maker = product.inputs[1].producer()
    turned = maker.op_type == "Transpose"
    maker = maker.inputs[0].producer() if turned else maker
    codes = maker.inputs[0].const_value.numpy().astype(np.float64)
    scales = maker.inputs[1].const_value.numpy().astype(np.float64)
    block = maker.attributes.get_int("block_size", 0)
    scales = np.repeat(scales, block, axis=0) if block else scales[:, None] if turned else scales
    return (codes * scales).T if turned else codes * scales


def count(model: ir.Model, kind: str) -> int:
    return sum(node.op_type == kind for node in model.graph)


@pytest.mark.parametrize(
    ("precision", "scheme", "codes"),
    [(Precision.INT8, WEIGHTS, 127), (Precision.INT8, BLOCKS, 127), (Precision.INT4, BLOCKS, 7)],
)
@pytest.mark.parametrize("opset", [13, 21])
def test_products_multiply_by_codes_times_scales(
    precision: Precision, scheme: WeightScheme, codes: int, opset: int
) -> None:
    model = make(NET.replace("21", str(opset)), **SHAPES)
    plan = Plan(precision, weights=scheme)
    result = realise(model, plan)
    names = [one.node.name for one in find_products(model.graph, (), 1)]
    w1, w2, w3 = (read_weight(result, name) for name in names)
    x = draw((3, 5, 64))
    wide = x.astype(np.float64)
    expected = (np.maximum(wide @ w1, 0) * (wide @ w2)) @ w3
    assert run(result, {"x": x})[0] == pytest.approx(expected, rel=1e-4, abs=1e-4 * np.abs(expected).max())
    original = model.graph.initializers["w1"].const_value.numpy()
    assert np.abs(w1 - original).max() <= 0.51 * np.abs(original).max() / codes * (1 if codes == 127 else 1.4)
    assert not needed_tensors(model, plan)
    assert not {"w1", "w2", "w3"} & set(result.graph.initializers)


def test_the_last_product_of_a_plan_in_4_bits_has_8() -> None:
    result = quantize_products(make(NET, **SHAPES), Precision.INT4, BLOCKS)
    kinds = {name: value.const_value.dtype for name, value in result.graph.initializers.items() if "codes" in name}
    assert kinds == {"w1_codes": ir.DataType.INT4, "w2_codes": ir.DataType.INT4, "w3_codes": ir.DataType.INT8}


def test_an_activation_is_quantized_once_for_all_products_that_read_it() -> None:
    result = quantize_products(make(NET, **SHAPES), Precision.INT8, DYNAMIC)
    assert count(result, "DynamicQuantizeLinear") == 2
    assert count(result, "DequantizeLinear") == 2 + 3
    x = draw((2, 5, 64))
    model = make(NET, **SHAPES)
    error = run(result, {"x": x})[0] - run(model, {"x": x})[0]
    assert 0 < np.sqrt(np.mean(error**2)) < 0.05 * np.std(run(model, {"x": x})[0])


@pytest.mark.parametrize("style", WeightStyle)
@pytest.mark.parametrize("attributes", ["", "transB = 1, ", "alpha = 0.5, beta = 2.0, transB = 1, ", "beta = 0.25, "])
@pytest.mark.parametrize("bias", ["float[32] b", "float[N, 32] b", ""])
def test_a_gemm_becomes_a_product_and_a_sum(style: WeightStyle, attributes: str, bias: str) -> None:
    inputs = "float[N, 64] x" + (f", {bias}" if bias else "")
    attributes += "transA = 0"
    text = f"{HEADER} g ({inputs}) => (float[N, 32] y) {{ y = Gemm<{attributes}>(x, w{', b' if bias else ''}) }}"
    shape = (32, 64) if "transB" in attributes else (64, 32)
    model = make(text, w=shape)
    result = quantize_products(model, Precision.INT8, WeightScheme(style), least_elements=1)
    feeds = {"x": draw((4, 64))} | ({"b": draw((4, 32) if "N" in bias else (32,), 2)} if bias else {})
    before, after = run(model, feeds)[0], run(result, feeds)[0]
    assert count(result, "Gemm") == 0
    assert count(result, "MatMul") == 1
    assert result.graph.outputs[0].name == "y"
    assert np.sqrt(np.mean((after - before) ** 2)) < 0.03 * np.std(before)
    assert model.graph.node(0).op_type == "Gemm"


def test_a_tied_table_is_stored_once() -> None:
    prepared = make(TIED, table=(512, 64), w1=(64, 64))
    scheme = WeightScheme(WeightStyle.WEIGHTS, tables=True)
    result = quantize_products(prepared, Precision.INT8, scheme)
    large = [value for value in result.graph.initializers.values() if value.const_value.size == 512 * 64]
    assert [value.const_value.dtype for value in large] == [ir.DataType.INT8]
    ids = np.random.default_rng(1).integers(0, 512, (2, 7))
    before, after = run(prepared, {"ids": ids})[0], run(result, {"ids": ids})[0]
    assert 0 < np.sqrt(np.mean((after - before) ** 2)) < 0.03 * np.std(before)


def test_a_shared_weight_stays_shared() -> None:
    text = HEADER + "g (float[N, 64] x) => (float[N, 64] y) { h = MatMul(x, w) y = MatMul(h, w) }"
    result = quantize_products(make(text, w=(64, 64)), Precision.INT8, WEIGHTS)
    assert count(result, "DequantizeLinear") == 1


def test_small_kept_and_unfit_weights_stay_in_floats() -> None:
    model = make(NET, **SHAPES)
    names = [node.name for node in model.graph if node.op_type == "MatMul"]
    assert list_products(model) == {"w1": 64 * 128, "w2": 64 * 128, "w3": 128 * 96}
    assert set(list_products(model, keep=[names[1]])) == {"w1", "w3"}
    assert set(list_products(model, least_elements=10_000)) == {"w3"}
    broken = draw((64, 128))
    broken[3, 4] = np.nan
    model.graph.initializers["w2"].const_value = ir.tensor(broken, name="w2")
    assert set(list_products(model)) == {"w1", "w3"}
    result = quantize_products(model, Precision.INT8, WEIGHTS)
    assert {"w2"} == {name for name in result.graph.initializers if name in SHAPES}


def test_a_model_without_large_products_is_refused() -> None:
    text = HEADER + "g (float[N, 8] x) => (float[N, 8] y) { y = MatMul(x, w) }"
    with pytest.raises(UnsupportedPlan, match="no matrix product"):
        quantize_products(make(text, w=(8, 8)), Precision.INT8, WEIGHTS)


def test_a_model_of_an_older_opset_is_raised_for_blocks() -> None:
    model = make(NET.replace("21", "17"), **SHAPES)
    assert quantize_products(model, Precision.INT8, WEIGHTS).graph.opset_imports[""] == 17
    result = quantize_products(model, Precision.INT4, BLOCKS)
    assert result.graph.opset_imports[""] == 21
    assert [value.name for value in result.graph.inputs] == ["x"]
    kept = convert_model(model, 21, "weights")
    assert kept.graph.initializers["w1"].const_value is model.graph.initializers["w1"].const_value
    x = draw((2, 5, 64))
    np.testing.assert_array_equal(run(kept, {"x": x})[0], run(model, {"x": x})[0])


def test_weights_for_narrow_processors_have_7_bits() -> None:
    scheme = WeightScheme(WeightStyle.DYNAMIC, reduced_range=True)
    result = quantize_products(make(NET, **SHAPES), Precision.INT8, scheme)
    codes = result.graph.initializers["w1_codes"].const_value.numpy()
    assert np.abs(codes).max() == 64


@pytest.mark.parametrize(("length", "fits"), [(64, 32), (96, 32), (48, 16), (40, 0), (33, 0)])
def test_blocks_divide_what_they_are_of(length: int, fits: int) -> None:
    assert fit_block(length, 32) == fits


@pytest.mark.parametrize(("length", "fits"), [(144, 128), (129, 128), (128, 128), (96, 32), (64, 64)])
def test_a_last_block_may_be_shorter(length: int, fits: int) -> None:
    assert fit_block(length, 128, ragged=True) == fits


def test_a_ragged_weight_is_off_by_half_a_step() -> None:
    model = make(HEADER + "g (float[N, 80] x) => (float[N, 48] y) { y = MatMul(x, w) }", w=(80, 48))
    scheme = WeightScheme(WeightStyle.WEIGHTS, block=64, ragged=True)
    result = quantize_products(model, Precision.INT8, scheme, least_elements=1)
    (maker,) = [node for node in result.graph if node.op_type == "DequantizeLinear"]
    codes, scales = (one.const_value.numpy() for one in maker.inputs)
    assert scales.shape == (2, 48)
    wanted = model.graph.initializers["w"].const_value.numpy()
    steps = np.repeat(scales, 64, axis=0)[:80]
    assert np.abs(codes * steps - wanted).max() <= 0.5001 * scales.max()
    assert (np.abs(codes * steps - wanted) <= 0.5001 * steps).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 70), st.integers(1, 9), st.floats(2.0**-60, 2.0**60), st.sampled_from([0, 16, 32]), st.booleans())
def test_stored_weights_are_off_by_half_a_step(
    inputs: int,
    outputs: int,
    size: float,
    block: int,
    narrow: bool,  # noqa: FBT001 drawn
) -> None:
    text = f"{HEADER} g (float[N, {inputs}] x) => (float[N, {outputs}] y) {{ h = MatMul(x, w) y = Neg(h) }}"
    model = make(text, w=(inputs, outputs))
    values = (draw((inputs, outputs), inputs) * size).astype(np.float32)
    values[:, 0] = 0
    model.graph.initializers["w"].const_value = ir.tensor(values, name="w")
    precision = Precision.INT4 if narrow else Precision.INT8
    result = quantize_products(model, precision, WeightScheme(WeightStyle.WEIGHTS, block=block), least_elements=1)
    stored = read_weight(result, str(model.graph.node(0).name))
    whole = fit_block(inputs, block) == 0
    spans = values[None] if whole else values.reshape(-1, fit_block(inputs, block), outputs)
    steps = np.abs(spans).max(axis=1, keepdims=True) / (7 if narrow and not whole else 127)
    # In 4 bits the scale of least squared error cuts off up to three eighths of the largest values.
    allowed = (3.2 if narrow and not whole else 0.51) * np.broadcast_to(steps, spans.shape).reshape(values.shape)
    assert (np.abs(stored - values) <= allowed + 1e-37).all()
    dtype = next(v.const_value.numpy().dtype for k, v in result.graph.initializers.items() if k.endswith("_codes"))
    assert dtype == (ml_dtypes.int4 if narrow and not whole else np.int8)
