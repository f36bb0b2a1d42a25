from __future__ import annotations

import collections
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graph_samples import HEADER, fill, run

from assay.core.errors import ModelError
from assay.graph.ingest import load_model
from assay.graph.prepare import is_worth_folding, prepare

EXAMPLES = Path(__file__).parents[3] / "examples" / "fashion"
BN = "BatchNormalization"


def operators(model: ir.Model) -> dict[str, int]:
    return dict(collections.Counter(node.op_type for node in model.graph))


def names(model: ir.Model) -> list[str | None]:
    return [node.name for node in model.graph.all_nodes()]


def check_same(model: ir.Model, feeds: dict[str, np.ndarray], rtol: float = 2e-6) -> ir.Model:
    """Prepare, and compare with the original: the outputs, the interface, the names, the original itself."""
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    prepared = prepare(model)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
    onnx.checker.check_model(ir.to_proto(prepared), full_check=True)
    given = [value.name for value in model.graph.inputs if value.name not in model.graph.initializers]
    assert [value.name for value in prepared.graph.inputs] == given
    assert [value.name for value in prepared.graph.outputs] == [value.name for value in model.graph.outputs]
    assert all(names(prepared))
    assert len(set(names(prepared))) == len(names(prepared))
    assert not any(node.domain for node in prepared.graph.all_nodes())
    for wanted, got in zip(run(model, feeds), run(prepared, feeds), strict=True):
        assert got.dtype == wanted.dtype
        assert got.shape == wanted.shape
        scale = float(np.abs(wanted.astype(np.float64)).max(initial=1e-3))
        np.testing.assert_allclose(got.astype(np.float64), wanted.astype(np.float64), rtol=0, atol=rtol * scale)
    return prepared


