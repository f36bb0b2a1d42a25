"""What every backend promises of its sessions: names, types, order, errors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from conformance_models import CASES, make_gemm, make_interface, make_residual, parse_model

from assay.backends.backend import Backend
from assay.backends.table import make_target
from assay.core.errors import BackendError, BuildFailed, RunFailed
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.session import Session
from assay.core.target import ServingMode

Opener = Callable[..., Session]


def test_probe_says_what_is_there(backend: Backend) -> None:
    availability = backend.probe()
    assert availability.version
    assert make_target(backend.name).device in availability.devices
    assert not availability.missing


def test_versions_name_every_tool(backend: Backend) -> None:
    assert backend.versions()
    assert all(backend.versions().values())


def test_fp32_is_supported(backend: Backend) -> None:
    assert backend.supports(Plan(Precision.FP32), make_target(backend.name)).supported


def test_a_device_that_is_missing_has_a_reason(backend: Backend) -> None:
    support = backend.supports(Plan(Precision.FP32), replace(make_target(backend.name), device="abacus:3"))
    assert not support.supported
    assert "abacus:3" in support.reason


@pytest.mark.parametrize("case", CASES)
def test_fp32_equals_numpy(backend: Backend, opener: Opener, case: str, rng: np.random.Generator) -> None:
    found = CASES[case](rng)
    with opener(backend, found.model) as session:
        outputs = session.run(found.feeds)
    assert list(outputs) == list(found.outputs)
    for name, expected in found.outputs.items():
        assert outputs[name].dtype == np.float32
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-4, atol=1e-4)


def test_fp32_equals_numpy_on_two_threads(backend: Backend, opener: Opener, rng: np.random.Generator) -> None:
    found = make_residual(rng)
    with opener(backend, found.model, threads=2) as session:
        np.testing.assert_allclose(session.run(found.feeds)["y"], found.outputs["y"], rtol=1e-4, atol=1e-4)


def test_signature_names_types_and_fixed_axes(backend: Backend, opener: Opener, rng: np.random.Generator) -> None:
    with opener(backend, make_interface(rng).model) as session:
        signature = session.signature
    assert [(spec.name, spec.dtype) for spec in signature.inputs] == [("x", "float32"), ("picks", "int64")]
    assert [spec.name for spec in signature.outputs] == ["logits", "picked"]
    batch, width = signature.inputs[0].shape
    assert not isinstance(batch, int)
    assert width == 6


@pytest.mark.parametrize("batch", [1, 4, 7])
def test_batch_is_dynamic(backend: Backend, opener: Opener, batch: int, rng: np.random.Generator) -> None:
    found = make_gemm(rng)
    x = np.resize(found.feeds["x"], (batch, 12))
    with opener(backend, found.model) as session:
        session.run(found.feeds)
        assert session.run({"x": x})["y"].shape == (batch, 7)


def test_inputs_need_not_be_contiguous(backend: Backend, opener: Opener, rng: np.random.Generator) -> None:
    found = make_residual(rng)
    backwards = np.ascontiguousarray(found.feeds["x"].transpose(3, 2, 1, 0)).transpose(3, 2, 1, 0)
    strided = np.repeat(found.feeds["x"], 2, axis=0)[::2]
    with opener(backend, found.model) as session:
        for x in (backwards, strided):
            assert not x.flags.c_contiguous
            np.testing.assert_allclose(session.run({"x": x})["y"], found.outputs["y"], rtol=1e-4, atol=1e-4)


def test_read_only_inputs_are_taken(backend: Backend, opener: Opener, rng: np.random.Generator) -> None:
    found = make_gemm(rng)
    found.feeds["x"].flags.writeable = False
    with opener(backend, found.model) as session:
        np.testing.assert_allclose(session.run(found.feeds)["y"], found.outputs["y"], rtol=1e-4, atol=1e-4)


def test_outputs_outlive_the_next_call_and_the_session(
    backend: Backend, opener: Opener, rng: np.random.Generator
) -> None:
    found = make_gemm(rng)
    with opener(backend, found.model) as session:
        first = session.run(found.feeds)["y"]
        kept = first.copy()
        for _ in range(3):
            session.run({"x": found.feeds["x"] * 100})
        np.testing.assert_array_equal(first, kept)
    del session
    np.testing.assert_array_equal(first, kept)


def test_an_input_changed_after_the_call_does_not_change_the_output(
    backend: Backend, opener: Opener, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((2, 6)).astype(np.float32)
    with opener(
        backend, parse_model("g (float[N,6] x) => (float[N,3,2] y) { y = Reshape(x, s) }", s=np.int64([-1, 3, 2]))
    ) as session:
        output = session.run({"x": x})["y"]
        kept = output.copy()
        x[:] = 0
    np.testing.assert_array_equal(output, kept)


def bad_feeds() -> dict[str, tuple[dict[str, object], tuple[str, ...]]]:
    """Feeds that do not fit ``x: float32[N, 6]`` and ``picks: int64[N, 2]``, and what the message must name."""
    x, picks = np.zeros((2, 6), np.float32), np.zeros((2, 2), np.int64)
    return {
        "nothing": ({}, ("'x'",)),
        "missing": ({"x": x}, ("'picks'",)),
        "unknown": ({"x": x, "picks": picks, "extra": x}, ("'extra'",)),
        "renamed": ({"x": x, "pick": picks}, ("'pick'",)),
        "type": ({"x": x.astype(np.float64), "picks": picks}, ("'x'", "float64", "float32")),
        "index type": ({"x": x, "picks": picks.astype(np.int32)}, ("'picks'", "int32", "int64")),
        "rank": ({"x": x[0], "picks": picks}, ("'x'", "[6]", "[N, 6]")),
        "shape": ({"x": x[:, :5], "picks": picks}, ("'x'", "[2, 5]", "[N, 6]")),
        "byte order": ({"x": x.astype(x.dtype.newbyteorder()), "picks": picks}, ("'x'",)),
        "none": ({"x": x, "picks": None}, ("'picks'",)),
    }


@pytest.mark.parametrize("kind", bad_feeds())
def test_wrong_feeds_are_refused_by_name(backend: Backend, opener: Opener, kind: str, rng: np.random.Generator) -> None:
    feeds, texts = bad_feeds()[kind]
    with opener(backend, make_interface(rng).model) as session:
        with pytest.raises(RunFailed) as caught:
            session.run(feeds)
        assert all(text in str(caught.value) for text in texts), str(caught.value)
        good = make_interface(np.random.default_rng(1))
        assert session.run(good.feeds)["logits"].shape == (3, 4)  # and it still runs


FAILING_RUN = """
import sys
from pathlib import Path
import numpy as np
from assay.backends.table import load_backend, make_target
from assay.core.errors import RunFailed
with load_backend(sys.argv[1]).open(Path(sys.argv[2]), make_target(sys.argv[1], threads=2)) as session:
    try:
        session.run({"x": np.zeros((2, 6), np.float32), "z": np.zeros((5, 3), np.float32)})
    except RunFailed as error:
        print(error.message, flush=True)
