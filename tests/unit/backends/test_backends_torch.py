"""The torch adapter: what it refuses and why, how it follows a model, and that it names what fails."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from assay.backends.table import load_backend, make_target
from assay.core.errors import BackendUnavailable, BuildFailed, RunFailed
from assay.core.plan import Plan, WeightScheme
from assay.core.precision import CastStyle, Precision, WeightStyle
from assay.core.target import Target

torch = pytest.importorskip("torch", reason="torch is not installed")

from assay.backends.torch import execution  # noqa: E402 - needs torch
from assay.backends.torch.adapter import TorchBackend, TorchCudaBackend  # noqa: E402
from assay.backends.torch.session import TorchSession, from_array, to_array  # noqa: E402
from assay.backends.torch.settings import Settings  # noqa: E402
from assay.backends.torch.vendor import explain_eager  # noqa: E402

CPU = Target("torch")


def parse(text: str, opset: int = 21, **weights: np.ndarray) -> onnx.ModelProto:
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]>\n{text}')
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type.lower()}_{index}"
    return model


def open_model(model: onnx.ModelProto, folder: Path, **settings: object) -> TorchSession:
    """Without asking whether the format is of use on this CPU."""
    onnx.save(model, folder / "model.onnx")
    Settings(**({"compiled": False} | settings)).write(folder)
    return TorchSession(folder, CPU)


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (Plan(Precision.TF32), "TF32 is a format of CUDA devices"),
        (Plan(Precision.BF16, cast=CastStyle.HINT), "typed graphs"),
        (Plan(Precision.INT8, weights=WeightScheme(WeightStyle.WEIGHTS)), "stored weights"),
        (Plan(Precision.INT4), "stored weights"),
        (Plan(Precision.INT8, rest=Precision.TF32), "16 bits"),
    ],
)
def test_plans_are_refused_with_a_reason(plan: Plan, reason: str) -> None:
    support = TorchBackend().supports(plan, CPU)
    assert not support.supported
    assert reason in support.reason


def test_fp16_is_refused_where_the_cpu_has_no_units_for_it() -> None:
    support = TorchBackend().supports(Plan(Precision.FP16, cast=CastStyle.TYPED), CPU)
    if torch.ops.mkldnn._is_mkldnn_fp16_supported():  # noqa: SLF001 - as the adapter asks
        assert support.supported
    else:
        assert "FP16 units" in support.reason


def test_cuda_says_why_it_is_not_there() -> None:
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is here")
    found = TorchCudaBackend().probe()
    assert not found.available
    assert "CUDA" in found.missing
    assert "NVIDIA" in found.remedy
    assert load_backend("torch-cuda").name == "torch-cuda"
    assert make_target("torch-cuda").device == "cuda:0"
    support = TorchCudaBackend().supports(Plan(Precision.FP32), make_target("torch-cuda"))
    assert "CUDA" in support.reason
    with pytest.raises(BackendUnavailable, match="cuda:0"):
        TorchCudaBackend().dialects(make_target("torch-cuda"))


def test_a_compiler_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    explain_eager.cache_clear()
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    assert "C++ compiler" in explain_eager("cpu")
    assert TorchBackend().versions()["compiler"] == "none"
    explain_eager.cache_clear()


def test_what_depends_on_shapes_alone_is_no_part_of_the_graph(tmp_path: Path) -> None:
    text = """g (float[N,C,H] x) => (float[N,M] y) {
        s = Shape(x)
        first = Gather(s, zero)
        size = Concat<axis = 0>(first, rest)
        y = Reshape(x, size)
    }"""
    model = parse(text, zero=np.int64([0]), rest=np.int64([-1]))
    with open_model(model, tmp_path) as session:
        for shape in ((2, 3, 4), (5, 3, 4), (2, 3, 4)):
            x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
            np.testing.assert_array_equal(session.run({"x": x})["y"], x.reshape(len(x), -1))
        program = session._engine.trace((torch.zeros(2, 3, 4),))  # noqa: SLF001 - what is compiled
    assert [step.operator for step in program.steps] == ["Reshape"]


def make_branches() -> onnx.ModelProto:
    """Negates where the first element is positive."""
    then, other = (
        helper.make_graph([helper.make_node(operator, ["x"], [name], operator)], name, [], [value])
        for operator, name in (("Neg", "t"), ("Identity", "e"))
        for value in [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"])]
    )
    nodes = [
        helper.make_node("Gather", ["x", "zero"], ["first"], "gather"),
        helper.make_node("Greater", ["first", "limit"], ["positive"], "greater"),
        helper.make_node("If", ["positive"], ["y"], "choose", then_branch=then, else_branch=other),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in ("x", "y")]
    weights = [numpy_helper.from_array(np.int64(0), "zero"), numpy_helper.from_array(np.float32(0), "limit")]
    graph = helper.make_graph(nodes, "branches", values[:1], values[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_a_way_that_depends_on_values_is_found_anew_in_every_call(tmp_path: Path) -> None:
    with open_model(make_branches(), tmp_path, compiled=True) as session:
        for sign in (1, -1, 1, -1):
            x = np.float32([1, 2, -3]) * sign
            np.testing.assert_array_equal(session.run({"x": x})["y"], -x if sign > 0 else x)


def test_a_loop_is_unrolled(tmp_path: Path) -> None:
    body = parser.parse_graph(
        "body (int64 i, bool go, float[N] a) => (bool on, float[N] b, float[N] row) "
        "{ on = Identity(go) b = Add(a, a) row = Identity(b) }"
    )
    nodes = [helper.make_node("Loop", ["count", "", "x"], ["y", "rows"], "loop", body=body)]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", ["N"]), ("y", ["N"]))]
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [3, "N"])
    graph = helper.make_graph(
        nodes, "g", values[:1], [values[1], rows], [numpy_helper.from_array(np.int64(3), "count")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    x = np.float32([1, -2])
    with open_model(model, tmp_path) as session:
        for _ in range(2):
            found = session.run({"x": x})
            np.testing.assert_array_equal(found["y"], 8 * x)
            np.testing.assert_array_equal(found["rows"], np.stack([2 * x, 4 * x, 8 * x]))


def test_functions_of_the_model_and_of_onnx_are_inlined(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 21, "own": 1]>
    g (float[N] x) => (float[N] y) { h = own.twice(x) y = MeanVarianceNormalization<axes = [0]>(h) }
    <domain: "own", opset_import: ["": 21]> twice (a) => (b) { b = Add(a, a) }"""
    x = np.float32([1, 2, 4])
    with open_model(parser.parse_model(text), tmp_path) as session:
        y = session.run({"x": x})["y"]
    np.testing.assert_allclose(y, (x - x.mean()) / x.std(), rtol=1e-5)


