from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import openvino
import pytest
from graph_samples import run
from onnx.reference import ReferenceEvaluator
from quantize_samples import (
    ATTENTION,
    ATTENTION_SHAPES,
    HEADER,
    RESIDUAL,
    RESIDUAL_SHAPES,
    Floats,
    count_operators,
    draw,
    make,
    measure_sqnr,
)

from assay.core.errors import UnsupportedPlan
from assay.core.precision import CastStyle, Precision
from assay.graph.cast import cast_floats

DTYPES = {Precision.FP16: ir.DataType.FLOAT16, Precision.BF16: ir.DataType.BFLOAT16}
LEAST_DB = {Precision.FP16: 50, Precision.BF16: 30}
NETWORKS = {"residual": (RESIDUAL, RESIDUAL_SHAPES), "attention": (ATTENTION, ATTENTION_SHAPES)}


def cast(
    model: ir.Model,
    precision: Precision,
    style: CastStyle = CastStyle.TYPED,
    largest: dict[str, float] | None = None,
    keep: frozenset[str] = frozenset(),
) -> ir.Model:
    """The cast model, checked by ONNX with types inferred strictly."""
    result = cast_floats(model, precision, style, largest or {}, keep)
    onnx.checker.check_model(ir.to_proto(result), full_check=True)
    return result


def evaluate(model: ir.Model, feeds: dict[str, Floats]) -> np.ndarray:
    return np.asarray(ReferenceEvaluator(ir.to_proto(model)).run(None, feeds)[0])


def find(model: ir.Model, output: str) -> ir.Node:
    return next(node for node in model.graph if output in {value.name for value in node.outputs})


def types(node: ir.Node) -> set[ir.DataType | None]:
    return {value.dtype for value in (*node.inputs, *node.outputs) if value is not None}


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_typed_graph_computes_in_sixteen_bits_nearly_the_same(network: str, precision: Precision) -> None:
    model = make(*NETWORKS[network])
    feeds = draw(model, items=3)
    result = cast(model, precision)
    assert measure_sqnr(run(model, feeds)[0], evaluate(result, feeds)) > LEAST_DB[precision]
    for node in result.graph:
        if node.op_type in {"Conv", "Gemm", "MatMul"}:
            assert types(node) == {DTYPES[precision]}
    assert {value.dtype for value in (*result.graph.inputs, *result.graph.outputs)} == {ir.DataType.FLOAT}
    assert [value.name for value in result.graph.outputs] == ["y"]


def test_a_typed_fp16_graph_runs_in_both_runtimes(tmp_path: Path) -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    feeds = draw(model)
    result = cast(model, Precision.FP16)
    reference = run(model, feeds)[0]
    assert measure_sqnr(reference, run(result, feeds)[0]) > 50
    ir.save(result, tmp_path / "model.onnx")
    compiled = openvino.Core().compile_model(tmp_path / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert measure_sqnr(reference, np.asarray(compiled(feeds)[0])) > 50


@pytest.mark.parametrize("style", CastStyle)
@pytest.mark.parametrize("precision", DTYPES)
def test_the_file_is_half_as_large(precision: Precision, style: CastStyle) -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES | {"w4": (512, 16, 3, 3), "b4": (512,), "w5": (5, 512)})
    result = cast(model, precision, style)
    size = [len(ir.to_proto(each).SerializeToString()) for each in (result, model)]
    assert size[0] < 0.56 * size[1]


def test_the_model_given_is_left_as_it_is() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    before = ir.to_proto(model).SerializeToString()
    for precision in DTYPES:
        for style in CastStyle:
            cast(model, precision, style)
    assert ir.to_proto(model).SerializeToString() == before


def test_norms_softmax_and_reductions_stay_in_fp32() -> None:
    result = cast(make(ATTENTION, ATTENTION_SHAPES), Precision.FP16)
    for kind in ("LayerNormalization", "Softmax"):
        node = next(node for node in result.graph if node.op_type == kind)
        assert types(node) == {ir.DataType.FLOAT}


def test_one_cast_serves_all_readers() -> None:
    result = cast(make(ATTENTION, ATTENTION_SHAPES), Precision.FP16)
    sources = [node.inputs[0].name for node in result.graph if node.op_type == "Cast" and node.inputs[0] is not None]
    assert len(sources) == len(set(sources))
    assert count_operators(result)["Cast"] == 5


def test_a_large_activation_keeps_its_nodes_in_fp32() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    result = cast(model, Precision.FP16, largest={"h": 40_000.0, "a": 100.0})
    assert types(find(result, "h")) == {ir.DataType.FLOAT}
    assert types(find(result, "a")) == {ir.DataType.FLOAT16}
    feeds = draw(model)
    assert measure_sqnr(run(model, feeds)[0], run(result, feeds)[0]) > 50
    fine = cast(model, Precision.BF16, largest={"h": 40_000.0})
    assert types(find(fine, "h")) == {ir.DataType.BFLOAT16}


@pytest.mark.parametrize("number", [1e6, 1e-9])
def test_a_constant_outside_the_format_keeps_its_node_in_fp32(number: float) -> None:
    text = (
        HEADER
        + f"""g (float[N, 4] x) => (float[N, 4] y) <float c = {{{number}}}> {{
        a = MatMul(x, w)
        y = Add(a, c)
    }}"""
    )
    model = make(text, {"w": (4, 4)})
    assert types(find(cast(model, Precision.FP16), "a")) >= {ir.DataType.FLOAT16}
    add = next(node for node in cast(model, Precision.FP16).graph if node.op_type == "Add")
    assert types(add) == {ir.DataType.FLOAT}


