"""Embedding tables as rows of integers: what is found, what it loses, and what stays as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import openvino
import pytest
from graph_samples import fill, run
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from quantize_samples import U8S8

from assay.core.calibration import TensorRange
from assay.core.plan import Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod
from assay.graph.prepare import prepare
from assay.graph.quantize_tables import encode_rows, list_tables, quantize_tables
from assay.graph.realise import realise

HEADER = '<ir_version: 9, opset_import: ["": 18]>'
RANKER = (
    HEADER
    + """g (int64[N, 5] seen, int64[N, 7] films) => (float[N, 7] y, float[N, 7, 16] vectors) <int64[1] one = {1}> {
    bag = Gather(table, seen)
    taste = ReduceSum(bag, one)
    vectors = Gather<axis = 0>(table, films)
    other = Gather<axis = -2>(second, films)
    both = Mul(vectors, taste)
    sums = Add(both, other)
    hidden = MatMul(sums, w1)
    rising = Relu(hidden)
    scores = MatMul(rising, w2)
    two = Constant<value_ints = [2]>()
    y = Squeeze(scores, two)
}"""
)
SHAPES = {"table": (2000, 16), "second": (1500, 16), "w1": (16, 8), "w2": (8, 1)}
TIED = (
    HEADER
    + """g (int64[N] film) => (float[N, 2000] y) {
    vector = Gather(table, film)
    hidden = MatMul(vector, w1)
    y = Gemm<transB = 1>(hidden, table)
}"""
)
BRANCHES = (
    HEADER
    + """g (bool c, int64[N] film) => (float[N, 16] y) {
    y = If(c) <then_branch = t () => (float[N, 16] a) { a = Gather(table, film) },
               else_branch = e () => (float[N, 16] b) { v = Gather(table, film) b = Neg(v) }>
}"""
)


def make_ranker() -> ir.Model:
    return prepare(fill(RANKER, np.random.default_rng(0), **SHAPES))


def feed(items: int = 4) -> dict[str, NDArray[np.int64]]:
    rng = np.random.default_rng(1)
    return {"seen": rng.integers(0, 1500, (items, 5)), "films": rng.integers(-1500, 1500, (items, 7))}


def list_shapes(model: ir.Model) -> dict[str, tuple[str, tuple[int, ...]]]:
    tensors = {name: value.const_value for name, value in model.graph.initializers.items()}
    return {name: (str(t.dtype), t.numpy().shape) for name, t in tensors.items() if t is not None and t.size > 1000}


def test_lookups_read_integers_and_give_nearly_the_same() -> None:
    model = make_ranker()
    before, wanted = ir.to_proto(model).SerializeToString(), run(model, feed())
    found = quantize_tables(model)
    onnx.checker.check_model(ir.to_proto(found), full_check=True)
    for one, other in zip(run(found, feed()), wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=0.02 * np.abs(other).max())
    table = model.graph.initializers["table"].const_value
    assert table is not None
    rows = table.numpy()[feed()["films"]]
    worst = np.abs(rows).max(axis=-1, keepdims=True) / 254
    assert (np.abs(run(found, feed())[1] - rows) <= worst * 1.001).all()
    assert ir.to_proto(model).SerializeToString() == before


def test_a_shared_table_is_stored_once_in_a_quarter_and_its_scales() -> None:
    found = quantize_tables(make_ranker())
    assert list_shapes(found) == {
        "table_rows": ("INT8", (2000, 16)),
        "table_row_scales": ("FLOAT", (2000, 1)),
        "second_rows": ("INT8", (1500, 16)),
        "second_row_scales": ("FLOAT", (1500, 1)),
    }


def test_names_stay_with_what_the_rest_of_the_model_reads() -> None:
    model = make_ranker()
    found = quantize_tables(model)
    for node in model.graph:
        twin = next(one for one in found.graph if one.name == node.name)
        assert [value.name for value in twin.outputs] == [value.name for value in node.outputs]


def test_tables_are_found_with_their_sizes() -> None:
    model = make_ranker()
    assert list_tables(model) == {"table": 2000 * 64, "second": 1500 * 64}
    assert list_tables(model, least_bytes=2000 * 64) == {"table": 2000 * 64}
    lookup = next(str(node.name) for node in model.graph if node.outputs[0].name == "bag")
    assert set(list_tables(model, keep={lookup})) == {"second"}
    assert "table" in quantize_tables(model, keep={lookup}).graph.initializers


@pytest.mark.parametrize(
    "body",
    [
        "v = Gather<axis = 1>(table, i) y = Neg(v)",
        "v = Gather(table, i) w = Neg(table) u = Gather(w, i) y = Add(u, v)",
        "v = Gather(table, k) n = ReduceSum(v) y = Mul(x, n)",
        "v = Gather(narrow, i) y = Neg(v)",
        "v = Gather(small, i) y = Neg(v)",
        "v = Gather(x, i) y = Neg(v)",
    ],
)
def test_what_is_no_large_table_of_lookups_stays(body: str) -> None:
    shapes = {name: shape for name, shape in {
        "table": (2000, 16), "narrow": (40000, 4), "small": (900, 16),
    }.items() if f"({name}" in body}  # fmt: skip
    text = f"{HEADER} g (float[N, 16] x, int64[N] i) => (float[M, K] y) <int64[2] k = {{1, 2}}> {{ {body} }}"
    model = fill(text, np.random.default_rng(0), **shapes)
    assert list_tables(model) == {}
    assert list_shapes(quantize_tables(model)) == list_shapes(model)


def test_a_table_that_is_not_finite_stays() -> None:
    model = make_ranker()
    values = np.ones((2000, 16), np.float32)
    values[7, 3] = np.nan
    model.graph.initializers["table"].const_value = ir.tensor(values, name="table")
    assert set(list_tables(model)) == {"second"}


def test_branches_look_up_integers_too() -> None:
    model = fill(BRANCHES, np.random.default_rng(0), table=(2000, 16))
    found = quantize_tables(model)
    assert list_shapes(found) == {"table_rows": ("INT8", (2000, 16)), "table_row_scales": ("FLOAT", (2000, 1))}
    for condition in (True, False):
        feeds = {"c": np.array(condition), "film": np.array([3, 1999])}
        np.testing.assert_allclose(run(found, feeds)[0], run(model, feeds)[0], atol=0.03)


def test_a_tied_output_layer_gets_integers_of_its_own_first() -> None:
    model = prepare(fill(TIED, np.random.default_rng(0), table=(2000, 16), w1=(16, 16)))
    assert set(list_tables(model)) == {"table"}
    assert "table" in quantize_tables(model).graph.initializers
    scheme = Scheme(U8S8, Placement.OPERANDS, RangeMethod.MIN_MAX, tables=True)
    ranges = {name: TensorRange(-24.0, 24.0) for name in ("vector", "hidden")}
    found = realise(model, Plan(Precision.INT8, scheme=scheme), ranges=ranges)
    assert {kind for kind, shape in list_shapes(found).values() if shape == (2000, 16)} == {"INT8"}
    feeds = {"film": np.array([0, 5, 1999])}
    wanted = run(model, feeds)[0]
    assert np.abs(run(found, feeds)[0] - wanted).max() < 0.1 * np.abs(wanted).max()


@pytest.mark.parametrize("tables", [False, True])
def test_a_plan_says_whether_tables_are_integers(tables: bool) -> None:  # noqa: FBT001 - a parameter of the test
    model = make_ranker()
    scheme = Scheme(U8S8, Placement.OPERANDS, RangeMethod.MIN_MAX, tables=tables)
    plan = Plan(Precision.INT8, scheme=scheme)
    found = realise(model, plan, ranges={name: TensorRange(-8.0, 8.0) for name in ("sums", "rising")})
    assert ("table_rows" in found.graph.initializers) is tables
    assert plan.name.endswith("-tables") is tables


def test_runtimes_keep_the_integers(tmp_path: Path) -> None:
    """Neither folds the lookup of integers back into a table of floats."""
    model = quantize_tables(make_ranker())
    ir.save(model, tmp_path / "model.onnx")
    compiled = openvino.Core().compile_model(tmp_path / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    feeds = feed()
    results = compiled(feeds)
    for index, wanted in enumerate(run(model, feeds)):
        np.testing.assert_allclose(results[index], wanted, atol=1e-3)
    constants = [op for op in compiled.get_runtime_model().get_ordered_ops() if op.get_output_shape(0)[:1] == [2000]]
    told = {
        str(op.get_rt_info()["outputPrecisions"].astype(str)) for op in constants if len(op.get_output_shape(0)) > 1
    }
    assert "i8" in told
    assert not any(
        str(op.get_rt_info()["outputPrecisions"].astype(str)) == "f32" and list(op.get_output_shape(0)) == [2000, 16]
        for op in constants
    )


@settings(max_examples=200, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 9)),
        elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False),
    ),
)
def test_rows_come_back_within_half_a_step(table: NDArray[np.float32]) -> None:
    codes, scales = encode_rows(table)
    back = codes.astype(np.float64) * scales
    largest = np.abs(table.astype(np.float64)).max(axis=1, keepdims=True)
    tiny = 127 * np.finfo(np.float32).tiny
    assert (np.abs(back - table) <= largest / 254 * 1.00001 + tiny * (largest <= tiny)).all()
    assert codes.min(initial=0) >= -127
    assert np.isfinite(scales).all()


def test_large_tables_are_rounded_in_parts_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.random.default_rng(0).standard_normal((100, 8)).astype(np.float32)
    whole = encode_rows(table)
    monkeypatch.setattr("assay.graph.quantize_tables.CHUNK_ELEMENTS", 56)
    for one, other in zip(encode_rows(table), whole, strict=True):
        np.testing.assert_array_equal(one, other)
