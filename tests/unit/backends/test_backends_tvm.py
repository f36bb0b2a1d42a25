"""What TVM's adapter builds: libraries for this processor and for others, and the model for other shapes."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from tvm_models import evaluate, need_tvm, open_built, parse

from assay.backends.table import load_backend
from assay.backends.tvm.building import LINKER_VARIABLE, find_linker, find_shapes
from assay.backends.tvm.machine import BOARDS, describe_x86, find_machine
from assay.backends.tvm.settings import Settings
from assay.core.errors import BackendUnavailable, BuildFailed, RunFailed
from assay.core.plan import Plan, WeightScheme
from assay.core.precision import CastStyle, Precision, WeightStyle
from assay.core.target import ShapeRange, Target
from assay.core.tensor import Signature, TensorSpec

AARCH64 = 183
"""Number of the architecture in an ELF header."""


@pytest.fixture(autouse=True)
def tvm_is_here() -> None:
    need_tvm()


def product(rows: str = "N") -> onnx.ModelProto:
    weight = np.random.default_rng(0).standard_normal((12, 16)).astype(np.float32)
    return parse(f"g (float[{rows}, 12] x) => (float[{rows}, 16] y) {{ y = MatMul(x, w) }}", w=weight)


def draw(rows: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(1).standard_normal((rows, 12)).astype(np.float32)}


def test_a_model_of_fixed_shapes_is_a_library_alone(tmp_path: Path) -> None:
    with open_built(product("3"), tmp_path) as session:
        np.testing.assert_allclose(session.run(draw(3))["y"], evaluate(product("3"), draw(3)), rtol=1e-4, atol=1e-5)
    assert sorted(path.name for path in (tmp_path / "built").iterdir()) == ["model.so", "settings.json"]


def test_other_shapes_are_compiled_when_they_come(tmp_path: Path) -> None:
    with open_built(product(), tmp_path, batch=2) as session:
        assert Settings.read(tmp_path / "built").libraries[0].shapes == ((2, 12),)
        for rows in (2, 5):
            found = session.run(draw(rows))["y"]
            np.testing.assert_allclose(found, evaluate(product(), draw(rows)), rtol=1e-4, atol=1e-5)


RUNTIME_ONLY = """
import sys
from pathlib import Path
import numpy as np
from assay.backends.table import load_backend
from assay.core.errors import BackendError
from assay.core.target import Target
with load_backend("tvm").open(Path(sys.argv[1]), Target("tvm")) as session:
    print(session.run({"x": np.ones((2, 12), np.float32)})["y"].sum())
    try:
        session.run({"x": np.ones((3, 12), np.float32)})
    except BackendError as error:
        print(error)