def test_an_operator_without_a_form_is_named(tmp_path: Path) -> None:
    model = parse("g (float[N] x) => (float[N] y) { y = Bernoulli(x) }")
    onnx.save(model, tmp_path / "m.onnx")
    (tmp_path / "built").mkdir()
    with pytest.raises(BuildFailed, match="no form in torch"):
        TorchBackend().build(tmp_path / "m.onnx", tmp_path / "built", Plan(Precision.FP32), CPU)


def test_a_failing_node_is_named(tmp_path: Path) -> None:
    model = parse("g (float[N,K] x, float[L,3] z) => (float[N,3] y) { y = MatMul(x, z) }")
    with open_model(model, tmp_path) as session, pytest.raises(RunFailed, match=r"matmul_0.*MatMul"):
        session.run({"x": np.zeros((2, 6), np.float32), "z": np.zeros((5, 3), np.float32)})


@pytest.mark.parametrize("element", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_typed_graphs_multiply_in_their_type(element: int, tmp_path: Path) -> None:
    model = parse(
        f"g (float[N,8] x) => (float[N,4] y) {{ n = Cast<to = {element}>(x) v = Cast<to = {element}>(w) "
        f"m = MatMul(n, v) y = Cast<to = 1>(m) }}",
        w=np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32),
    )
    x = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)
    with open_model(model, tmp_path) as session:
        y = session.run({"x": x})["y"]
        shares = session.executed({"x": x}).shares()
    expected = Precision.FP16 if element == TensorProto.FLOAT16 else Precision.BF16
    assert shares[expected] == 1
    exact = x @ numpy_helper.to_array(model.graph.initializer[0])
    assert 0 < np.abs(y - exact).max() < 0.05


