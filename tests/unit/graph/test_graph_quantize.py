import numpy as np
import onnx_ir as ir
import pytest
from graph_samples import fill, run
from quantize_samples import (
    ATTENTION,
    ATTENTION_SHAPES,
    CHAIN,
    DIALECTS,
    GATED,
    GATED_SHAPES,
    HEADER,
    RESIDUAL,
    RESIDUAL_SHAPES,
    S8S8,
    U8S8,
    U8S8_LOOSE,
    draw,
    list_paired,
    make,
    measure_sqnr,
    quantize,
    solve,
)

from assay.core.calibration import TensorRange
from assay.core.errors import ModelError
from assay.core.plan import IntegerDialect, Scheme
from assay.core.precision import IntegerFormat, Placement, RangeMethod
from assay.graph.prepare import prepare
from assay.graph.quantize import insert_qdq, list_quantized

LOOSE = Scheme(U8S8_LOOSE, Placement.CHAIN, RangeMethod.MIN_MAX)
OPERANDS = Scheme(U8S8, Placement.OPERANDS, RangeMethod.MIN_MAX)
NETWORKS = {
    "residual": (RESIDUAL, RESIDUAL_SHAPES),
    "gated": (GATED, GATED_SHAPES),
    "attention": (ATTENTION, ATTENTION_SHAPES),
}


def constant(model: ir.Model, name: str) -> np.ndarray:
    value = model.graph.initializers[name].const_value
    assert value is not None
    return value.numpy()


def readers(model: ir.Model, name: str) -> set[str]:
    return {node.op_type for node in model.graph if name in {v.name for v in node.inputs if v is not None}}


@pytest.mark.parametrize("method", RangeMethod)
@pytest.mark.parametrize("placement", Placement)
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("network", NETWORKS)
def test_quantized_networks_stay_near_the_float_ones(
    network: str, dialect: str, placement: Placement, method: RangeMethod
) -> None:
    model = make(*NETWORKS[network])
    feeds = draw(model)
    (reference,) = run(model, feeds)
    (value,) = run(quantize(model, Scheme(DIALECTS[dialect], placement, method)), feeds)
    # Entropy clips what is rare, whatever that costs in squared error.
    assert measure_sqnr(reference, value) > (15 if method is RangeMethod.ENTROPY else 25)


def test_the_model_given_is_left_as_it_is() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    before = ir.to_proto(model).SerializeToString()
    quantize(model, CHAIN)
    assert ir.to_proto(model).SerializeToString() == before


def test_operands_alone_are_paired() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    assert list_paired(quantize(model, OPERANDS)) == {"x", "a1", "d1", "p", "f"}


def test_a_tight_chain_pairs_behind_absorbed_activations_and_around_links() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    assert list_paired(quantize(model, CHAIN)) == {"x", "a1", "d1", "e", "s1", "p", "h1", "q", "f"}


def test_a_loose_chain_pairs_only_what_integers_are_read_from() -> None:
    paired = list_paired(quantize(make(GATED, GATED_SHAPES), LOOSE))
    assert paired == {"x", "s", "b", "q", "f"}
    assert {"a", "g1"} <= list_paired(quantize(make(GATED, GATED_SHAPES), CHAIN))


def test_movers_share_the_scale_before_them() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    assert {"p", "f"}.isdisjoint(list_quantized(model, CHAIN))
    result = quantize(model, CHAIN)
    assert constant(result, "p_scale") == constant(result, "s1_scale")
    assert constant(result, "f_scale") == constant(result, "q_scale")


def test_every_reader_of_an_integer_result_reads_the_pair() -> None:
    text = (
        HEADER
        + """g (float[N, 4, 4, 4] x) => (float[N, 4, 4, 4] y, float[N, 4, 4, 4] z) {
        a = Conv(x, w1)
        t = Tanh(a)
        y = Conv(a, w2)
        z = Conv(t, w3)
    }"""
    )
    model = make(text, {"w1": (4, 4, 1, 1), "w2": (4, 4, 1, 1), "w3": (4, 4, 1, 1)})
    assert readers(quantize(model, CHAIN), "a") == {"QuantizeLinear"}
    assert readers(quantize(model, LOOSE), "a") == {"QuantizeLinear", "Tanh"}


def test_norms_softmax_and_vector_constants_stay_in_floats() -> None:
    paired = list_paired(quantize(make(ATTENTION, ATTENTION_SHAPES), CHAIN))
    assert paired == {"n", "q", "k", "t", "p", "v", "o"}


