from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator
from openvino_models import Network, Quantizer, make_quantized, make_residual, store_half

from assay.backends.model_files import read_signature
from assay.backends.openvino.adapter import OpenVinoBackend
from assay.backends.openvino.compilation import order_ports
from assay.backends.openvino.processor import adds_exactly
from assay.backends.openvino.session import OpenVinoSession
from assay.backends.openvino.settings import MODEL_FILE, Settings
from assay.backends.openvino.vendor import load_core, load_openvino, read_capabilities
from assay.backends.settings import SETTINGS_FILE
from assay.backends.table import load_backend
from assay.core.errors import BackendUnavailable, BuildFailed, RunFailed, UnsupportedPlan
from assay.core.plan import IntegerDialect, Plan, Scheme
from assay.core.precision import CastStyle, IntegerFormat, Placement, Precision, RangeMethod
from assay.core.session import Session
from assay.core.target import ServingMode, Target

BATCH = 3
TARGET = Target("openvino", batch=BATCH)
PARALLEL = Target("openvino", batch=BATCH, threads=2, mode=ServingMode.THROUGHPUT)
FP32 = Plan(Precision.FP32)

needs_bf16 = pytest.mark.skipif("BF16" not in read_capabilities("cpu"), reason="this CPU has no BF16 units")


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).random(shape, dtype=np.float32)


def build(model: Path, plan: Plan = FP32, target: Target = TARGET) -> Path:
    built = model.parent / f"{model.stem}.built"
    built.mkdir()
    OpenVinoBackend().build(model, built, plan, target)
    return built


def open_model(model: Path, plan: Plan = FP32, target: Target = TARGET) -> Session:
    return OpenVinoBackend().open(build(model, plan, target), target)


@pytest.fixture
def residual(tmp_path: Path) -> Path:
    return make_residual(tmp_path / "residual.onnx")


@pytest.fixture
def session(residual: Path) -> Iterator[Session]:
    with open_model(residual) as opened:
        yield opened


def evaluate(model: Path, **feeds: np.ndarray) -> list[np.ndarray]:
    return list(ReferenceEvaluator(str(model)).run(None, feeds))


def test_the_table_loads_the_adapter() -> None:
    assert load_backend("openvino").name == "openvino"


