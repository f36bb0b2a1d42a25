"""ONNX Runtime's adapter: capabilities, what a built folder holds, threads, and leanness."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper, parser

from assay.backends.onnxruntime.adapter import OnnxRuntimeBackend
from assay.backends.onnxruntime.capabilities import product_saturates, refuse_reason
from assay.backends.onnxruntime.options import Settings, make_options
from assay.backends.table import load_backend
from assay.core.errors import BackendUnavailable, BuildFailed, RunFailed, UnsupportedPlan
from assay.core.plan import Plan, Scheme
from assay.core.precision import CastStyle, Placement, Precision, RangeMethod
from assay.core.target import ServingMode, Target

TARGET = Target("onnxruntime")
BACKEND = OnnxRuntimeBackend()


def parse(text: str, **weights: object) -> onnx.ModelProto:
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["": 21]>\n{text}')
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return model


RELU = parse("g (float[N,6] x) => (float[N,6] y) { y = Relu(x) }")


def build(model: onnx.ModelProto, folder: Path, backend: OnnxRuntimeBackend = BACKEND) -> Path:
    onnx.save(model, folder / "source.onnx")
    (folder / "built").mkdir()
    backend.build(folder / "source.onnx", folder / "built", Plan(Precision.FP32), TARGET)
    return folder / "built"


def test_the_table_loads_it() -> None:
    assert isinstance(load_backend("onnxruntime"), OnnxRuntimeBackend)
    assert BACKEND.versions() == {"onnxruntime": ort.__version__}


def test_the_dialect_is_u8_s8_with_integer_bias() -> None:
    (dialect,) = BACKEND.dialects(TARGET)
    assert (dialect.name, dialect.symmetric, dialect.per_channel, dialect.integer_bias) == ("u8s8", False, True, True)


@pytest.mark.parametrize(
    ("machine", "flags", "saturates"),
    [
        ("x86_64", {"avx2"}, True),
        ("x86_64", {"avx2", "avx512f", "avx512bw"}, True),
        ("x86_64", {"avx2", "avx512_vnni"}, False),
        ("AMD64", {"avx2", "avx_vnni"}, False),
        ("AMD64", set(), True),
        ("aarch64", set(), False),
        ("arm64", {"asimd"}, False),
    ],
)
def test_products_saturate_without_vnni(machine: str, flags: set[str], saturates: bool) -> None:  # noqa: FBT001
    assert product_saturates(machine, frozenset(flags)) is saturates


def test_bf16_is_refused_in_the_runtime_s_own_words() -> None:
    support = BACKEND.supports(Plan(Precision.BF16, cast=CastStyle.TYPED), TARGET)
    assert not support.supported
    assert "NOT_IMPLEMENTED" in support.reason
    assert refuse_reason(Precision.FP16, "cpu") == ""


def test_fp16_and_int8_are_taken() -> None:
    (dialect,) = BACKEND.dialects(TARGET)
    scheme = Scheme(dialect, Placement.CHAIN, RangeMethod.MIN_MAX)
    for plan in (Plan(Precision.FP16, cast=CastStyle.TYPED), Plan(Precision.INT8, scheme=scheme)):
        assert BACKEND.supports(plan, TARGET).supported


@pytest.mark.parametrize(
    "plan",
    [
        Plan(Precision.FP16, cast=CastStyle.HINT),
        Plan(Precision.INT8, rest=Precision.FP16),
        Plan(Precision.INT8, rest=Precision.BF16),
        Plan(Precision.INT8, overrides=(("conv", Precision.BF16),)),
        Plan(Precision.INT8, overrides=(("stem", Precision.FP32), ("conv", Precision.FP16))),
    ],
)
def test_other_plans_have_a_reason(plan: Plan, tmp_path: Path) -> None:
    support = BACKEND.supports(plan, TARGET)
    assert not support.supported
    onnx.save(RELU, tmp_path / "m.onnx")
    with pytest.raises(UnsupportedPlan) as caught:
        BACKEND.build(tmp_path / "m.onnx", tmp_path, plan, TARGET)
    assert caught.value.message == support.reason


def test_a_missing_device_is_unavailable(tmp_path: Path) -> None:
    built = build(RELU, tmp_path)
    with pytest.raises(BackendUnavailable, match="tpu"):
        BACKEND.open(built, Target("onnxruntime", device="tpu:0"))
    with pytest.raises(BackendUnavailable, match="tpu"):
        BACKEND.dialects(Target("onnxruntime", device="tpu:0"))


def test_a_built_folder_holds_the_model_and_its_settings(tmp_path: Path) -> None:
    built = build(RELU, tmp_path)
    assert sorted(path.name for path in built.iterdir()) == ["model.onnx", "settings.json"]
    settings = msgspec.json.decode((built / "settings.json").read_bytes())
    plain = {"schema": 1, "optimise": True, "quantized": False, "integers": True, "group": 0}
    assert settings == plain | {"provider": "cpu", "tf32": False, "rest": "fp32"}
    assert (built / "model.onnx").read_bytes() == (tmp_path / "source.onnx").read_bytes()


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"schema": 2, "optimise": true}', '{"schema": 1, "optimize": true}', '{"schema": 1, "optimise": 3}'],
)
def test_damaged_settings_do_not_open(tmp_path: Path, text: str) -> None:
    built = build(RELU, tmp_path)
    (built / "settings.json").write_text(text)
    with pytest.raises(BuildFailed, match=r"settings\.json"):
        BACKEND.open(built, TARGET)


def test_the_exact_mode_is_kept_in_the_folder(tmp_path: Path) -> None:
    built = build(RELU, tmp_path, OnnxRuntimeBackend(optimise=False))
    assert not Settings.read(built).optimise
    level = make_options(TARGET, Settings.read(built)).graph_optimization_level
    assert level == ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    with BACKEND.open(built, TARGET) as session:  # by any adapter
        assert session.run({"x": np.ones((1, 6), np.float32)})["y"].shape == (1, 6)


def test_a_kernel_that_is_missing_names_the_node(tmp_path: Path) -> None:
    model = parse("g (bfloat16[2,2] x) => (bfloat16[2,2] y) { y = MatMul(x, x) }")
    model.graph.node[0].name = "blocks/0/proj"
    with pytest.raises(UnsupportedPlan, match="blocks/0/proj"):
        build(model, tmp_path)


def test_threads_follow_the_target() -> None:
    latency = make_options(Target("onnxruntime", threads=3), Settings())
    throughput = make_options(Target("onnxruntime", threads=3, mode=ServingMode.THROUGHPUT), Settings())
    assert (latency.intra_op_num_threads, throughput.intra_op_num_threads) == (3, 1)
    assert latency.inter_op_num_threads == throughput.inter_op_num_threads == 1


def test_throughput_mode_runs_as_many_calls_at_once_as_there_are_threads(tmp_path: Path) -> None:
    built = build(RELU, tmp_path)
    running, most, lock = 0, 0, threading.Lock()
    with BACKEND.open(built, Target("onnxruntime", threads=3, mode=ServingMode.THROUGHPUT)) as session:
        run = session.run

        def counted(feeds: dict[str, np.ndarray]) -> object:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.02)
            with lock:
                running -= 1
            return run(feeds)

        session.run = counted
        outputs = list(session.stream({"x": np.full((1, 6), i, np.float32)} for i in range(12)))
    assert most == 3
    assert [float(y["y"][0, 0]) for y in outputs] == list(range(12))


def test_a_list_is_no_array(tmp_path: Path) -> None:
    with BACKEND.open(build(RELU, tmp_path), TARGET) as session, pytest.raises(RunFailed, match="'x' is a list"):
        session.run({"x": [[0.0] * 6]})


def test_bytes_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    """The runtime itself would read them the wrong way round, in silence."""
    x = np.ones((1, 6), np.dtype(np.float32).newbyteorder())
    with BACKEND.open(build(RELU, tmp_path), TARGET) as session, pytest.raises(RunFailed, match="byte order"):
        session.run({"x": x})


def test_the_audit_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.chdir(scratch)
    with BACKEND.open(build(RELU, tmp_path), TARGET) as session:
        assert session.executed({"x": np.ones((1, 6), np.float32)}).nodes
        with pytest.raises(RunFailed, match="'x'"):
            session.executed({"x": np.ones((1, 5), np.float32)})
    assert list(scratch.iterdir()) == []


def test_nothing_is_said_on_the_terminal(tmp_path: Path) -> None:
    """Neither by a refused model, nor by a failing call, nor by an audit: errors are exceptions."""
    onnx.save(RELU, tmp_path / "m.onnx")
    code = """