def test_weights_are_integers_in_the_file() -> None:
    shapes = RESIDUAL_SHAPES | {"w4": (256, 16, 3, 3), "b4": (256,), "w5": (5, 256)}
    model = make(RESIDUAL, shapes)
    result = quantize(model, CHAIN)
    weights = [value for name, value in result.graph.initializers.items() if name.startswith("w")]
    stored = [value for value in weights if value.name is not None and value.name.endswith("_quantized")]
    assert {value.dtype for value in stored} == {ir.DataType.INT8}
    assert len(stored) == 5
    assert not {"w1", "w2", "w3", "w4", "w5"} & set(result.graph.initializers)
    size = [len(ir.to_proto(each).SerializeToString()) for each in (result, model)]
    assert size[0] < 0.4 * size[1]


def test_biases_are_int32_at_the_product_of_the_scales_or_stay_floats() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    result = quantize(model, CHAIN)
    assert constant(result, "b1_quantized").dtype == np.int32
    product = constant(result, "x_scale") * constant(result, "w1_scale")
    np.testing.assert_array_equal(constant(result, "b1_scale"), product)
    np.testing.assert_allclose(constant(result, "b1_quantized") * product, constant(model, "b1"), atol=product.max())
    assert "b1" in quantize(model, LOOSE).graph.initializers


def test_kept_nodes_stay_in_floats() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    kept = next(str(node.name) for node in model.graph if node.outputs[0].name == "e")
    result = quantize(model, CHAIN, frozenset({kept}))
    assert "w3" in result.graph.initializers
    assert constant(result, "w2_quantized").dtype == np.int8
    assert {node.name for node in model.graph} <= {node.name for node in result.graph}


def test_one_scale_per_tensor_where_the_dialect_says_so() -> None:
    dialect = IntegerDialect(IntegerFormat.U8, symmetric=False, per_channel=False, integer_bias=True)
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    result = quantize(model, Scheme(dialect, Placement.CHAIN, RangeMethod.MIN_MAX))
    assert constant(result, "w1_scale").shape == ()
    feeds = draw(model)
    assert measure_sqnr(run(model, feeds)[0], run(result, feeds)[0]) > 20


def test_unsigned_weights_have_their_zero_in_the_middle() -> None:
    dialect = IntegerDialect(IntegerFormat.U8, symmetric=False, weight=IntegerFormat.U8)
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    result = quantize(model, Scheme(dialect, Placement.OPERANDS, RangeMethod.MIN_MAX))
    assert set(constant(result, "w1_zero_point")) == {128}
    feeds = draw(model)
    assert measure_sqnr(run(model, feeds)[0], run(result, feeds)[0]) > 25


def test_a_reduced_range_has_seven_bits() -> None:
    dialect = IntegerDialect(IntegerFormat.U8, symmetric=False, reduced_range=True)
    result = quantize(make(RESIDUAL, RESIDUAL_SHAPES), Scheme(dialect, Placement.OPERANDS, RangeMethod.MIN_MAX))
    assert np.abs(constant(result, "w1_quantized")).max() == 64


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_factors_of_gemm_go_into_its_constants(dialect: str, transposed: int) -> None:
    text = (
        HEADER
        + f"""g (float[N, 6] x) => (float[N, 3] y) {{
        y = Gemm<alpha = -0.5, beta = 3.0, transB = {transposed}>(x, w, b)
    }}"""
    )
    model = make(text, {"w": (3, 6) if transposed else (6, 3), "b": (3,)})
    feeds = draw(model)
    result = quantize(model, Scheme(DIALECTS[dialect], Placement.CHAIN, RangeMethod.MIN_MAX))
    assert measure_sqnr(run(model, feeds)[0], run(result, feeds)[0]) > 30


def test_a_shared_weight_is_stored_once_per_encoding() -> None:
    text = (
        HEADER
        + """g (float[N, 4] x) => (float[N, 3] y, float[N, 3] z) {
        y = Gemm(x, w)
        u = Tanh(x)
        z = Gemm<alpha = -1.0>(u, w)
    }"""
    )
    model = make(text, {"w": (4, 3)})
    feeds = draw(model)
    for found, expected in zip(run(quantize(model, CHAIN), feeds), run(model, feeds), strict=True):
        assert measure_sqnr(expected, found) > 30
    same = make(text.replace("<alpha = -1.0>", ""), {"w": (4, 3)})
    assert sum(value.dtype is ir.DataType.INT8 for value in quantize(same, LOOSE).graph.initializers.values()) == 2


