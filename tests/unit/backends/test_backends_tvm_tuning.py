"""Tuning for TVM: what there is to choose, what is kept, and that a second run goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from tvm_models import evaluate, need_tvm, open_built, parse, quantized_conv

from assay.backends.tvm.database import DATABASE_VARIABLE, Database, find_database, open_database
from assay.backends.tvm.machine import find_machine
from assay.backends.tvm.measuring import THREADS_VARIABLE, Stopwatch
from assay.backends.tvm.tiles import STACK_BYTES, list_tiles
from assay.backends.tvm.tuning import Budget, TuningProgress, collect_tasks, tune_model
from assay.backends.tvm.vendor import load_compiler
from assay.core.target import Target

COPY = """
@T.prim_func(s_tir=True)
def main(A: T.Buffer((4,), "int32"), B: T.Buffer((4,), "int32")) -> None:
    with T.sblock("root"):
        with T.sblock("copy"):
            T.reads(A[0:4])
            T.writes(B[0:4])
            {loop}
                B[1] = A[1]
"""


def convolutions() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    return parse(
        """g (float[N, 16, 12, 12] x) => (float[N, 32, 12, 12] y) {
            a = Conv<pads = [1,1,1,1]>(x, v)
            b = Relu(a)
            y = Conv<pads = [1,1,1,1]>(b, w)
        }""",
        v=rng.standard_normal((32, 16, 3, 3)).astype(np.float32),
        w=rng.standard_normal((32, 32, 3, 3)).astype(np.float32),
    )


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    need_tvm()
    monkeypatch.setenv(DATABASE_VARIABLE, str(tmp_path / "database"))
    path = tmp_path / "net.onnx"
    onnx.save(convolutions(), path)
    return path


@pytest.mark.parametrize("rows", [1, 7, 12, 13, 56])
@pytest.mark.parametrize("blocks", [1, 3, 4])
def test_tiles_divide_the_product_and_fit_the_stack(rows: int, blocks: int) -> None:
    tiles = list_tiles(rows, blocks * 16, 16, 16)
    assert tiles
    assert len(set(tiles)) == len(tiles)
    assert all(rows % tile.rows == 0 and blocks % tile.vectors == 0 for tile in tiles)
    assert all(tile.rows * tile.vectors * 16 * 4 <= STACK_BYTES for tile in tiles)


def test_functions_to_tune_are_found_once(source: Path) -> None:
    machine = find_machine()
    tasks = collect_tasks([source, source], Target("tvm"), machine, Database(None, machine), 6)
    assert len(tasks) == 2
    assert all(task.measured == 0 and 2 <= len(task.tiles) <= 6 for task in tasks)
    assert all(task.calls == 2 for task in tasks)


@pytest.mark.slow
def test_what_was_measured_is_chosen_and_not_measured_again(source: Path, tmp_path: Path) -> None:
    seen: list[TuningProgress] = []
    folder = tune_model([source], Target("tvm"), Budget(seconds=600, tiles=2), seen.append)
    assert folder == find_database(find_machine())
    assert [progress.done for progress in seen] == [1, 2, 3, 4]
    assert all(progress.milliseconds is not None and progress.text for progress in seen)
    again: list[TuningProgress] = []
    tune_model([source], Target("tvm"), Budget(seconds=600, tiles=2), again.append)
    assert not again
    machine = find_machine()
    database = open_database(folder, machine)
    tasks = collect_tasks([source], Target("tvm"), machine, database, 2)
    assert all(database.choose(task.module, machine) is not None for task in tasks)
    x = np.random.default_rng(1).standard_normal((1, 16, 12, 12)).astype(np.float32)
    built = tmp_path / "tuned"
    built.mkdir()
    with open_built(convolutions(), built) as session:
        np.testing.assert_allclose(session.run({"x": x})["y"], evaluate(convolutions(), {"x": x}), rtol=1e-3, atol=1e-3)


def test_no_time_measures_nothing(source: Path) -> None:
    seen: list[TuningProgress] = []
    tune_model([source], Target("tvm"), Budget(seconds=0), seen.append)
    assert not seen


def test_a_fresh_process_reads_what_was_measured_of_integers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedules name our own instruction, which a process must know before it can read them."""
    need_tvm()
    monkeypatch.setenv(DATABASE_VARIABLE, str(tmp_path / "database"))
    model = quantized_conv(np.random.default_rng(2), "uint8", (16, 16, 1, 1), "pads = [0,0,0,0]")
    for axis, size in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, 16, 6, 6), strict=True):
        axis.Clear()
        axis.dim_value = size
    onnx.save(model, tmp_path / "net.onnx")
    seen: list[TuningProgress] = []
    folder = tune_model([tmp_path / "net.onnx"], Target("tvm"), Budget(seconds=60, tiles=2), seen.append)
    assert seen
    assert all(progress.milliseconds is not None for progress in seen), seen
    code = (
        "from pathlib import Path\n"
        "from assay.backends.tvm.database import open_database\n"
        "from assay.backends.tvm.machine import find_machine\n"
        f"open_database(Path({str(folder)!r}), find_machine())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def copy_with(loop: str) -> object:
    """A module of one function that copies a number in a loop."""
    function = load_compiler("script").from_source(
        COPY.format(loop=loop), extra_vars={"T": load_compiler("script.tirx")}
    )
    return load_compiler("ir").IRModule({"main": function.with_attr("global_symbol", "main")})


def test_a_function_that_never_ends_is_ended_and_the_next_is_measured() -> None:
    need_tvm()
    target, threads = find_machine().make_target(1), os.environ.get(THREADS_VARIABLE)
    began = time.monotonic()
    with Stopwatch(threads=1, limit_s=5.0) as stopwatch:
        endless = stopwatch.clock(copy_with("while A[0] >= 0:"), target)
        ended = time.monotonic()
        quick = stopwatch.clock(copy_with("for i in T.serial(0, 4):"), target)
    assert endless.seconds is None
    assert endless.failure
    assert ended - began < 60
    assert quick.seconds is not None
    assert os.environ.get(THREADS_VARIABLE) == threads


def test_a_process_that_does_not_start_in_time_is_a_failure() -> None:
    need_tvm()
    with Stopwatch(threads=1, limit_s=0.01, start_s=0.0) as stopwatch:
        assert stopwatch.clock(copy_with("for i in T.serial(0, 4):"), find_machine().make_target(1)).seconds is None