def image(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def stats(prefix: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}{prefix}": (channels,) for name in ("gamma", "beta", "mean", "var")}


def norm(output: str, data: str, prefix: str, attributes: str = "") -> str:
    return f"{output} = {BN}{attributes}({data}, gamma{prefix}, beta{prefix}, mean{prefix}, var{prefix})"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def test_a_residual_net_loses_its_batch_norms(rng: np.random.Generator) -> None:
    text = f"""g (float[N, 3, 8, 8] x) => (float[N, 5] y) {{
        [first] a = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, w1)
        {norm("b", "a", "1")} c = Relu(b)
        [depth] d = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 6>(c, w2, bias2)
        {norm("e", "d", "2", "<epsilon = 0.01>")} f = Add(c, e)
        p = GlobalAveragePool(f) q = Flatten(p)
        [head] h = Gemm<transB = 1, alpha = 0.5, beta = 2.0>(q, w3, bias3) {norm("y", "h", "3")} }}"""
    shapes = {"w1": (6, 3, 3, 3), "w2": (6, 1, 3, 3), "bias2": (6,), "w3": (5, 6), "bias3": (5,)}
    model = fill(HEADER + text, rng, **shapes, **stats("1", 6), **stats("2", 6), **stats("3", 5))
    prepared = check_same(model, {"x": image(rng, 2, 3, 8, 8)})
    assert operators(prepared) == {"Conv": 2, "Relu": 1, "Add": 1, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}
    assert {"first", "depth", "head"} <= set(names(prepared))
    assert {"b", "e", "y"} <= {value.name for node in prepared.graph for value in node.outputs}
    assert str(prepared.graph.outputs[0].shape) == "[N,5]"
    assert not [name for name in prepared.graph.initializers if name.startswith(("gamma", "var"))]


@pytest.mark.parametrize(
    ("body", "shapes"),
    [
        ("a = ConvTranspose<strides = [2, 2]>(x, w)", {"w": (4, 3, 2, 2)}),
        ("a = ConvTranspose<group = 2>(x, w, bias)", {"w": (4, 3, 2, 2), "bias": (6,)}),
        ("a = Conv<group = 2, strides = [2, 1]>(x, w)", {"w": (6, 2, 3, 3)}),
        ("a = Conv(x, w, bias)", {"w": (1, 4, 1, 1), "bias": (1,)}),
    ],
)
def test_batch_norm_folds_into_every_kind_of_convolution(
    rng: np.random.Generator, body: str, shapes: dict[str, tuple[int, ...]]
) -> None:
    group = 2 if "group" in body else 1
    channels = shapes["w"][1] * group if "Transpose" in body else shapes["w"][0]
    text = HEADER + f"g (float[N, 4, 6, 6] x) => (float y) {{ {body} {norm('y', 'a', '')} }}"
    model = fill(text, rng, **shapes, **stats("", channels))
    model.graph.outputs[0].shape = None
    assert list(operators(check_same(model, {"x": image(rng, 2, 4, 6, 6)}))) == [
        body.split()[2].split("<", maxsplit=1)[0].split("(", maxsplit=1)[0]
    ]


@pytest.mark.parametrize("bias", [(5,), (1, 5), (1,), (), (2, 5), (2, 1)])
@pytest.mark.parametrize("transposed", [0, 1])
def test_batch_norm_after_gemm_keeps_every_shape_of_bias(
    rng: np.random.Generator, bias: tuple[int, ...], transposed: int
) -> None:
    text = f"g (float[2, 3] x) => (float[2, 5] y) {{ a = Gemm<transB = {transposed}>(x, w, c) {norm('y', 'a', '')} }}"
    weight = (5, 3) if transposed else (3, 5)
    prepared = check_same(fill(HEADER + text, rng, w=weight, c=bias, **stats("", 5)), {"x": image(rng, 2, 3)})
    assert (BN in operators(prepared)) == (bias[:1] == (2,))


@pytest.mark.parametrize(
    ("tail", "shape", "folds"),
    [
        ("y = Mul(a, k)", (1, 6, 1, 1), True),
        ("y = Mul(k, a)", (6, 1, 1), True),
        ("y = Add(a, k)", (1, 6, 1, 1), True),
        ("y = Add(k, a)", (), True),
        ("y = Sub(a, k)", (6, 1, 1), True),
        ("y = Sub(k, a)", (6, 1, 1), False),
        ("y = Mul(a, k)", (6,), False),
        ("y = Add(a, k)", (1, 1, 6, 6), False),
        ("y = Add(a, k)", (2, 6, 1, 1), False),
        ("y = Mul(a, k)", (1, 1, 6, 1, 1), False),
    ],
)
def test_affine_constants_fold_like_batch_norms(
    rng: np.random.Generator, tail: str, shape: tuple[int, ...], *, folds: bool
) -> None:
    text = HEADER + f"g (float[2, 4, 6, 6] x) => (float y) {{ a = Conv(x, w, c) {tail} }}"
    model = fill(text, rng, w=(6, 4, 1, 1), c=(6,), k=shape)
    model.graph.outputs[0].shape = None
    assert (operators(check_same(model, {"x": image(rng, 2, 4, 6, 6)})) == {"Conv": 1}) == folds


@pytest.mark.parametrize(
    "body",
    [
        f"a = Conv(x, w) {norm('b', 'a', '')} y = Add(a, b)",
        f"y = Conv(x, w) {norm('z', 'y', '')}",
        f"a = Conv(x, w) y, m, v = {BN}<training_mode = 1>(a, gamma, beta, mean, var)",
        f"a = Conv(x, w) y = {BN}(a, gamma, beta, mean, varx) varx = Relu(e)",
        f"v = Mul(w, e) a = Conv(x, v) {norm('y', 'a', '')}",
    ],
)
def test_what_cannot_be_folded_stays(rng: np.random.Generator, body: str) -> None:
    outputs = "float y, float z" if "z =" in body else "float y"
    text = HEADER + f"g (float[2, 4, 6, 6] x, float[6] e) => ({outputs}) {{ {body} }}"
    if "w, e" in body:
        text = text.replace("float[6] e", "float[6, 1, 1, 1] e")
    if "varx = " in body:
        text = text.replace(f"y = {BN}", f"varx = Relu(e) y = {BN}").replace(" varx = Relu(e) }", " }")
    model = fill(text, rng, w=(6, 4, 1, 1), **stats("", 6))
    for value in model.graph.outputs:
        value.shape = None
    shape = model.graph.inputs[1].shape
    assert shape is not None
    feeds = {"x": image(rng, 2, 4, 6, 6), "e": np.abs(image(rng, *shape.numpy()))}
    assert operators(check_same(model, feeds))[BN] == 1


def test_weights_that_two_nodes_share_are_folded_apart(rng: np.random.Generator) -> None:
    text = f"""g (float[2, 4, 6, 6] x) => (float[2, 6, 6, 6] y) {{
        a = Conv(x, w) {norm("b", "a", "1")} c = Neg(x) d = Conv(c, w) {norm("e", "d", "2")} f = Conv(x, w)
        g = Add(b, e) y = Add(f, g) }}"""
    model = fill(HEADER + text, rng, w=(6, 4, 1, 1), **stats("1", 6), **stats("2", 6))
    prepared = check_same(model, {"x": image(rng, 2, 4, 6, 6)})
    assert operators(prepared) == {"Conv": 3, "Neg": 1, "Add": 2}
    weights = [name for name, value in prepared.graph.initializers.items() if value.shape == (6, 4, 1, 1)]
    assert len(weights) == 3


def test_chained_affine_nodes_fold_one_after_the_other(rng: np.random.Generator) -> None:
    body = f"a = Conv(x, w) b = Mul(a, k) c = Add(b, l) {norm('y', 'c', '')}"
    text = f"g (float[2, 4, 6, 6] x) => (float[2, 6, 6, 6] y) {{ {body} }}"
    model = fill(HEADER + text, rng, w=(6, 4, 1, 1), k=(6, 1, 1), l=(1, 6, 1, 1), **stats("", 6))
    assert operators(check_same(model, {"x": image(rng, 2, 4, 6, 6)})) == {"Conv": 1}


def test_float16_models_fold_too(rng: np.random.Generator) -> None:
    text = f"g (float16[2, 4, 6, 6] x) => (float16[2, 6, 6, 6] y) {{ a = Conv(x, w) {norm('y', 'a', '')} }}"
    model = fill(HEADER + text, rng, w=(6, 4, 1, 1), **stats("", 6))
    for value in model.graph.initializers.values():
        assert value.const_value is not None
        value.const_value = ir.tensor(value.const_value.numpy().astype(np.float16), name=value.name)
        value.dtype = ir.DataType.FLOAT16
    prepared = check_same(model, {"x": image(rng, 2, 4, 6, 6).astype(np.float16)}, rtol=4e-3)
    assert operators(prepared) == {"Conv": 1}


def test_a_transformer_block_keeps_its_dynamic_axes(rng: np.random.Generator) -> None:
    text = """g (float[N, T, 8] x, int64[N, T] ids) => (float[N, T, 8] y) <float root = {2.0}, int64[1] minus = {-1},
          int64[1] heads = {2}, int64[1] width = {4}, int64[1] model = {8}, int64 zero = {0}, int64 one = {1},
          int64[1] axis = {0}> {
        e = Gather(table, ids) x1 = Add(x, e)
        n = LayerNormalization<axis = -1>(x1, scale, shift)
        s = Shape(n) b0 = Gather(s, zero) t0 = Gather(s, one) b = Unsqueeze(b0, axis) t = Unsqueeze(t0, axis)
        split = Concat<axis = 0>(b, t, heads, width)
        q0 = MatMul(n, wq) q1 = Add(q0, bq) q2 = Reshape(q1, split) q = Transpose<perm = [0, 2, 1, 3]>(q2)
        k0 = MatMul(n, wk) k1 = Reshape(k0, split) k = Transpose<perm = [0, 2, 3, 1]>(k1)
        v0 = MatMul(n, wv) v1 = Reshape(v0, split) v = Transpose<perm = [0, 2, 1, 3]>(v1)
        a0 = MatMul(q, k) a1 = Div(a0, root) a2 = Softmax<axis = -1>(a1) a3 = MatMul(a2, v)
        a4 = Transpose<perm = [0, 2, 1, 3]>(a3) join = Concat<axis = 0>(b, t, model) a5 = Reshape(a4, join)
        flat = Concat<axis = 0>(minus, model) z0 = Reshape(a5, flat) z1 = Gemm(z0, wo, bo) z2 = Reshape(z1, join)
        y = Add(x1, z2) }"""
    shapes = dict.fromkeys(("wq", "wk", "wv", "wo"), (8, 8)) | dict.fromkeys(("bq", "bo", "scale", "shift"), (8,))
    model = fill(HEADER + text, rng, table=(11, 8), **shapes)
    for items, length in ((2, 5), (3, 7), (1, 1)):
        feeds = {"x": image(rng, items, length, 8), "ids": rng.integers(0, 11, (items, length))}
        prepared = check_same(model, feeds)
    assert str(prepared.graph.outputs[0].shape) == "[N,T,8]"
    assert operators(prepared)["MatMul"] == 5
    assert operators(prepared)["Concat"] == 2


def test_constants_fold_and_become_initializers(rng: np.random.Generator) -> None:
    text = """g (float[N, 6] x) => (float[N, 4] y) {
        one = Constant<value_float = 1.0>() two = Add(one, one) shape = Constant<value_ints = [6, 4]>()
        w1 = Reshape(w, shape) w2 = Mul(w1, two) a = MatMul(x, w2) y = Relu(a) }"""
    prepared = check_same(fill(HEADER + text, rng, w=(24,)), {"x": image(rng, 3, 6)})
    assert operators(prepared) == {"MatMul": 1, "Relu": 1}
    assert len(prepared.graph.initializers) == 1


def test_large_constants_are_not_spread_out(rng: np.random.Generator) -> None:
    text = """g (float[1000, 1000] x) => (float[1000, 1000] y) {
        shape = Constant<value_ints = [1000, 1000]>() zeros = ConstantOfShape(shape) ones = Expand(w, shape)
        tiles = Tile(w, shape) a = Add(x, zeros) b = Add(a, ones) y = Add(b, tiles) }"""
    prepared = prepare(fill(HEADER + text, rng, w=(1, 1)))
    assert sum(v.const_value.nbytes for v in prepared.graph.initializers.values() if v.const_value) < 1000
    check_same(fill(HEADER + text, rng, w=(1, 1)), {"x": image(rng, 1000, 1000)})


def test_growing_constants_are_not_even_computed(rng: np.random.Generator) -> None:
    text = "g () => (float y, float z) <int64[2] big = {1000000, 1000000}, int64[2] few = {2, 3}> "
    model = fill(HEADER + text + "{ y = Expand(w, big) z = Expand(w, few) }", rng, w=(1, 1))
    for value in model.graph.outputs:
        value.shape = None
    ir.passes.common.ShapeInferencePass(strict_mode=False)(model)
    assert [is_worth_folding(node) for node in model.graph] == [False, True]


def test_a_weight_used_twice_is_not_doubled_by_folding_its_transpose(rng: np.random.Generator) -> None:
    text = "g (int64[N] ids) => (float[N, 400] y) { e = Gather(table, ids) t = Transpose(table) y = MatMul(e, t) }"
    model = fill(HEADER + text, rng, table=(400, 700))
    prepared = check_same(model, {"ids": np.arange(3)})
    assert operators(prepared)["Transpose"] == 1


def test_a_large_weight_behind_a_transpose_or_cast_becomes_a_weight(rng: np.random.Generator) -> None:
    text = "g (float[N, 700] x) => (float[N, 400] y) { c = Cast<to = 1>(w) t = Transpose(c) y = MatMul(x, t) }"
    model = fill(HEADER + text, rng, w=(400, 700))
    weight = model.graph.initializers["w"]
    assert weight.const_value is not None
    weight.const_value = ir.tensor(weight.const_value.numpy().astype(np.float16), name="w")
    weight.dtype = ir.DataType.FLOAT16
    assert operators(check_same(model, {"x": image(rng, 2, 700)})) == {"MatMul": 1}


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("a = Identity(x) y = Relu(a)", ["Relu"]),
        ("a = Relu(x) y = Identity(a)", ["Relu"]),
        ("y = Identity(x)", ["Identity"]),
        ("a = Relu(x) b = Identity(a) c = Identity(b) y = Identity(c)", ["Relu"]),
        ("a = Dropout(x) y = Relu(a)", ["Relu"]),
        ("r = Constant<value_float = 0.5>() a, m = Dropout(x, r) y = Relu(a)", ["Relu"]),
        (
            "r = Constant<value_float = 0.5>() t = Constant<value = bool {0}>() a = Dropout(x, r, t) y = Relu(a)",
            ["Relu"],
        ),
        ("a = Relu(x) y = Dropout(a)", ["Relu"]),
        ("dead = Exp(x) y = Relu(x)", ["Relu"]),
        ("a = Cast<to = 1>(x) y = Relu(a)", ["Relu"]),
    ],
)
def test_nodes_that_do_nothing_go(rng: np.random.Generator, body: str, left: list[str]) -> None:
    model = fill(HEADER + f"g (float[N, 3] x) => (float[N, 3] y) {{ {body} }}", rng)
    assert list(operators(check_same(model, {"x": image(rng, 2, 3)}))) == left