def test_bfloat16_crosses_the_interface() -> None:
    values = np.float32([1.5, -2.25, 3e38]).astype(ml_dtypes.bfloat16)
    tensor = from_array(values, "cpu")
    assert tensor.dtype is torch.bfloat16
    np.testing.assert_array_equal(to_array(tensor), values)


def test_only_so_many_shapes_are_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(execution, "compile_module", lambda module: asked.append(module) or module)
    monkeypatch.setattr(execution, "explain_eager", lambda _kind: "")
    with open_model(parse("g (float[N] x) => (float[N] y) { y = Neg(x) }"), tmp_path, compiled=True) as session:
        for size in range(1, execution.MOST_COMPILED + 3):
            x = np.ones(size, np.float32)
            session.run({"x": x})
            assert len(asked) == min(size - 1, execution.MOST_COMPILED)  # a shape is compiled when it comes again
            for _ in range(2):
                np.testing.assert_array_equal(session.run({"x": x})["y"], -x)
        assert "eager" in session.describe({"x": x})
        assert session.describe({"x": np.ones(1, np.float32)}) == "compiled"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # torch warns of its own parts when it compiles
def test_compiled_networks_give_the_same(tmp_path: Path) -> None:
    if explain_eager("cpu"):
        pytest.skip(explain_eager("cpu"))
    rng = np.random.default_rng(0)
    model = parse(
        "g (float[N,8,9,9] x) => (float[N,4,9,9] y) { c = Conv<pads = [1,1,1,1]>(x, w) r = Relu(c) y = Sigmoid(r) }",
        w=rng.standard_normal((4, 8, 3, 3)).astype(np.float32),
    )
    x = rng.standard_normal((2, 8, 9, 9)).astype(np.float32)
    with open_model(model, tmp_path, compiled=True) as session:
        eager = session.run({"x": x})["y"]
        assert session.describe({"x": x}).startswith("eager")
        compiled = session.run({"x": x})["y"]
        assert session.describe({"x": x}) == "compiled"
        session.bind({"x": x})()
    np.testing.assert_allclose(compiled, eager, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("layer", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_layers_take_states_batch_first(layer: str, gates: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {"w": (2, gates * 6, 5), "r": (2, gates * 6, 6), "b": (2, 2 * gates * 6)}
    held = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in weights.items()}
    x, h = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 3, 5), (2, 3, 6)))
    found = []
    for layout, turn in ((0, (0, 1, 2)), (1, (1, 0, 2))):
        shapes = [",".join(str(array.shape[axis]) for axis in turn) for array in (x, h)]
        node = f'y, z = {layer}<hidden_size = 6, direction = "bidirectional", layout = {layout}>(x, w, r, b, , h)'
        model = parse(f"g (float[{shapes[0]}] x, float[{shapes[1]}] h) => (float y, float z) {{ {node} }}", **held)
        (folder := tmp_path / str(layout)).mkdir()
        with open_model(model, folder) as session:
            outputs = session.run({"x": x.transpose(turn), "h": h.transpose(turn)})
        found.append((outputs["y"], outputs["z"].transpose(turn)))
    np.testing.assert_allclose(found[1][0].transpose(1, 2, 0, 3), found[0][0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-5, atol=1e-6)
