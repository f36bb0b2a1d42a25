from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from graph_samples import HEADER, fill

from assay.core.errors import RequestError
from assay.graph.arithmetic import count_macs, count_macs_at
from assay.graph.prepare import prepare


def count(text: str, shapes: dict[str, tuple[int, ...]], **arguments: object) -> dict[str, int]:
    model = fill(HEADER + text, np.random.default_rng(0), **shapes)
    return dict(count_macs(model, **arguments))  # type: ignore[arg-type]  # passed on as given


@pytest.mark.parametrize(
    ("body", "shapes", "macs"),
    [
        ("[n] y = Conv<pads = [1, 1, 1, 1]>(x, w)", {"w": (16, 8, 3, 3)}, 16 * 6 * 6 * 8 * 9),
        ("[n] y = Conv<group = 8, strides = [2, 2]>(x, w)", {"w": (8, 1, 2, 2)}, 8 * 3 * 3 * 4),
        ("[n] y = ConvTranspose<strides = [2, 2]>(x, w)", {"w": (8, 5, 2, 2)}, 8 * 6 * 6 * 5 * 4),
        ("[n] y = MatMul(x, w)", {"w": (6, 10)}, 8 * 6 * 6 * 10),
        ("[n] y = MatMul(x, w)", {"w": (6,)}, 8 * 6 * 6),
        ("[n] y = MatMul(x, x)", {}, 8 * 6 * 6 * 6),
        ('[n] y = Einsum<equation = "nchw, kw -> nchk">(x, w)', {"w": (10, 6)}, 8 * 6 * 6 * 10),
        ("f = Flatten(x) [n] y = Gemm(f, w)", {"w": (288, 10)}, 288 * 10),
        ("f = Flatten(x) [n] y = Gemm<transB = 1>(f, w)", {"w": (10, 288)}, 288 * 10),
        ("f = Flatten(x) t = Transpose(f) [n] y = Gemm<transA = 1>(t, w)", {"w": (288, 10)}, 288 * 10),
        ("q, s, z = DynamicQuantizeLinear(x) [n] y = MatMulInteger(q, q)", {}, 8 * 6 * 6 * 6),
    ],
)
@pytest.mark.parametrize("batch", [1, 7])
def test_macs_per_operator(body: str, shapes: dict[str, tuple[int, ...]], macs: int, batch: int) -> None:
    text = f"g (float[N, 8, 6, 6] x) => (float y) {{ {body} }}"
    assert count(text, shapes, batch=batch) == {"n": macs * batch}


@pytest.mark.parametrize(("operator", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_macs_of_recurrent_layers(operator: str, gates: int) -> None:
    body = f'[n] y = {operator}<hidden_size = 6, direction = "bidirectional">(x, w, r)'
    text = f"g (float[T, N, 5] x) => (float y) {{ {body} }}"
    shapes = {"w": (2, gates * 6, 5), "r": (2, gates * 6, 6)}
    macs = 9 * 3 * 2 * gates * 6 * (5 + 6)
    assert count(text, shapes, batch=9, dims={"N": 3}) == {"n": macs}


ATTENTION = """g (float[N, T, 8] x, float[N, ?, 8] m) => (float y) <int64[4] split = {0, 0, 2, 4}, int64 one = {1},
      int64[1] zero = {0}, int64[2] tail = {2, 4}> {
    [q] q0 = MatMul(x, w) q1 = Reshape(q0, split) q = Transpose<perm = [0, 2, 1, 3]>(q1)
    s = Shape(m) lead = Slice(s, zero, two) dims = Concat<axis = 0>(lead, tail)
    k0 = Reshape(m, dims) k = Transpose<perm = [0, 2, 3, 1]>(k0) [qk] y = MatMul(q, k) }"""


def test_dynamic_axes_are_bound_through_computed_shapes() -> None:
    text = ATTENTION.replace("int64[2] tail", "int64[1] two = {2}, int64[2] tail")
    expected = {"q": 2 * 5 * 8 * 8, "qk": 2 * 2 * 5 * 9 * 4}
    model = fill(HEADER + text, np.random.default_rng(0), w=(8, 8))
    assert count_macs(model, 2, {"T": 5, "m.1": 9}) == expected
    assert count_macs_at(model, {"x": (2, 5, 8), "m": (2, 9, 8)}) == expected
    assert count_macs(prepare(model), 2, {"T": 5, "m.1": 9}) == expected
    assert str(model.graph.inputs[0].shape) == "[N,T,8]"


def test_an_axis_without_a_size_is_named() -> None:
    model = fill(HEADER + "g (float[N, T] x) => (float[N, T] y) { y = Relu(x) }", np.random.default_rng(0))
    with pytest.raises(RequestError, match="axis 1 \\('T'\\) of input 'x'"):
        count_macs(model)


def test_a_named_size_goes_before_the_batch() -> None:
    text = "g (float[N, 4] x) => (float y) { [n] y = MatMul(x, w) }"
    assert count(text, {"w": (4, 3)}, batch=9, dims={"N": 2}) == {"n": 24}


def test_shapes_that_depend_on_data_are_left_out() -> None:
    body = "i = NonZero(x) f = Cast<to = 1>(i) [n] y = Gemm<transB = 1>(f, f) [m] z = Gemm<transB = 1>(x, x)"
    text = f"g (float[N, 4] x) => (float y) {{ {body} }}"
    assert count(text, {}, batch=3) == {"m": 36}


def test_counting_leaves_the_model_alone() -> None:
    text = "g (float[N, 4] x) => (float[N, 3] y) { [n] a = MatMul(x, w) y = Relu(a) }"
    model = fill(HEADER + text, np.random.default_rng(0), w=(4, 3))
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    count_macs(model, 5)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