def test_an_identity_between_two_outputs_keeps_both(rng: np.random.Generator) -> None:
    text = "g (float[N, 3] x) => (float[N, 3] y, float[N, 3] z) { y = Relu(x) z = Identity(y) }"
    check_same(fill(HEADER + text, rng), {"x": image(rng, 2, 3)})


def test_a_constant_output_stays_an_output(rng: np.random.Generator) -> None:
    text = "g (float[N, 3] x) => (float[N, 3] y, float[2] z) "
    text += "{ y = Relu(x) c = Constant<value_floats = [1.0, 2.0]>() z = Neg(c) }"
    check_same(fill(HEADER + text, rng), {"x": image(rng, 2, 3)})


def test_padding_goes_into_the_convolution(rng: np.random.Generator) -> None:
    text = """g (float[N, 4, 6, 6] x) => (float[N, 6, 5, 8] y) <int64[8] p = {0, 0, 0, 1, 0, 0, 1, 3}> {
        a = Pad(x, p) [conv] y = Conv<kernel_shape = [3, 3], pads = [0, 0, 0, 0]>(a, w) }"""
    prepared = check_same(fill(HEADER + text, rng, w=(6, 4, 3, 3)), {"x": image(rng, 2, 4, 6, 6)})
    assert operators(prepared) == {"Conv": 1}
    assert names(prepared) == ["conv"]


