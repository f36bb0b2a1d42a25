"""Runs in processes that are held to a device's limits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from graph_samples import parse, write
from trial_samples import make_requirements

from assay.backends.table import load_backend
from assay.core.errors import BackendError, RequestError
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.target import Target
from assay.core.trial import HeldRun
from assay.data.source import DataSource
from assay.studies import holding
from assay.studies.held_worker import HeldJob, HeldReply
from assay.studies.holding import Holding, check_device, describe_run, find_holding, run_held
from assay.studies.isolation import Limits
from assay.studies.memory_group import make_group, read_group_peak
from assay.studies.request import StudyRequest
from assay.studies.workspace import Workspace

MIB = 2**20
HUNGRY = """<ir_version: 8, opset_import: ["": 17]>
g (float[N, 4] x, int64[2] s) => (float y) { w = Expand(x, s) y = ReduceSum<keepdims=0>(w) }"""
"""Its second input says how many rows the runtime sets aside."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hungry")
    load_backend("onnxruntime").build(
        write(folder, parse(HUNGRY), "source.onnx"), folder, Plan(Precision.FP32), Target("onnxruntime")
    )
    return folder


def run(
    built: Path, scratch: Path, rows: int, limit_mib: int, group: Path | None = None, **changes: object
) -> HeldReply:
    feeds = {"x": np.ones((1, 4), np.float32), "s": np.array([rows, 4])}
    space = cast("Workspace", SimpleNamespace(store=SimpleNamespace(measurements=scratch), sample=feeds))
    job = HeldJob(str(built), "", Target("onnxruntime"), 20, 5.0, 0.0, 0.0, watts=False)
    for key, value in changes.items():
        job = replace_job(job, key, value)
    return run_held(job, space, Limits(60), limit_mib * MIB, group)


def replace_job(job: HeldJob, key: str, value: object) -> HeldJob:
    import msgspec  # noqa: PLC0415 - for this alone

    return msgspec.structs.replace(job, **{key: value})


needs_linux = pytest.mark.skipif(not holding.can_hold(), reason="only Linux holds a process's data to a limit")


@needs_linux
def test_what_fits_runs_and_what_does_not_says_so(built: Path, tmp_path: Path) -> None:
    fits = run(built, tmp_path, 1000, 120)
    assert fits.error == ""
    assert len(fits.ends_ns) == 21
    assert 20 * MIB < fits.peak_bytes < 120 * MIB
    assert run(built, tmp_path, 4 * MIB, 400, frames=3).error == ""
    reply = run(built, tmp_path, 4 * MIB, 120, frames=3)
    assert "alloc" in reply.error.lower() or "memory" in reply.error.lower()
    assert not reply.ends_ns


@needs_linux
def test_a_process_that_cannot_even_start_is_told_of(built: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="onnxruntime: died while running frames"):
        run(built, tmp_path, 1, 24)


@needs_linux
def test_frames_go_on_until_enough_or_hopeless(built: Path, tmp_path: Path) -> None:
    assert len(run(built, tmp_path, 1, 0, frames=10**9, seconds=0.3).ends_ns) > 21
    assert len(run(built, tmp_path, 1, 0, frames=3, seconds=0.0, least_seconds=0.2).ends_ns) > 21
    # Nobody runs a billion frames a second: given up after two runs of ten.
    assert len(run(built, tmp_path, 1, 0, frames=10**6, floor=1e9).ends_ns) == 21


def test_a_group_that_is_made_is_written_and_removed(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    top = tmp_path / "sys/fs/cgroup"
    top.mkdir(parents=True)
    with make_group(256 * MIB, tmp_path) as group:
        assert group is None
    (top / "cgroup.subtree_control").write_text("memory")
    with make_group(256 * MIB, tmp_path) as group:
        assert group is not None
        assert (group / "memory.max").read_text() == str(256 * MIB)
        assert (group / "memory.swap.max").read_text() == "0"
        assert read_group_peak(group) is None
        (group / "memory.peak").write_text("77\n")
        assert read_group_peak(group) == 77
        for file in group.iterdir():
            file.unlink()
    assert not group.exists()


@needs_linux
def test_a_process_enters_its_group_before_anything_else(built: Path, tmp_path: Path) -> None:
    # Not a real group: what a kernel would do with the number of the process is the kernel's.
    assert run(built, tmp_path, 1, 1, tmp_path).error == ""
    assert (tmp_path / "cgroup.procs").read_text() == "0"


def test_what_is_asked_decides_what_is_held() -> None:
    assert find_holding(make_requirements("top1: 1pp", "p99 <= 10ms", "size <= 5MB")) is None
    found = find_holding(make_requirements("top1: 1pp", "memory <= 256MiB", "fps >= 30"))
    assert found == Holding(256 * MIB if holding.can_hold() else None, 30, watts=False)
    assert find_holding(make_requirements("top1: 1pp", "watts <= 5")) == Holding(None, None, watts=True)


def make_request(*constraints: str, batch: int = 1) -> StudyRequest:
    source = DataSource("x.npz")
    requirements = make_requirements("top1: 1pp", *constraints)
    return StudyRequest(Path("m.onnx"), Path("out"), "classification", source, requirements, source, batch=batch)


def test_what_cannot_be_measured_here_is_refused(tmp_path: Path) -> None:
    check_device(make_request("memory <= 256MiB", "fps >= 30"), tmp_path)
    with pytest.raises(RequestError, match="'fps >= 30' is of single frames, and batch = 8"):
        check_device(make_request("fps >= 30", batch=8), tmp_path)
    for text in ("watts <= 5", "energy <= 20mJ"):
        with pytest.raises(RequestError, match=f"{text}.*no energy counters") as caught:
            check_device(make_request(text), tmp_path)
        assert "on the device" in caught.value.hint


def test_a_failure_is_a_finding() -> None:
    held, asked = HeldRun(0, 1, 5, 9, "RLIMIT_DATA"), Holding(9, 30.0, watts=False)
    assert describe_run(HeldReply(error="bad allocation"), held, asked, 0.95).failure == "bad allocation"
    ends = tuple(range(0, 401 * 10**7, 10**7))
    found = describe_run(HeldReply(ends), held, asked, 0.95)
    assert (found.frames, found.failure) == (400, "")
    assert found.fps is not None
    assert found.fps.low == pytest.approx(100)
    assert replace(found, fps=None) == replace(held, frames=400)