"""


def test_libraries_run_without_the_compiler(tmp_path: Path) -> None:
    with open_built(product(), tmp_path, batch=2) as session:
        expected = session.run({"x": np.ones((2, 12), np.float32)})["y"].sum()
    environment = os.environ | {"TVM_USE_RUNTIME_LIB": "1"}
    command = [sys.executable, "-c", RUNTIME_ONLY, str(tmp_path / "built")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    lines = done.stdout.splitlines()
    assert lines, done.stderr
    assert float(lines[0]) == pytest.approx(float(expected), rel=1e-6)
    assert "TVM_USE_RUNTIME_LIB" in lines[1]


def test_another_processor_is_built_for_and_not_opened(tmp_path: Path) -> None:
    source, built = tmp_path / "source.onnx", tmp_path / "built"
    onnx.save(product(), source)
    built.mkdir()
    target = Target("tvm", device="aarch64-dotprod", batch=2)
    backend = load_backend("tvm")
    backend.build(source, built, Plan(Precision.FP32), target)
    with tarfile.open(built / "model.tar") as archive:
        heads = [archive.extractfile(member).read(20) for member in archive if member.name.endswith(".o")]
    assert heads
    assert {struct.unpack_from("<H", head, 18)[0] for head in heads} == {AARCH64}
    settings = Settings.read(built)
    assert "aarch64-linux-gnu-g++" in settings.missing
    assert not settings.libraries[0].linked
    with pytest.raises(BackendUnavailable, match="aarch64-dotprod"):
        backend.open(built, target)
    with pytest.raises(BackendUnavailable, match="aarch64-dotprod"):
        backend.open(built, Target("tvm"))


def test_processors_to_build_for_are_told() -> None:
    availability = load_backend("tvm").probe()
    assert availability.builds == tuple(BOARDS)
    assert load_backend("tvm").supports(Plan(Precision.INT8), Target("tvm", device="aarch64")).supported


def test_another_processor_needs_known_shapes(tmp_path: Path) -> None:
    source, built = tmp_path / "source.onnx", tmp_path / "built"
    onnx.save(parse("g (float[N, L] x) => (float[N, L] y) { y = Relu(x) }"), source)
    built.mkdir()
    with pytest.raises(BuildFailed, match="shapes"):
        load_backend("tvm").build(source, built, Plan(Precision.FP32), Target("tvm", device="aarch64"))


def test_a_named_linker_is_used_for_other_processors_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    here, board = find_machine(), BOARDS["aarch64"]
    monkeypatch.setenv(LINKER_VARIABLE, sys.executable)
    if here.architecture != board.architecture:
        assert find_linker(board, here) == sys.executable
    assert find_linker(here, here) != sys.executable
    monkeypatch.setenv(LINKER_VARIABLE, "no-such-linker")
    if here.architecture != board.architecture:
        assert find_linker(board, here) == ""


def test_without_a_linker_the_model_is_compiled_when_it_is_fed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with open_built(product("3"), tmp_path) as session:
        found = session.run(draw(3))["y"]
    np.testing.assert_allclose(found, evaluate(product("3"), draw(3)), rtol=1e-4, atol=1e-5)
    settings = Settings.read(tmp_path / "built")
    assert not settings.libraries[0].linked
    assert "linker" in settings.missing


@pytest.mark.parametrize(
    ("plan", "word"),
    [
        (Plan(Precision.BF16, cast=CastStyle.TYPED), "bf16"),
        (Plan(Precision.FP16, cast=CastStyle.HINT), "hint"),
        (Plan(Precision.INT8, rest=Precision.BF16), "bf16"),
        (Plan(Precision.INT8, weights=WeightScheme(WeightStyle.WEIGHTS)), "weights"),
    ],
)
def test_plans_without_kernels_are_refused(plan: Plan, word: str) -> None:
    support = load_backend("tvm").supports(plan, Target("tvm"))
    assert not support.supported
    assert word in support.reason


def test_shapes_are_those_of_the_target_or_its_batch() -> None:
    signature = Signature((TensorSpec("a", "float32", ("N", 3)), TensorSpec("b", "int64", ("N", "L"))), ())
    assert find_shapes(signature, Target("tvm", batch=4)) is None
    known = ShapeRange("b", (1, 1), (4, 9), (8, 16))
    assert find_shapes(signature, Target("tvm", batch=4, shapes=(known,))) == {"a": (4, 3), "b": (4, 9)}


def test_levels_of_processors() -> None:
    wide = describe_x86(frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni"}))
    assert (wide.lanes, wide.dot, wide.encoding) == (16, True, "uint8")
    assert not describe_x86(frozenset({"avx2", "fma"})).dot
    assert describe_x86(frozenset()).lanes == 4
    assert BOARDS["aarch64-dotprod"].encoding == "int8"


def test_a_damaged_library_does_not_open(tmp_path: Path) -> None:
    open_built(product("3"), tmp_path).close()
    moved = (tmp_path / "built").rename(tmp_path / "moved")  # the process keeps what it loaded from the old place
    (moved / "model.so").unlink()
    (moved / "model.so").write_bytes(b"no library")
    with pytest.raises(BuildFailed, match=r"model\.so"):
        load_backend("tvm").open(moved, Target("tvm"))


def test_a_bound_call_repeats_with_its_feeds(tmp_path: Path) -> None:
    with open_built(product("3"), tmp_path) as session:
        call = session.bind(draw(3))
        call()
        call()
        with pytest.raises(RunFailed, match="'x'"):
            session.bind({"x": np.zeros((3, 11), np.float32)})