def test_transposed_convolutions_are_quantized_where_the_dialect_lists_them() -> None:
    text = (
        HEADER
        + """g (float[N, 4, 5, 5] x) => (float[N, 6, 10, 10] y) {
        a = ConvTranspose<kernel_shape = [2, 2], strides = [2, 2], group = 2>(x, w, b)
        r = Relu(a)
        y = Conv(r, v)
    }"""
    )
    model = make(text, {"w": (4, 3, 2, 2), "b": (6,), "v": (6, 6, 1, 1)})
    assert "x" not in list_paired(quantize(model, CHAIN))
    feeds = draw(model)
    for integer_bias in (False, True):
        dialect = IntegerDialect(
            IntegerFormat.U8, symmetric=False, integer_bias=integer_bias, chain_operators=frozenset({"ConvTranspose"})
        )
        result = quantize(model, Scheme(dialect, Placement.CHAIN, RangeMethod.MIN_MAX))
        assert "x" in list_paired(result)
        assert constant(result, "w_scale").shape == (3,)
        assert measure_sqnr(run(model, feeds)[0], run(result, feeds)[0]) > 30


CONCAT = (
    HEADER
    + """g (float[N, 4, 4, 4] x) => (float[N, 4, 4, 4] y) {
    a = Conv(x, w1)
    b = Conv(x, w2)
    c = Concat<axis = 1>(a, b)
    y = Conv(c, w3)
}"""
)
CONCAT_SHAPES = {"w1": (4, 4, 1, 1), "w2": (4, 4, 1, 1), "w3": (4, 8, 1, 1)}


@pytest.mark.parametrize(("high", "operator"), [(7.0, "DequantizeLinear"), (9.0, "DequantizeLinear")])
def test_a_concat_of_uneven_ranges_keeps_scales_apart(high: float, operator: str) -> None:
    model = make(CONCAT, CONCAT_SHAPES)
    ranges = dict.fromkeys(list_quantized(model, CHAIN), TensorRange(-1.0, 1.0)) | {"b": TensorRange(-high, high)}
    result = insert_qdq(model, CHAIN, ranges)
    concat = next(node for node in result.graph if node.op_type == "Concat")
    assert {value.producer().op_type for value in concat.inputs if value is not None} == {operator}
    assert "c" in list_paired(result)


def test_an_uneven_concat_does_not_carry_its_movers_along() -> None:
    text = CONCAT.replace("y = Conv(c, w3)", "t = Transpose<perm = [0, 1, 3, 2]>(c) y = Conv(t, w3)")
    model = make(text, CONCAT_SHAPES)
    needed = list_quantized(model, LOOSE)
    even = dict.fromkeys(needed, TensorRange(-1.0, 1.0))
    assert "c" in list_paired(insert_qdq(model, LOOSE, even))
    assert "c" not in list_paired(insert_qdq(model, LOOSE, even | {"b": TensorRange(-9, 9)}))


def test_a_convolution_at_the_output_is_quantized_behind_where_integers_are_written() -> None:
    text = HEADER + "g (float[N, 4, 4, 4] x) => (float[N, 4, 4, 4] y) { y = Conv(x, w) }"
    model = make(text, {"w": (4, 4, 1, 1)})
    tight, loose = quantize(model, CHAIN), quantize(model, LOOSE)
    assert [value.name for value in tight.graph.outputs] == ["y"]
    assert tight.graph.outputs[0].producer().op_type == "DequantizeLinear"
    assert loose.graph.outputs[0].producer().op_type == "Conv"
    feeds = draw(model)
    assert measure_sqnr(run(model, feeds)[0], run(tight, feeds)[0]) > 30


def test_links_that_integers_do_not_reach_or_leave_stay_in_floats() -> None:
    text = f"""{HEADER} g (float[N, 4, 4, 4] x, float[N, 4, 4, 4] z) => (float[N, 4, 4, 4] y) {{
        a = Add(x, z)
        b = Conv(a, w)
        y = Add(b, z)
    }}"""
    assert list_paired(quantize(make(text, {"w": (4, 4, 1, 1)}), LOOSE)) == {"a"}


def test_a_link_takes_in_the_floats_that_meet_its_integers() -> None:
    text = f"""{HEADER} g (float[N, 4, 4, 4] x, float[N, 4, 4, 4] z) => (float[N, 4, 4, 4] y) {{
        a = Conv(x, w)
        t = Tanh(z)
        s = Mul(a, t)
        y = Conv(s, w)
    }}"""
    assert list_paired(quantize(make(text, {"w": (4, 4, 1, 1)}), LOOSE)) == {"x", "a", "t", "s"}