def test_kept_nodes_stay_in_fp32() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    kept = frozenset({str(find(model, "e").name)})
    assert types(find(cast(model, Precision.FP16, keep=kept), "e")) == {ir.DataType.FLOAT}
    hinted = cast(model, Precision.FP16, CastStyle.HINT, keep=kept)
    assert find(hinted, "e").inputs[1] is hinted.graph.initializers["w3"]


def test_operands_that_the_schema_fixes_stay_in_fp32() -> None:
    text = (
        HEADER
        + """g (float[N, 2, 4, 4] x) => (float[N, 2, 8, 8] y) <float[4] s = {1, 1, 2, 2}> {
        a = Conv(x, w)
        r = Resize(a, , s)
        y = Conv(r, w)
    }"""
    )
    model = make(text, {"w": (2, 2, 1, 1)})
    feeds = draw(model)
    result = cast(model, Precision.FP16)
    assert measure_sqnr(run(model, feeds)[0], run(result, feeds)[0]) > 50


def test_subgraphs_read_fp32() -> None:
    text = (
        HEADER
        + """g (float[N, 4] x, bool c) => (float[N, 4] y) {
        a = MatMul(x, w)
        b = If(c) <then_branch = t () => (float[N, 4] u) { u = Abs(a) },
                   else_branch = e () => (float[N, 4] v) { v = Neg(a) }>
        y = MatMul(b, w)
    }"""
    )
    model = make(text, {"w": (4, 4)})
    result = cast(model, Precision.FP16)
    feeds = {"x": np.float32([[1, 2, 3, 4]]), "c": np.zeros((), bool)}
    assert measure_sqnr(run(model, feeds)[0], run(result, feeds)[0]) > 50


def test_integers_and_masks_keep_their_types() -> None:
    text = (
        HEADER
        + """g (float[N, 4] x, int64[N] i) => (float[N, 4] y, int64[2] s) <float low = {-inf}> {
        g1 = Gather(x, i)
        a = MatMul(g1, w)
        m = Less(a, x)
        k = Where(m, a, x)
        f = Cast<to = 1>(i)
        u = Unsqueeze(f, one)
        y = Add(k, u)
        s = Shape(y)
    }""".replace("<float low = {-inf}>", "<int64[1] one = {1}>")
    )
    model = make(text, {"w": (4, 4)})
    result = cast(model, Precision.FP16)
    feeds = {"x": np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32), "i": np.int64([2, 0, 1])}
    for expected, found in zip(run(model, feeds), run(result, feeds), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=5e-3, atol=5e-3)


def test_bfloat16_convolutions_raise_the_opset() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    result = cast(model, Precision.BF16)
    assert result.graph.opset_imports[""] == 22
    assert {node.name for node in model.graph} <= {node.name for node in result.graph}
    products = make(ATTENTION, ATTENTION_SHAPES)
    assert cast(products, Precision.BF16).graph.opset_imports[""] == 17


def test_a_hinted_graph_casts_its_weights_alone() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    feeds = draw(model)
    result = cast(model, Precision.FP16, CastStyle.HINT)
    stored = {name for name, value in result.graph.initializers.items() if value.dtype is ir.DataType.FLOAT16}
    assert stored == {"w1_fp16", "w2_fp16", "w3_fp16", "w4_fp16", "w5_fp16"}
    assert count_operators(result)["Cast"] == 5
    assert measure_sqnr(run(model, feeds)[0], run(result, feeds)[0]) > 60


def test_a_weight_outside_the_format_stays_as_it_is() -> None:
    text = HEADER + "g (float[N, 8] x) => (float[N, 8] y) { a = MatMul(x, w) y = MatMul(a, v) }"
    model = make(text, {"w": (8, 8), "v": (8, 8)})
    weight = model.graph.initializers["w"]
    assert weight.const_value is not None
    weight.const_value = ir.tensor(weight.const_value.numpy() * np.float32(1e6), name="w")
    assert set(cast(model, Precision.FP16, CastStyle.HINT).graph.initializers) == {"w", "v_fp16"}
    assert set(cast(model, Precision.BF16, CastStyle.HINT).graph.initializers) == {"w_bf16", "v_bf16"}
    assert types(find(cast(model, Precision.FP16), "a")) == {ir.DataType.FLOAT}


def test_a_hint_that_would_overflow_is_refused_with_its_node() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    name = find(model, "h").name
    with pytest.raises(UnsupportedPlan, match=rf"{name}.*'h' reaches 1e\+05"):
        cast(model, Precision.FP16, CastStyle.HINT, {"h": 1e5})
    cast(model, Precision.BF16, CastStyle.HINT, {"h": 1e5})


def test_a_model_whose_arithmetic_all_overflows_is_refused_with_its_node() -> None:
    text = HEADER + "g (float[N, 8] x) => (float[N, 8] y) { [product] y = MatMul(x, w) }"
    with pytest.raises(UnsupportedPlan, match=r"product.*'x' reaches"):
        cast(make(text, {"w": (8, 8)}), Precision.FP16, largest={"x": 1e5})


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
def test_other_formats_are_refused(precision: Precision) -> None:
    with pytest.raises(UnsupportedPlan, match="not a 16-bit float"):
        cast(make(RESIDUAL, RESIDUAL_SHAPES), precision)
