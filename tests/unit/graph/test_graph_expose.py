from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from graph_samples import HEADER, fill, run

from assay.core.errors import ModelError
from assay.graph.expose import expose, observable_tensors

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