def test_scalar_constants_of_links_are_exact() -> None:
    text = (
        HEADER
        + """g (float[N, 4, 4, 4] x) => (float[N, 4, 4, 4] y) <float c = {-0.37}> {
        a = Conv(x, w1)
        r = Relu(a)
        b = Mul(r, c)
        y = Conv(b, w2)
    }"""
    )
    model = make(text, {"w1": (4, 4, 1, 1), "w2": (4, 4, 1, 1)})
    result = quantize(model, CHAIN)
    value = (constant(result, "c_quantized").astype(int) - int(constant(result, "c_zero_point"))) * constant(
        result, "c_scale"
    )
    assert value == pytest.approx(-0.37, rel=1e-6)
    feeds = draw(model)
    assert measure_sqnr(run(model, feeds)[0], run(result, feeds)[0]) > 30


def test_subgraphs_are_left_alone() -> None:
    text = (
        HEADER
        + """g (float[N, 4, 4, 4] x, bool c) => (float[N, 4, 4, 4] y) {
        a = Conv(x, w1)
        y = If(c) <then_branch = t () => (float[N, 4, 4, 4] u) { u = Conv(a, w1) },
                   else_branch = e () => (float[N, 4, 4, 4] v) { v = Exp(a) }>
    }"""
    )
    model = make(text, {"w1": (4, 4, 1, 1)})
    feeds = {"x": draw_array(), "c": np.ones((), bool)}
    ranges = dict.fromkeys(list_quantized(model, CHAIN), TensorRange(-9.0, 9.0))
    result = insert_qdq(model, CHAIN, ranges)
    assert measure_sqnr(run(model, feeds)[0], run(result, feeds)[0]) > 20
    inner = [node for graph in result.graph.subgraphs() for node in graph]
    assert sorted(node.op_type for node in inner) == ["Conv", "Exp"]
    assert {node.inputs[0].name for node in inner if node.inputs[0] is not None} == {"a"}


def draw_array() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((2, 4, 4, 4)).astype(np.float32)


def test_a_model_with_pairs_of_its_own_keeps_them() -> None:
    text = (
        HEADER
        + """g (float[N, 4] x) => (float[N, 3] y) <float s = {0.1}, uint8 z = {128}> {
        q = QuantizeLinear(x, s, z)
        d = DequantizeLinear(q, s, z)
        y = MatMul(d, w)
    }"""
    )
    model = make(text, {"w": (4, 3)})
    assert list_quantized(model, CHAIN) == frozenset()


def test_new_names_give_way_to_those_of_the_model() -> None:
    text = (
        HEADER
        + """g (float[N, 4] x) => (float[N, 3] y) {
        x_scale = Tanh(x)
        [x_QuantizeLinear] y = MatMul(x_scale, w)
    }"""
    )
    model = make(text, {"w": (4, 3)})
    result = quantize(model, CHAIN)
    names = [value.name for node in result.graph for value in node.outputs] + list(result.graph.initializers)
    assert len(names) == len(set(names))


def test_a_tensor_without_a_range_is_named() -> None:
    with pytest.raises(ModelError, match="'x' has no range"):
        insert_qdq(make(RESIDUAL, RESIDUAL_SHAPES), CHAIN, {})


def test_an_opset_without_channel_scales_is_refused() -> None:
    model = fill(RESIDUAL.replace('"": 17', '"": 12'), np.random.default_rng(0), **RESIDUAL_SHAPES)
    with pytest.raises(ModelError, match="opset 12"):
        insert_qdq(model, CHAIN, {})


@pytest.mark.parametrize("dialect", [U8S8, S8S8])
def test_dead_channels_keep_their_bias(dialect: IntegerDialect) -> None:
    text = HEADER + "g (float[N, 2, 4, 4] x) => (float[N, 3, 4, 4] y) { a = Conv(x, w, b) y = Conv(a, v) }"
    model = fill(text, np.random.default_rng(0), w=(3, 2, 1, 1), v=(3, 3, 1, 1))
    weight = model.graph.initializers["w"]
    assert weight.const_value is not None
    values = weight.const_value.numpy().copy()
    values[0], values[1] = 0.0, 1e-20
    weight.const_value = ir.tensor(values, name="w")
    bias = ir.tensor(np.float32([0.7, -0.9, 0.1]), name="b")
    added = model.graph.initializers.get("b") or ir.Value(name="b", const_value=bias)
    for node in model.graph:
        if node.outputs[0].name == "a":
            added = node.inputs[2] or added
    added.const_value, added.type, added.shape = bias, ir.TensorType(ir.DataType.FLOAT), ir.Shape((3,))
    if "b" not in model.graph.initializers:
        model.graph.register_initializer(added)
    model = prepare(model)
    feeds = draw(model)
    scheme = Scheme(dialect, Placement.OPERANDS, RangeMethod.MIN_MAX)
    result = insert_qdq(model, scheme, solve(model, scheme, feeds))
    assert measure_sqnr(run(model, feeds)[0], run(result, feeds)[0]) > 30