def test_outputs_are_the_evaluators(residual: Path, session: Session) -> None:
    x = draw(BATCH, 3, 8, 8)
    np.testing.assert_allclose(session.run({"x": x})["y"], evaluate(residual, x=x)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_any_batch_runs_beside_the_targets(residual: Path, session: Session, size: int) -> None:
    for _ in range(2):
        for count in (BATCH, size):
            x = draw(count, 3, 8, 8)
            np.testing.assert_allclose(session.run({"x": x})["y"], evaluate(residual, x=x)[0], rtol=1e-4, atol=1e-5)


def test_outputs_stay_after_the_next_call(session: Session) -> None:
    first = session.run({"x": draw(BATCH, 3, 8, 8)})["y"]
    kept = first.copy()
    session.run({"x": draw(BATCH, 3, 8, 8) + 5})
    np.testing.assert_array_equal(first, kept)
    first += 1  # and belong to the caller


def test_views_and_locked_arrays_run(session: Session) -> None:
    x = draw(BATCH, 3, 8, 8)
    expected = session.run({"x": x})["y"]
    flipped = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert not flipped.flags.c_contiguous
    np.testing.assert_array_equal(session.run({"x": flipped})["y"], expected)
    locked = x.copy()
    locked.flags.writeable = False
    np.testing.assert_array_equal(session.run({"x": locked})["y"], expected)


def test_an_artifact_that_needs_another_batch_than_the_target_still_opens(tmp_path: Path) -> None:
    net = Network()
    net.add("Relu", net.add("Reshape", "x", net.constant(np.array([2, 5]))), outputs=["y"])
    model = net.save(tmp_path / "m.onnx", {"x": ["batch", 5]}, {"y": [2, 5]})
    with open_model(model) as opened:
        assert opened.run({"x": draw(2, 5)})["y"].shape == (2, 5)


def make_branches(path: Path) -> Path:
    """Inputs and outputs in an order that is not alphabetic, one unused, one handed through, several types."""
    net = Network()
    net.add("Add", "b", "a", outputs=["sum"])
    net.add("Sub", "b", "a", outputs=["difference"])
    net.add("Cast", "ids", to=TensorProto.INT64, outputs=["wide"])
    net.add("Identity", "a", outputs=["copy"])
    inputs = {"b": ["n", 4], "unused": ["n", 2], "ids": ["n", "length"], "a": ["n", 4]}
    outputs = {"wide": ["n", "length"], "sum": ["n", 4], "copy": ["n", 4], "difference": ["n", 4]}
    return net.save(path, inputs, outputs, {"ids": TensorProto.INT32, "wide": TensorProto.INT64})


def test_names_and_types_are_the_onnx_files(tmp_path: Path) -> None:
    feeds = {
        "ids": np.arange(6, dtype=np.int32).reshape(2, 3),
        "a": draw(2, 4),
        "b": draw(2, 4) * 3,
        "unused": draw(2, 2),
    }
    with open_model(make_branches(tmp_path / "m.onnx")) as opened:
        signature = opened.signature
        outputs = opened.run(feeds)
    assert [(spec.name, spec.dtype, spec.shape) for spec in signature.inputs] == [
        ("b", "float32", ("n", 4)),
        ("unused", "float32", ("n", 2)),
        ("ids", "int32", ("n", "length")),
        ("a", "float32", ("n", 4)),
    ]
    assert list(outputs) == [spec.name for spec in signature.outputs] == ["wide", "sum", "copy", "difference"]
    assert outputs["wide"].dtype == np.int64
    np.testing.assert_array_equal(outputs["wide"], feeds["ids"])
    np.testing.assert_allclose(outputs["sum"], feeds["a"] + feeds["b"])
    np.testing.assert_allclose(outputs["difference"], feeds["b"] - feeds["a"])
    np.testing.assert_array_equal(outputs["copy"], feeds["a"])


def test_ports_are_found_by_name_before_position(tmp_path: Path) -> None:
    model = load_core().read_model(str(make_branches(tmp_path / "m.onnx")))
    turned = load_openvino().Model(model.get_results()[::-1], model.get_parameters()[::-1])
    specs = read_signature(tmp_path / "m.onnx")
    assert order_ports(model.inputs, specs.inputs) == (0, 1, 2, 3)
    assert order_ports(turned.inputs, specs.inputs) == (3, 2, 1, 0)
    with pytest.raises(BuildFailed, match="unused"):
        order_ports(turned.inputs[1:], specs.inputs)


def test_bfloat16_interfaces_keep_their_type(tmp_path: Path) -> None:
    net = Network()
    net.add("Add", "x", "x", outputs=["y"])
    types = {"x": TensorProto.BFLOAT16, "y": TensorProto.BFLOAT16}
    x = draw(BATCH, 4).astype(ml_dtypes.bfloat16)
    with open_model(net.save(tmp_path / "m.onnx", {"x": ["n", 4]}, {"y": ["n", 4]}, types)) as opened:
        y = opened.run({"x": x})["y"]
        streamed = next(iter(opened.stream([{"x": x}])))["y"]
        lent = opened.lend({"x": x})["y"]
        assert opened.signature.outputs[0].dtype == "bfloat16"
        assert y.dtype == streamed.dtype == lent.dtype == x.dtype
        for found in (y, streamed, lent):
            np.testing.assert_array_equal(found.astype(np.float32), 2 * x.astype(np.float32))
        opened.lend({"x": x * ml_dtypes.bfloat16(2)})
        np.testing.assert_array_equal(lent.astype(np.float32), 4 * x.astype(np.float32), err_msg="lent memory, no copy")
        np.testing.assert_array_equal(y.astype(np.float32), 2 * x.astype(np.float32), err_msg="a copy")


@pytest.mark.parametrize(
    ("feeds", "named"),
    [
        ({}, "'x' is missing"),
        ({"x": draw(BATCH, 3, 8, 8), "z": draw(1)}, "'z'"),
        ({"z": draw(BATCH, 3, 8, 8)}, "'z'"),
        ({"x": draw(BATCH, 3, 8, 9)}, "'x' has the shape [3, 3, 8, 9]"),
        ({"x": draw(3, 8, 8)}, "'x' has the shape [3, 8, 8]"),
        ({"x": draw(BATCH, 3, 8, 8).astype(np.float64)}, "'x' has the element type float64"),
        ({"x": draw(BATCH, 3, 8, 8).astype(">f4")}, "'x' is not in the machine's byte order"),
        ({"x": [1.0]}, "'x' is a list"),
    ],
)
def test_wrong_feeds_name_the_input(session: Session, feeds: dict[str, np.ndarray], named: str) -> None:
    session.run({"x": draw(BATCH, 3, 8, 8)})
    with pytest.raises(RunFailed) as raised:
        session.run(feeds)
    assert named in str(raised.value)
    session.run({"x": draw(BATCH, 3, 8, 8)})


@pytest.mark.parametrize(("target", "words"), [(TARGET, "failed while running"), (PARALLEL, "cannot run on shapes")])
def test_shapes_that_do_not_fit_each_other_are_refused(tmp_path: Path, target: Target, words: str) -> None:
    net = Network()
    net.add("MatMul", "a", "b", outputs=["y"])
    model = net.save(tmp_path / "m.onnx", {"a": ["n", "k"], "b": ["l", 4]}, {"y": ["n", 4]})
    with open_model(model, target=target) as opened:
        for _ in range(2):
            with pytest.raises(RunFailed, match=f"{words}.*MatMul"):
                opened.run({"a": draw(2, 3), "b": draw(5, 4)})
            with pytest.raises(RunFailed, match=f"{words}.*MatMul"):
                list(opened.stream([{"a": draw(2, 3), "b": draw(5, 4)}]))
            assert opened.run({"a": draw(2, 5), "b": draw(5, 4)})["y"].shape == (2, 4)


def test_failures_while_running_are_mapped(tmp_path: Path) -> None:
    net = Network()
    net.add("Reshape", "x", "sizes", outputs=["y"])
    shapes: dict[str, list[int | str]] = {"x": ["n", 4], "sizes": [2]}
    model = net.save(tmp_path / "m.onnx", shapes, {"y": ["a", "b"]}, {"sizes": TensorProto.INT64})
    good, bad = np.array([6, 2]), np.array([5, 7])
    with open_model(model) as opened:
        for _ in range(2):
            with pytest.raises(RunFailed, match="failed while running"):
                opened.run({"x": draw(BATCH, 4), "sizes": bad})
            with pytest.raises(RunFailed, match="failed while running"):
                list(opened.stream([{"x": draw(BATCH, 4), "sizes": sizes} for sizes in (good, bad, good)]))
            assert opened.run({"x": draw(BATCH, 4), "sizes": good})["y"].shape == (6, 2)


def test_a_closed_session_refuses_to_run(residual: Path) -> None:
    opened = open_model(residual)
    opened.close()
    opened.close()
    with pytest.raises(RunFailed, match="closed"):
        opened.run({"x": draw(BATCH, 3, 8, 8)})


@pytest.mark.parametrize("target", [TARGET, PARALLEL])
def test_streams_keep_the_order(residual: Path, target: Target) -> None:
    sizes = [BATCH] * 9 + [2, BATCH, 1]
    batches = [{"x": draw(size, 3, 8, 8) * step} for step, size in enumerate(sizes)]
    with open_model(residual, target=target) as opened:
        streamed = [outputs["y"] for outputs in opened.stream(iter(batches))]
        direct = [opened.run(feeds)["y"] for feeds in batches]
    assert [len(y) for y in streamed] == sizes
    for one, other in zip(streamed, direct, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_a_stream_for_latency_runs_one_call_at_a_time(session: Session) -> None:
    source = iter([{"x": draw(BATCH, 3, 8, 8)}] * 3)
    next(session.stream(source))
    assert len(list(source)) == 2


def test_a_stream_takes_no_more_batches_than_are_under_way(residual: Path) -> None:
    taken = []

    def produce() -> Iterator[dict[str, np.ndarray]]:
        for step in range(50):
            taken.append(step)
            yield {"x": draw(BATCH, 3, 8, 8)}

    with open_model(residual, target=PARALLEL) as opened:
        stream = opened.stream(produce())
        next(stream)
        assert len(taken) < 20
        stream.close()  # type: ignore[attr-defined]  # a generator in this mode
        assert len(list(opened.stream([{"x": draw(BATCH, 3, 8, 8)}] * 9))) == 9


def test_a_run_during_a_stream_has_its_own_request(residual: Path) -> None:
    with open_model(residual, target=PARALLEL) as opened:
        stream = opened.stream([{"x": draw(BATCH, 3, 8, 8)}] * 6)
        next(stream)
        assert opened.run({"x": draw(BATCH, 3, 8, 8)})["y"].shape == (BATCH, 10)
        assert len(list(stream)) == 5


def test_garbage_and_missing_files_fail_to_build(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x08\x01not a model")
    for path in (broken, tmp_path / "missing.onnx"):
        with pytest.raises(BuildFailed, match=path.name):
            build(path)


def test_an_unknown_operator_is_named(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Frobnicate", ["x"], ["y"], domain="example.org", name="strange")
    info = [onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("example.org", 1)]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", info[:1], info[1:]), opset_imports=opsets)
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(BuildFailed, match="Frobnicate"):
        build(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (SETTINGS_FILE, "{"),
        (SETTINGS_FILE, '{"schema": 1, "inputs": [], "outputs": [], "compute": "fp32", "typo": 1}'),
        (SETTINGS_FILE, '{"schema": 2, "inputs": [], "outputs": [], "compute": "fp32"}'),
        (MODEL_FILE, "<net"),
    ],
)
def test_a_spoilt_build_names_the_file(residual: Path, name: str, text: str) -> None:
    built = build(residual)
    (built / name).write_text(text)
    with pytest.raises(BuildFailed, match=name):
        OpenVinoBackend().open(built, TARGET)


def test_settings_hold_what_was_asked(tmp_path: Path) -> None:
    model = make_quantized(tmp_path / "m.onnx", np.uint8, np.int8)
    settings = Settings.read(build(model, Plan(Precision.INT8, rest=Precision.FP32)))
    assert settings.compute is Precision.FP32
    assert [spec.name for spec in (*settings.inputs, *settings.outputs)] == ["x", "y"]


def test_the_built_folder_is_all_that_opens(residual: Path, tmp_path: Path) -> None:
    moved = build(residual).rename(tmp_path / "elsewhere")
    residual.unlink()
    with OpenVinoBackend().open(moved, TARGET) as opened:
        assert opened.run({"x": draw(BATCH, 3, 8, 8)})["y"].shape == (BATCH, 10)


def weights_size(path: Path, plan: Plan) -> int:
    return build(path, plan).joinpath("model.bin").stat().st_size


def test_what_was_built_opens_without_the_onnx_package(residual: Path) -> None:
    """Its import takes longer than opening a small model, in every process that measures or serves."""
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "from pathlib import Path\n"
        "from assay.backends.table import load_backend\n"
        "from assay.core.target import Target\n"
        f"load_backend('openvino').open(Path({str(build(residual))!r}), Target('openvino', batch={BATCH})).close()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_constants_stay_as_small_as_they_are_stored(tmp_path: Path) -> None:
    net = Network()
    net.add("MatMul", "x", net.weight(256, 512), outputs=["y"])
    full = net.save(tmp_path / "full.onnx", {"x": ["n", 256]}, {"y": ["n", 512]})
    half = store_half(full, tmp_path / "half.onnx", TensorProto.FLOAT16)
    brain = store_half(full, tmp_path / "brain.onnx", TensorProto.BFLOAT16)
    bytes_net = Quantizer(np.uint8, np.int8)
    bytes_net.add("Gemm", bytes_net.pair("x"), bytes_net.stored_weight(512, 256), transB=1, outputs=["y"])
    integers = bytes_net.save(tmp_path / "bytes.onnx", {"x": ["n", 256]}, {"y": ["n", 512]})
    size = weights_size(full, FP32)
    assert weights_size(half, Plan(Precision.FP16, cast=CastStyle.HINT)) < 0.51 * size
    if "BF16" in read_capabilities("cpu"):
        assert weights_size(brain, Plan(Precision.BF16, cast=CastStyle.HINT)) < 0.51 * size
    assert weights_size(integers, Plan(Precision.INT8)) < 0.27 * size


@needs_bf16
def test_what_bf16_accumulates_does_not_stall(tmp_path: Path) -> None:
    net = Network()
    rows = net.add("MatMul", "x", net.constant(np.eye(2048, dtype=np.float32)))
    summed = net.add("ReduceSum", rows, net.constant(np.array([-1])), keepdims=1)
    net.add("MatMul", summed, net.constant(np.ones((1, 4), np.float32)), outputs=["y"])
    model = net.save(tmp_path / "m.onnx", {"x": ["n", 2048]}, {"y": ["n", 4]})
    with open_model(model, Plan(Precision.BF16, cast=CastStyle.HINT)) as opened:
        y = opened.run({"x": np.ones((BATCH, 2048), np.float32)})["y"]
    np.testing.assert_allclose(y, 2048, rtol=0.01)  # a BF16 sum of ones ends at 256


def test_dialects_are_those_that_run_as_integers() -> None:
    unsigned, signed = OpenVinoBackend().dialects(TARGET)
    assert (unsigned.name, unsigned.symmetric) == ("u8s8", False)
    assert (signed.name, signed.symmetric) == ("s8s8", True)
    assert all(dialect.per_channel and not dialect.integer_bias for dialect in (unsigned, signed))


@pytest.mark.parametrize(
    ("machine", "flags", "exact"),
    [
        ("x86_64", "flags : fpu avx2 avx512f", False),
        ("x86_64", "flags : fpu avx2 avx512_vnni", True),
        ("AMD64", "flags : avx_vnni", True),
        ("x86_64", "", False),
        ("aarch64", "", True),
    ],
)
def test_byte_products_saturate_on_older_x86_only(machine: str, flags: str, *, exact: bool) -> None:
    assert adds_exactly(machine, flags) is exact


def signed_scheme() -> Scheme:
    return Scheme(IntegerDialect(IntegerFormat.S8, symmetric=True), Placement.CHAIN, RangeMethod.MIN_MAX)


def make_concat(path: Path) -> Path:
    net = Quantizer(np.int8, np.int8)
    quantized = net.pair("x")
    parts = [net.pair(net.add("Conv", quantized, net.stored_weight(16, 16, 1, 1))) for _ in range(2)]
    joined = net.pair(net.add("Concat", *parts, axis=1))
    net.add("Conv", joined, net.stored_weight(16, 32, 1, 1), outputs=["y"])
    return net.save(path, {"x": ["n", 16, 8, 8]}, {"y": ["n", 16, 8, 8]})


def test_signed_codes_are_either_right_or_refused(tmp_path: Path) -> None:
    model = make_concat(tmp_path / "m.onnx")
    x = (draw(BATCH, 16, 8, 8) - 0.5) * 6
    expected = evaluate(model, x=x)[0]
    plan = Plan(Precision.INT8, scheme=signed_scheme())
    try:
        opened = open_model(model, plan)
    except UnsupportedPlan as err:
        assert "Concat" in err.message  # noqa: PT017 - both outcomes are right, the wrong sum below is not
    else:
        with opened:
            error = np.abs(opened.run({"x": x})["y"] - expected).max()
        assert error < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (Plan(Precision.INT8, overrides=(("head", Precision.FP32),)), ""),
        (Plan(Precision.INT8, rest=Precision.INT8), "INT8"),
        (Plan(Precision.INT8, overrides=(("head", Precision.FP16),)), "'head'"),
        (Plan(Precision.FP16, cast=CastStyle.HINT, overrides=(("head", Precision.FP32),)), "'head'"),
    ],
)
def test_one_float_format_per_model(residual: Path, plan: Plan, reason: str) -> None:
    support = OpenVinoBackend().supports(plan, TARGET)
    assert support.supported is not bool(reason)
    assert reason in support.reason
    if reason:
        with pytest.raises(UnsupportedPlan, match=reason):
            build(residual, plan)


def test_rests_follow_the_device() -> None:
    rests = OpenVinoBackend().rests(TARGET)
    assert rests[-1] is Precision.FP32
    assert (Precision.BF16 in rests) is ("BF16" in read_capabilities("cpu"))


def test_a_device_that_is_not_here_is_named(residual: Path) -> None:
    elsewhere = Target("openvino", device="npu:7")
    assert "npu:7" in OpenVinoBackend().supports(FP32, elsewhere).reason
    built = build(residual)
    with pytest.raises(BackendUnavailable, match="npu:7"):
        OpenVinoBackend().open(built, elsewhere)


def test_probe_names_version_and_devices() -> None:
    found = OpenVinoBackend().probe()
    assert found.available
    assert "cpu" in found.devices
    assert found.version[:4] == OpenVinoBackend().versions()["openvino"][:4] != ""


def test_probe_says_how_to_get_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "openvino", None)
            load_openvino.cache_clear()
            load_core.cache_clear()
            found = OpenVinoBackend().probe()
            assert not OpenVinoBackend().supports(FP32, TARGET).supported
    finally:
        load_openvino.cache_clear()
        load_core.cache_clear()
    assert not found.available
    assert "openvino" in found.missing.lower()
    assert "pip install" in found.remedy
    assert OpenVinoBackend().probe().available


def test_a_call_costs_little_more_than_the_runtimes_own(residual: Path) -> None:
    with open_model(residual) as opened:
        assert isinstance(opened, OpenVinoSession)
        feeds = {"x": draw(BATCH, 3, 8, 8)}
        opened.run(feeds)
        (engine,) = opened._engines.values()  # noqa: SLF001 - the runtime's own call on the same compiled model
        request = engine.compiled.create_infer_request()
        extra = []
        for _ in range(200):
            start = time.perf_counter()
            request.infer(feeds)
            middle = time.perf_counter()
            opened.run(feeds)
            extra.append(time.perf_counter() - middle - (middle - start))
    assert np.median(extra) < 2e-3  # generous: what it must find is a compile or a second run per call