def test_quantize_and_dequantize_stay(rng: np.random.Generator) -> None:
    text = """g (float[N, 4] x) => (float[N, 3] y) <float s = {0.05}, uint8 z = {128}, int8 wz = {0}> {
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
        wq = QuantizeLinear(w, s, wz) wd = DequantizeLinear(wq, s, wz) y = MatMul(d, wd) }"""
    prepared = check_same(fill(HEADER + text, rng, w=(4, 3)), {"x": image(rng, 2, 4)})
    assert operators(prepared) == {"QuantizeLinear": 2, "DequantizeLinear": 2, "MatMul": 1}


def test_graphs_inside_nodes_are_prepared_too(rng: np.random.Generator) -> None:
    text = f"""g (float[2, 4, 6, 6] x, bool c) => (float[2, 6, 6, 6] y) {{
        outer = Relu(x)
        y = If(c) <then_branch = t () => (float[2, 6, 6, 6] p) {{
                       a = Conv(outer, w) {norm("b", "a", "")} p = Identity(b) }},
                   else_branch = e () => (float[2, 6, 6, 6] q) {{ k = Constant<value_float = 2.0>() d = Conv(outer, w)
                       q = Mul(d, k) }}> }}"""
    model = fill(HEADER + text, rng, w=(6, 4, 1, 1), **stats("", 6))
    for choice in (True, False):
        prepared = check_same(model, {"x": image(rng, 2, 4, 6, 6), "c": np.array(choice)})
    assert BN not in {node.op_type for node in prepared.graph.all_nodes()}