"""


def test_a_node_that_fails_is_a_failed_run(backend: Backend, tmp_path: Path) -> None:
    """A product whose inner axes differ at run time.

    In a process of its own: OpenVINO 2026.4.1 raises here as it should, but is left with damaged memory, and the
    next model of the process can crash. On two threads: with one, OpenVINO 2026.4.1 swallows the error and gives an
    empty output.
    """
    model = parse_model("g (float[N,K] x, float[L,3] z) => (float[N,3] y) { y = MatMul(x, z) }")
    source, built = tmp_path / "source.onnx", tmp_path / "built"
    onnx.save(model, source)
    built.mkdir()
    backend.build(source, built, Plan(Precision.FP32), make_target(backend.name))
    command = [sys.executable, "-c", FAILING_RUN, backend.name, str(built)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert "matmul" in shown.lower()


def garbage() -> dict[str, bytes]:
    whole = parse_model("g (float[N,6] x) => (float[N,6] y) { y = Relu(x) }")
    unknown = parse_model("g (float[N,6] x) => (float[N,6] y) { y = Relu(x) }")
    unknown.graph.node[0].op_type = "Frobnicate"
    dangling = parse_model("g (float[N,6] x) => (float[N,6] y) { y = Relu(x) }")
    dangling.graph.node[0].input[0] = "nowhere"
    return {
        "empty": b"",
        "noise": b"\x07not an ONNX file\xff" * 9,
        "truncated": whole.SerializeToString()[:-9],
        "unknown operator": unknown.SerializeToString(),
        "dangling input": dangling.SerializeToString(),
    }


@pytest.mark.parametrize("kind", garbage())
def test_garbage_does_not_build(backend: Backend, tmp_path: Path, kind: str) -> None:
    source, built = tmp_path / "source.onnx", tmp_path / "built"
    source.write_bytes(garbage()[kind])
    built.mkdir()
    with pytest.raises(BuildFailed) as caught:
        backend.build(source, built, Plan(Precision.FP32), make_target(backend.name))
    if kind == "unknown operator":
        assert "Frobnicate" in caught.value.message


def test_a_missing_model_does_not_build(backend: Backend, tmp_path: Path) -> None:
    (tmp_path / "built").mkdir()
    with pytest.raises(BuildFailed, match=r"nowhere\.onnx"):
        backend.build(tmp_path / "nowhere.onnx", tmp_path / "built", Plan(Precision.FP32), make_target(backend.name))


def test_an_empty_folder_does_not_open(backend: Backend, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed):
        backend.open(tmp_path, make_target(backend.name))


def test_external_data_is_built_in(backend: Backend, tmp_path: Path, rng: np.random.Generator) -> None:
    found = make_gemm(rng)
    source, built = tmp_path / "source", tmp_path / "built"
    source.mkdir()
    built.mkdir()
    onnx.save(found.model, source / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    backend.build(source / "net.onnx", built, Plan(Precision.FP32), make_target(backend.name))
    (source / "net.data").unlink()
    (source / "net.onnx").unlink()
    moved = built.rename(tmp_path / "elsewhere")
    with backend.open(moved, make_target(backend.name)) as session:
        np.testing.assert_allclose(session.run(found.feeds)["y"], found.outputs["y"], rtol=1e-4, atol=1e-4)


def test_missing_external_data_does_not_build(backend: Backend, tmp_path: Path, rng: np.random.Generator) -> None:
    source, built = tmp_path / "net.onnx", tmp_path / "built"
    built.mkdir()
    onnx.save(make_gemm(rng).model, source, save_as_external_data=True, location="net.data", size_threshold=0)
    (tmp_path / "net.data").unlink()
    with pytest.raises(BackendError):
        backend.build(source, built, Plan(Precision.FP32), make_target(backend.name))


def test_closing_twice_does_nothing(backend: Backend, opener: Opener, rng: np.random.Generator) -> None:
    found = make_gemm(rng)
    session = opener(backend, found.model)
    session.close()
    session.close()
    with pytest.raises(RunFailed, match="closed"):
        session.run(found.feeds)


@pytest.mark.parametrize("mode", ServingMode)
@pytest.mark.parametrize("threads", [1, 2])
def test_stream_keeps_the_order(
    backend: Backend, opener: Opener, mode: ServingMode, threads: int, rng: np.random.Generator
) -> None:
    found = make_residual(rng)
    sizes = [3, 1, 2, 3, 1, 3, 2, 1, 1, 3, 3]
    batches = [{"x": found.feeds["x"][:size] * (1 + index)} for index, size in enumerate(sizes)]
    with opener(backend, found.model, threads=threads, mode=mode) as session:
        alone = [session.run(feeds)["y"] for feeds in batches]
        streamed = [outputs["y"] for outputs in session.stream(iter(batches))]
    assert [len(y) for y in streamed] == sizes
    for one, other in zip(alone, streamed, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ServingMode)
def test_stream_may_end_early_and_start_again(
    backend: Backend, opener: Opener, mode: ServingMode, rng: np.random.Generator
) -> None:
    found = make_gemm(rng)
    with opener(backend, found.model, threads=2, mode=mode) as session:
        assert list(session.stream([])) == []
        taken = 0

        def endless() -> object:
            nonlocal taken
            while True:
                taken += 1
                yield found.feeds

        stream = session.stream(endless())
        next(stream)
        assert taken < 64  # as many under way as the runtime takes, not all of them
        del stream
        assert len(list(session.stream([found.feeds] * 3))) == 3


@pytest.mark.parametrize("mode", ServingMode)
def test_stream_names_wrong_feeds(
    backend: Backend, opener: Opener, mode: ServingMode, rng: np.random.Generator
) -> None:
    found = make_gemm(rng)
    with opener(backend, found.model, threads=2, mode=mode) as session:
        with pytest.raises(RunFailed, match="'x'"):
            list(session.stream([found.feeds, {"x": np.zeros((2, 5), np.float32)}, found.feeds]))
        assert session.run(found.feeds)["y"].shape == (5, 7)
