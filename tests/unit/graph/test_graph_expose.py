from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from graph_samples import HEADER, fill, run

from assay.core.errors import ModelError
from assay.graph.expose import expose, expose_halved, observable_tensors

TEXT = """g (float[N, 4] x, int64[N] ids, bool c) => (float[N, 4] y) <float s = {0.1}, int8 z = {0}, int64[1] n = {4}> {
    e = Gather(table, ids) a = Add(x, e)
    wq = QuantizeLinear(w, s, z) wd = DequantizeLinear(wq, s, z) m = MatMul(a, wd)
    shape = Shape(m) zeros = ConstantOfShape(n) b = Relu(m)
    y = If(c) <then_branch = t () => (float[N, 4] p) { inner = Neg(b) p = Add(inner, zeros) },
               else_branch = f () => (float[N, 4] q) { q = Exp(b) }> }"""


@pytest.fixture
def model() -> ir.Model:
    model = fill(HEADER + TEXT, np.random.default_rng(5), table=(7, 4), w=(4, 4))
    ir.passes.common.ShapeInferencePass(strict_mode=False)(model)
    return model


def test_float_activations_of_the_main_graph_are_observable(model: ir.Model) -> None:
    assert observable_tensors(model) == ("x", "e", "a", "m", "b", "y")


def test_inputs_that_only_default_an_initializer_are_not_observable() -> None:
    model = fill(
        HEADER + "g (float[4] x, float[4] w) => (float[4] y) { y = Add(x, w) }", np.random.default_rng(0), w=(4,)
    )
    assert observable_tensors(model) == ("x", "y")


def test_random_numbers_are_no_constants() -> None:
    text = HEADER + "g (float[4] x) => (float[4] y) { r = RandomNormal<shape = [4]>() y = Add(x, r) }"
    model = fill(text, np.random.default_rng(0))
    ir.passes.common.ShapeInferencePass(strict_mode=False)(model)
    assert observable_tensors(model) == ("x", "r", "y")


def test_exposed_tensors_come_out_after_the_outputs(model: ir.Model) -> None:
    rng = np.random.default_rng(1)
    feeds = {
        "x": rng.standard_normal((2, 4)).astype(np.float32),
        "ids": np.array([3, 6]),
        "c": np.array(1, dtype=bool),
    }
    exposed = expose(model, ["m", "x", "y", "a", "m"])
    assert [value.name for value in exposed.graph.outputs] == ["y", "m", "a"]
    assert [value.name for value in model.graph.outputs] == ["y"]
    y, m, a = run(exposed, feeds)
    np.testing.assert_array_equal(y, run(model, feeds)[0])
    np.testing.assert_array_equal(y, -np.maximum(m, 0))
    weights = model.graph.initializers["table"].const_value
    assert weights is not None
    np.testing.assert_array_equal(a, feeds["x"] + weights.numpy()[[3, 6]])
    assert exposed.graph.initializers["table"].const_value is weights


def test_everything_observable_can_be_exposed(model: ir.Model) -> None:
    exposed = expose(model, observable_tensors(model))
    feeds = {"x": np.ones((3, 4), np.float32), "ids": np.zeros(3, np.int64), "c": np.array(0, dtype=bool)}
    assert [output.dtype for output in run(exposed, feeds)] == [np.dtype(np.float32)] * 5


@pytest.mark.parametrize("name", ["nothing", "w", "inner", ""])
def test_what_the_main_graph_does_not_compute_cannot_be_exposed(model: ir.Model, name: str) -> None:
    with pytest.raises(ModelError, match=f"'{name}'"):
        expose(model, [name])


def test_halved_tensors_are_the_float32_ones_rounded(model: ir.Model) -> None:
    rng = np.random.default_rng(1)
    feeds = {
        "x": rng.standard_normal((2, 4)).astype(np.float32),
        "ids": np.array([3, 6]),
        "c": np.array(1, dtype=bool),
    }
    names = ["m", "x", "y", "a", "zeros"]
    exposed = expose_halved(model, names)
    assert exposed.outputs == {"y": "y", "m": "m_halved", "a": "a_halved", "zeros": "zeros_halved"}
    assert [value.name for value in model.graph.outputs] == ["y"]
    values = list(exposed.model.graph.outputs)
    assert [value.name for value in values] == list(exposed.outputs.values())
    assert [value.dtype for value in values] == [ir.DataType.FLOAT, *[ir.DataType.BFLOAT16] * 3]
    # ONNX Runtime gives no bfloat16 to NumPy: widened once more, the values must be the rounded ones.
    for index, value in enumerate(values[1:], 1):
        wide = ir.Node("", "Cast", [value], [ir.AttrInt64("to", int(ir.DataType.FLOAT))])
        wide.outputs[0].name, wide.outputs[0].type = f"wide{index}", ir.TensorType(ir.DataType.FLOAT)
        exposed.model.graph.append(wide)
        exposed.model.graph.outputs[index] = wide.outputs[0]
    found, expected = run(exposed.model, feeds), run(expose(model, names), feeds)
    np.testing.assert_array_equal(found[0], expected[0])
    for halved, full in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_array_equal(halved, full.astype(ml_dtypes.bfloat16).astype(np.float32))


def test_what_is_no_float32_is_exposed_as_it_is(model: ir.Model) -> None:
    exposed = expose_halved(model, ["shape", "a"])
    assert exposed.outputs == {"y": "y", "shape": "shape", "a": "a_halved"}
    assert exposed.model.graph.outputs[1].dtype is ir.DataType.INT64


def test_names_of_halved_tensors_were_free() -> None:
    text = "g (float[4] a) => (float[4] y) { a_halved = Neg(a) b = Exp(a_halved) b_halved = Abs(b) y = Neg(b_halved) }"
    model = fill(HEADER + text, np.random.default_rng(0))
    ir.passes.common.ShapeInferencePass(strict_mode=False)(model)
    assert expose_halved(model, ["b"]).outputs == {"y": "y", "b": "b_halved_2"}


def test_an_opset_without_bfloat16_cannot_be_halved() -> None:
    header = '<ir_version: 8, opset_import: ["": 12]>'
    model = fill(header + "g (float[4] x) => (float[4] y) { a = Neg(x) y = Exp(a) }", np.random.default_rng(0))
    with pytest.raises(ModelError, match="opset 12"):
        expose_halved(model, ["a"])