def test_a_branch_that_hands_on_an_outer_value_keeps_its_identity(rng: np.random.Generator) -> None:
    text = """g (float[N, 3] x, bool c) => (float[N, 3] y) { outer = Relu(x)
        y = If(c) <then_branch = t () => (float[N, 3] p) { p = Identity(outer) },
                   else_branch = e () => (float[N, 3] q) { q = Neg(outer) }> }"""
    for choice in (True, False):
        check_same(fill(HEADER + text, rng), {"x": image(rng, 2, 3), "c": np.array(choice)})


def test_a_loop_keeps_what_it_computes(rng: np.random.Generator) -> None:
    text = """g (float[3] x, int64 n) => (float[3] y, float[K, 3] trace) <bool go = {1}> {
        y, trace = Loop(n, go, x) <body = b (int64 i, bool keep, float[3] s) => (bool more, float[3] r, float[3] out) {
            two = Constant<value_float = 2.0>() one = Constant<value_float = 1.0>() k = Add(two, one)
            more = Identity(keep) r = Mul(s, k) out = Identity(r) }> }"""
    check_same(fill(HEADER + text, rng), {"x": image(rng, 3), "n": np.array(4)})


def test_functions_of_the_model_are_inlined(rng: np.random.Generator) -> None:
    text = '<ir_version: 8, opset_import: ["": 17, "acme": 1]> g (float[N, 3] x) => (float[N, 3] y)'
    text += "{ [one] a = acme.twice(x) [two] y = acme.twice(a) }"
    text += (
        '<domain: "acme", opset_import: ["": 17]> twice (a) => (b) { c = Constant<value_float = 2.0>() b = Mul(a, c) }'
    )
    prepared = check_same(fill(text, rng), {"x": image(rng, 2, 3)})
    assert operators(prepared) == {"Mul": 2}
    assert not prepared.functions
    assert list(prepared.opset_imports) == [""]


