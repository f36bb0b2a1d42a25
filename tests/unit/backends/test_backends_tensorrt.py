"""TensorRT's adapter: what it finds, what it builds, and what it says where there is no GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import onnx
import pytest
from tensorrt_samples import BACKEND, HERE, builds, no_gpu, parse, runs, save, target

from assay.backends.backend import FloatBackend
from assay.backends.settings import SETTINGS_FILE
from assay.backends.tensorrt import vendor
from assay.backends.tensorrt.capability import Capability, parse_device, parse_index
from assay.backends.tensorrt.cuda import CudaError, Gpu, call, list_gpus
from assay.backends.tensorrt.errors import find_node, tidy
from assay.backends.tensorrt.plans import DIALECT, FLOAT_DIALECT, refuse_plan
from assay.backends.tensorrt.profiles import MOST_ITEMS, explain_outside, plan_shapes
from assay.backends.tensorrt.settings import GRAPH_FILE, Settings
from assay.backends.tensorrt.timing_cache import find_cache_file
from assay.backends.tensorrt.vendor import Vendor, choose_vendor
from assay.core.errors import BackendUnavailable, BuildFailed, RunFailed, UnsupportedPlan
from assay.core.plan import FloatDialect, FloatScheme, IntegerDialect, Plan, Scheme, WeightScheme
from assay.core.precision import CastStyle, IntegerFormat, Placement, Precision, RangeMethod, WeightStyle
from assay.core.target import ShapeRange
from assay.core.tensor import Signature, TensorSpec

ADA, AMPERE, TURING = Capability(8, 9), Capability(8, 6), Capability(7, 5)
EIGHTHS = FloatScheme(FLOAT_DIALECT, RangeMethod.MSE)
FP32 = Plan(Precision.FP32)


def make_model(weight: int = 64) -> onnx.ModelProto:
    text = f"g (float[N,{weight}] x) => (float[N,8] y) {{ [mix] h = MatMul(x, w) [bend] y = Relu(h) }}"
    return parse(text, w=np.ones((weight, 8), np.float32))


def scheme(dialect: IntegerDialect) -> Scheme:
    return Scheme(dialect, Placement.CHAIN, RangeMethod.MSE)


def build(folder: Path, model: onnx.ModelProto | None = None, plan: Plan = FP32, **keys: object) -> Path:
    built = folder / "built"
    built.mkdir()
    BACKEND.build(save(model or make_model(), folder), built, plan, target(**keys))  # type: ignore[arg-type] # of the caller
    return built


def test_devices_are_named_after_compute_capabilities() -> None:
    assert parse_device("sm86") == Capability(8, 6)
    assert parse_device("sm120") == Capability(12, 0)
    assert parse_device("cuda:0") is None
    assert str(Capability(12, 1)) == "12.1"
    assert Capability(12, 1).device == "sm121"
    assert (parse_index("cuda:2"), parse_index("cuda")) == (2, 0)
    for name in ("cpu", "cuda:x", "gpu:0"):
        with pytest.raises(BackendUnavailable, match=name):
            parse_index(name)


@builds
def test_the_probe_names_what_it_builds_for() -> None:
    assert HERE.builds[0] == "sm86"
    assert {"sm75", "sm80", "sm89", "sm120"} <= set(HERE.builds)
    assert HERE.version.startswith("TensorRT")
    assert list(BACKEND.versions()) == [HERE.version.rpartition(" ")[0].lower()]


@no_gpu
def test_without_a_gpu_nothing_runs_and_the_probe_says_so() -> None:
    assert not HERE.available
    assert HERE.missing
    assert HERE.remedy
    assert list_gpus()[1].startswith("no GPU")


@no_gpu
@builds
def test_without_a_gpu_its_devices_are_refused() -> None:
    with pytest.raises(BackendUnavailable, match="no GPU"):
        BACKEND.dialects(target("cuda:0"))
    assert "no GPU" in BACKEND.supports(FP32, target("cuda:0")).reason
    with pytest.raises(CudaError, match="cudaMalloc"):
        call("cudaMalloc", 16)


def test_a_missing_installation_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> object:
        message = f"no module {name}"
        raise ImportError(message)

    monkeypatch.setattr(vendor, "import_module", refuse)
    vendor.load_vendor.cache_clear()
    try:
        found = BACKEND.probe()
        support = BACKEND.supports(FP32, target())
    finally:
        vendor.load_vendor.cache_clear()
    assert (found.available, found.builds) == (False, ())
    assert "tensorrt_rtx_bindings" in found.missing
    assert "pip install" in found.remedy
    assert "cannot be imported" in support.reason


def test_tensorrt_is_taken_where_a_gpu_is_and_rtx_where_none_is() -> None:
    names = SimpleNamespace(__members__={"SM86": 86, "NONE": 0})
    proper = Vendor(SimpleNamespace(__version__="11.0"), "TensorRT", ahead=False)
    rtx = Vendor(SimpleNamespace(__version__="1.7", ComputeCapability=names), "TensorRT-RTX", ahead=True)
    gpu = Gpu(0, "card", AMPERE, 1 << 30)
    assert choose_vendor((proper, rtx), (gpu,)) is proper
    assert choose_vendor((proper, rtx), ()) is rtx
    assert choose_vendor((rtx,), (gpu,)) is rtx
    assert choose_vendor((proper,), ()) is proper
    assert (rtx.capabilities, proper.capabilities) == ((AMPERE,), ())
    assert not rtx.runs_on(replace(gpu, capability=Capability(9, 0)))


@builds
def test_an_engine_is_named_by_device_version_and_model(tmp_path: Path) -> None:
    built = build(tmp_path)
    settings = Settings.read(built)
    assert {path.name for path in built.iterdir()} == {SETTINGS_FILE, GRAPH_FILE, settings.engine}
    device, title, version, digest = settings.engine.removesuffix(".engine").replace("tensorrt-rtx", "rtx").split("-")
    assert (device, title, version, len(digest)) == ("sm86", "rtx", settings.version, 12)
    assert (settings.capability, settings.rest) == ("8.6", Precision.FP32)
    assert settings.inputs == (TensorSpec("x", "float32", ("N", 64)),)
    other = tmp_path / "other"
    other.mkdir()
    assert Settings.read(build(other, make_model(32))).engine != settings.engine


@builds
def test_weights_beside_the_model_are_part_of_its_name(tmp_path: Path) -> None:
    names = []
    for number, value in enumerate((1.0, 2.0)):
        folder = tmp_path / str(number)
        folder.mkdir()
        model = parse(
            "g (float[N,64] x) => (float[N,64] y) { y = MatMul(x, w) }", w=np.full((64, 64), value, np.float32)
        )
        onnx.save(model, folder / "big.onnx", save_as_external_data=True, location="big.data", size_threshold=0)
        built = folder / "built"
        built.mkdir()
        BACKEND.build(folder / "big.onnx", built, FP32, target())
        names.append(Settings.read(built).engine)
        (folder / "big.data").unlink()
        with pytest.raises(BuildFailed, match=r"big\.data"):
            BACKEND.build(folder / "big.onnx", built, FP32, target())
    assert len(set(names)) == 2


@builds
def test_an_engine_for_elsewhere_is_not_opened(tmp_path: Path) -> None:
    built = build(tmp_path)
    with pytest.raises(BackendUnavailable, match="sm86"):
        BACKEND.open(built, target())
    (built / SETTINGS_FILE).write_text("{")
    with pytest.raises(BuildFailed, match="build the model again"):
        BACKEND.open(built, target())


@builds
def test_devices_that_are_not_built_for_are_refused() -> None:
    with pytest.raises(BackendUnavailable, match=r"sm90.*8\.6"):
        BACKEND.rests(target("sm90"))


@builds
def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(BuildFailed, match=r"model\.onnx"):
        BACKEND.build(path, tmp_path, FP32, target())


@builds
def test_an_unknown_operator_is_named(tmp_path: Path) -> None:
    model = make_model()
    model.graph.node[1].op_type = "Bend"
    model.graph.node[1].domain = "strange"
    model.opset_import.append(onnx.helper.make_opsetid("strange", 1))
    with pytest.raises(BuildFailed, match="bend"):
        build(tmp_path, model)


@builds
def test_tf32_is_asked_for_and_kept(tmp_path: Path) -> None:
    assert Settings.read(build(tmp_path, plan=Plan(Precision.TF32))).rest is Precision.TF32
    assert not BACKEND.supports(Plan(Precision.TF32), target("sm75")).supported


@builds
def test_an_input_that_says_a_shape_is_refused(tmp_path: Path) -> None:
    text = "g (float[N,6] x, int64[2] shape) => (float[A,B] y) { y = Reshape(x, shape) }"
    with pytest.raises(BuildFailed, match="'shape' says the shape"):
        build(tmp_path, parse(text))


@builds
def test_profiles_are_those_of_the_target(tmp_path: Path) -> None:
    ranges = (ShapeRange("x", (2, 64), (4, 64), (16, 64)),)
    assert Settings.read(build(tmp_path, shapes=ranges)).ranges == ranges
    wrong = (ShapeRange("x", (2, 63), (4, 63), (16, 63)),)
    with pytest.raises(BuildFailed, match=r"'x' has the shape \['N', 64\]"):
        BACKEND.build(tmp_path / "model.onnx", tmp_path, FP32, target(shapes=wrong))


def test_shapes_that_are_not_known_are_guessed() -> None:
    signature = Signature((TensorSpec("ids", "int64", ("N", "L")), TensorSpec("x", "float32", (2, 3))), ())
    ids, x = plan_shapes(signature, target(batch=8))
    assert (ids.least, ids.usual, ids.most) == ((1, 1), (8, 128), (MOST_ITEMS, 512))
    assert x.least == x.usual == x.most == (2, 3)
    (large, _) = plan_shapes(signature, target(batch=256))
    assert large.most[0] == 256
    with pytest.raises(BuildFailed, match="'z' has no rank"):
        plan_shapes(Signature((TensorSpec("z", "float32", None),), ()), target())


def test_feeds_outside_of_the_profile_are_named() -> None:
    ranges = (ShapeRange("x", (1, 4), (2, 4), (8, 4)),)
    assert not explain_outside(ranges, {"x": (8, 4)})
    assert "'x' has the shape [9, 4]" in explain_outside(ranges, {"x": (9, 4)})


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan(Precision.BF16, cast=CastStyle.TYPED), "7.5 has no bf16"),
        (Plan(Precision.FP16, cast=CastStyle.HINT), "not by a hint"),
        (Plan(Precision.INT8, scheme=scheme(IntegerDialect(IntegerFormat.U8, symmetric=False))), "not u8s8"),
        (Plan(Precision.INT8, scheme=scheme(IntegerDialect(IntegerFormat.S8, symmetric=False))), "symmetric"),
        (Plan(Precision.INT8, scheme=scheme(replace(DIALECT, integer_bias=True))), "not int32"),
        (Plan(Precision.INT8, rest=Precision.FP16, scheme=scheme(DIALECT)), "only where the graph is typed"),
        (Plan(Precision.INT8, weights=WeightScheme(WeightStyle.DYNAMIC)), "no DynamicQuantizeLinear"),
        (Plan(Precision.INT8, weights=WeightScheme(WeightStyle.WEIGHTS, group=32)), "does not round"),
        (Plan(Precision.INT4, weights=WeightScheme(WeightStyle.WEIGHTS, block=64)), "has no int4"),
        (Plan(Precision.INT8, overrides=(("head", Precision.BF16),)), "has no bf16"),
    ],
)
def test_plans_are_refused_in_words(plan: Plan, words: str) -> None:
    assert words in refuse_plan(plan, TURING)


@builds
def test_refused_plans_are_not_built(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedPlan, match="hint"):
        build(tmp_path, plan=Plan(Precision.FP16, cast=CastStyle.HINT))


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan(Precision.FP8), "only for products whose operands"),
        (Plan(Precision.FP16, cast=CastStyle.TYPED, floats=EIGHTHS), "only for products whose operands"),
        (Plan(Precision.FP8, rest=Precision.FP16, floats=EIGHTHS), "rest of an FP8 plan in fp16 only where the graph"),
        (Plan(Precision.FP8, rest=Precision.INT8, floats=EIGHTHS), "what an FP8 plan leaves"),
        (Plan(Precision.INT8, scheme=scheme(DIALECT), overrides=(("head", Precision.FP8),)), "'head' is to run in fp8"),
        (
            Plan(Precision.FP8, floats=FloatScheme(FloatDialect(frozenset({"Einsum"})), RangeMethod.MSE)),
            "not tried for Einsum",
        ),
    ],
)
def test_plans_of_8_bit_floats_are_refused_in_words(plan: Plan, words: str) -> None:
    assert words in refuse_plan(plan, ADA)


def test_8_bit_floats_begin_with_ada() -> None:
    plan = Plan(Precision.FP8, rest=Precision.FP16, cast=CastStyle.TYPED, floats=EIGHTHS)
    for capability in (TURING, Capability(8, 0), AMPERE):
        assert refuse_plan(plan, capability) == f"a GPU of compute capability {capability} has no fp8"
    for capability in (ADA, Capability(9, 0), Capability(12, 0)):
        assert not refuse_plan(plan, capability)


@builds
def test_the_dialect_of_8_bit_floats_is_for_devices_that_have_them() -> None:
    assert isinstance(BACKEND, FloatBackend)
    assert BACKEND.float_dialect(target("sm86")) is None
    assert BACKEND.float_dialect(target("sm89")) == FLOAT_DIALECT


def test_plans_that_the_parser_takes_are_not_refused() -> None:
    typed = Plan(Precision.INT8, rest=Precision.FP16, scheme=scheme(DIALECT), cast=CastStyle.TYPED)
    weights = Plan(Precision.INT4, weights=WeightScheme(WeightStyle.WEIGHTS, block=64))
    for plan in (FP32, Plan(Precision.BF16, cast=CastStyle.TYPED), typed, weights):
        assert not refuse_plan(plan, AMPERE)


@builds
def test_weight_schemes_are_for_devices_that_have_them() -> None:
    assert BACKEND.weight_schemes(Precision.INT4, target("sm75")) == ()
    assert {one.block for one in BACKEND.weight_schemes(Precision.INT4, target("sm80"))} == {64, 128}
    assert all(one.style is WeightStyle.WEIGHTS for one in BACKEND.weight_schemes(Precision.INT8, target("sm75")))


def test_messages_lose_positions_and_the_missing_driver() -> None:
    said = tidy(
        "IBuilder::build: Error Code 1: Myelin (Cannot compile 'fc'. In compileGraph at /_src/a/b.cpp:2012)\n"
        "[x.cpp::catch::250] Error Code 1: Cuda Runtime (In catch at /_src/x.cpp:250 (cudaError 35: old driver))"
    )
    assert said == "Myelin (Cannot compile 'fc'.)"
    assert find_node(said, {"fc", "conv"}) == "fc"
    assert find_node("Cannot compile 'fc_U63'", {"fc"}) == "fc"
    assert find_node("Cannot compile 'fc_U63'", {"fc", "fc_U63"}) == "fc_U63"
    assert find_node("Cannot compile 'other'", {"fc"}) == ""


def test_the_timing_cache_is_kept_by_version_and_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    assert find_cache_file("11.0", AMPERE) == tmp_path / "tensorrt" / "timing-11.0-sm86.cache"
    monkeypatch.delenv("ASSAY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert find_cache_file("11.0", TURING).is_relative_to(tmp_path / "assay")


def test_settings_of_another_schema_are_refused(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_bytes(msgspec.json.encode({"schema": 2}))
    with pytest.raises(BuildFailed, match=SETTINGS_FILE):
        Settings.read(tmp_path)


@runs
def test_engines_run_on_the_gpu(tmp_path: Path) -> None:
    built = build(tmp_path, device="cuda:0")
    x = np.random.default_rng(3).standard_normal((4, 64)).astype(np.float32)
    with BACKEND.open(built, target("cuda:0")) as session:
        for _ in range(3):  # the third call is launched as a graph
            y = session.run({"x": x})["y"]
            np.testing.assert_allclose(y, np.maximum(x.sum(1, keepdims=True).repeat(8, 1), 0), rtol=1e-4, atol=1e-4)
        with pytest.raises(RunFailed, match="'x'"):
            session.run({"x": np.zeros((MOST_ITEMS + 1, 64), np.float32)})