import numpy as np
from pathlib import Path
from assay.backends.onnxruntime.adapter import OnnxRuntimeBackend
from assay.core.errors import BackendError
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.target import Target
backend, target, folder = OnnxRuntimeBackend(), Target("onnxruntime"), Path("built")
folder.mkdir()
backend.supports(Plan(Precision.BF16), target)
backend.build(Path("m.onnx"), folder, Plan(Precision.FP32), target)
with backend.open(folder, target) as session:
    session.executed({"x": np.ones((1, 6), np.float32)})
    try:
        session.run({"x": np.ones((1, 5), np.float32)})
    except BackendError:
        pass
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("seen", [True, False])
def test_a_product_of_known_length_with_a_bias_runs_on_integers(tmp_path: Path, *, seen: bool) -> None:
    text = """g (float[3,20,16] x) => (float[3,20,32] y) {
        q = QuantizeLinear(x, s, z)
        d = DequantizeLinear(q, s, z)
        e = DequantizeLinear<axis = 1>(w, ws, wz)
        m = MatMul(d, e)
        a = Add(m, b)
        y = Tanh(a)
    }"""
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, (16, 32)).astype(np.int8)
    scales = rng.uniform(0.001, 0.01, 32).astype(np.float32)
    bias = rng.normal(size=32).astype(np.float32)
    model = parse(
        text,
        s=np.float32(0.03),
        z=np.uint8(128),
        w=weight,
        ws=scales,
        wz=np.zeros(32, np.int8),
        b=bias,
    )
    onnx.save(model, tmp_path / "source.onnx")
    (tmp_path / "built").mkdir()
    scheme = Scheme(BACKEND.dialects(TARGET)[0], Placement.OPERANDS, RangeMethod.MIN_MAX)
    plan = Plan(Precision.INT8, scheme=scheme) if seen else Plan(Precision.FP32)
    BACKEND.build(tmp_path / "source.onnx", tmp_path / "built", plan, TARGET)
    images = rng.normal(size=(3, 20, 16)).astype(np.float32)
    with BACKEND.open(tmp_path / "built", TARGET) as session:
        audit = session.executed({"x": images})
        got = session.run({"x": images})["y"]
    assert audit.shares()[Precision.INT8] == (1.0 if seen else 0.0)
    codes = np.clip(np.rint(images / np.float32(0.03)) + 128, 0, 255) - 128
    wanted = (codes * np.float32(0.03)).astype(np.float64) @ (weight * scales.astype(np.float64)) + bias
    np.testing.assert_allclose(got, np.tanh(wanted), rtol=1e-4, atol=1e-4)