def test_contrib_operators_stay_as_they_are(rng: np.random.Generator) -> None:
    text = '<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]> g (float[N, 3] x) => (float[N, 3] y)'
    model = fill(text + "{ a = com.microsoft.Gelu(x) b = Identity(a) y = Relu(b) }", rng)
    prepared = prepare(model)
    assert [(node.domain, node.op_type) for node in prepared.graph] == [("com.microsoft", "Gelu"), ("", "Relu")]
    feeds = {"x": image(rng, 2, 3)}
    np.testing.assert_array_equal(run(prepared, feeds)[0], run(model, feeds)[0])


def test_names_are_kept_and_made_unique(rng: np.random.Generator) -> None:
    body = "[Relu_1] a = Relu(x) [same] b = Neg(a) [same] c = Exp(b) d = Relu(c) y = Abs(d)"
    model = fill(HEADER + f"g (float[N] x) => (float[N] y) {{ {body} }}", rng)
    prepared = prepare(model)
    assert names(prepared) == ["Relu_1", "same", "same_1", "Relu_2", "Abs_1"]
    assert names(model) == ["Relu_1", "same", "same", "", ""]


def test_preparing_twice_changes_nothing_more(rng: np.random.Generator) -> None:
    text = f"g (float[2, 4, 6, 6] x) => (float[2, 6, 6, 6] y) {{ a = Conv(x, w) {norm('b', 'a', '')} y = Relu(b) }}"
    once = prepare(fill(HEADER + text, rng, w=(6, 4, 1, 1), **stats("", 6)))
    assert ir.to_proto(prepare(once)).SerializeToString() == ir.to_proto(once).SerializeToString()


def test_a_function_that_calls_itself_is_refused(rng: np.random.Generator) -> None:
    text = '<ir_version: 8, opset_import: ["": 17, "acme": 1]> g (float[N] x) => (float[N] y) { y = acme.f(x) }'
    text += '<domain: "acme", opset_import: ["": 17, "acme": 1]> f (a) => (b) { c = acme.f(a) b = Neg(c) }'
    with pytest.raises(ModelError):
        prepare(fill(text, rng))


def test_weights_are_shared_not_copied(rng: np.random.Generator) -> None:
    layers = 8
    body = " ".join(f"m{i} = MatMul(r{i - 1}, w{i}) r{i} = Relu(m{i})" for i in range(1, layers))
    text = f"g (float[N, 150] x) => (float[N, 150] r{layers - 1}) {{ r0 = Relu(x) {body} }}"
    model = fill(HEADER + text, rng, **{f"w{i}": (150, 150) for i in range(1, layers)})
    prepared = prepare(model)
    for name, value in prepared.graph.initializers.items():
        assert value.const_value is model.graph.initializers[name].const_value


@pytest.mark.parametrize("name", ["residual.onnx", "separable.onnx"])
def test_the_bundled_networks_compute_the_same(rng: np.random.Generator, name: str) -> None:
    if not (EXAMPLES / name).exists():
        pytest.skip("the example's networks are not in this checkout")
    check_same(load_model(EXAMPLES / name), {"image": image(rng, 3, 1, 28, 28)})
