"""Builds and first runs happen in a process of their own, whose end is told in words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from study_samples import write_model

from assay.core.errors import BackendError, BuildFailed, RunFailed, UnsupportedPlan
from assay.core.plan import Candidate, Plan
from assay.core.precision import Precision
from assay.core.target import Target
from assay.studies.building import (
    build_artifact,
    describe_exit,
    probe_artifact,
    raise_reply,
    run_worker,
)
from assay.studies.store import StudyStore, address_of
from assay.studies.worker import BuildJob, Reply

FP32 = Plan(Precision.FP32)
TARGET = Target("onnxruntime")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "small.onnx"
    write_model(path, np.random.default_rng(0))
    return path


def test_an_artifact_is_built_once_and_probed_in_a_fresh_process(model: Path, tmp_path: Path) -> None:
    store = StudyStore(tmp_path / "store", "k" * 64)
    candidate = Candidate("onnxruntime", FP32)
    built = build_artifact(store, model, candidate, TARGET, {"onnxruntime": "1"}, 60)
    before = {path: path.stat().st_mtime_ns for path in built.folder.iterdir()}
    assert build_artifact(store, model, candidate, TARGET, {"onnxruntime": "1"}, 60) == built
    assert {path: path.stat().st_mtime_ns for path in built.folder.iterdir()} == before
    assert build_artifact(store, model, candidate, TARGET, {"onnxruntime": "2"}, 60).address != built.address
    probe = probe_artifact(built, {"image": np.zeros((2, 3, 12, 12), np.float32)}, TARGET, 60)
    assert probe.audit.shares()[Precision.FP32] == 1
    assert 0 < probe.model_memory_bytes < probe.peak_memory_bytes
    assert probe.load_ms > 0
    assert probe.quick_ms > 0


def test_a_refused_model_fails_its_trial_and_leaves_nothing(tmp_path: Path) -> None:
    store = StudyStore(tmp_path / "store", "k" * 64)
    garbage = tmp_path / "garbage.onnx"
    garbage.write_bytes(b"garbage")
    with pytest.raises(BuildFailed):
        build_artifact(store, garbage, Candidate("onnxruntime", FP32), TARGET, {}, 60)
    assert list(store.artifacts.iterdir()) == []


def test_a_hang_is_ended_and_told(model: Path, tmp_path: Path) -> None:
    job = BuildJob(model=str(model), into=str(tmp_path), plan=FP32, target=TARGET)
    with pytest.raises(BuildFailed, match=r"took more than 0\.01 s"):
        run_worker(job, 0.01)


def test_a_crash_is_told_with_its_signal(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.run
    crash = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"]
    monkeypatch.setattr(subprocess, "run", lambda _command, **options: real(crash, **options))
    job = BuildJob(model=str(model), into=str(tmp_path), plan=FP32, target=TARGET)
    with pytest.raises(BuildFailed, match=r"died while building.*SIGSEGV"):
        run_worker(job, 60)


@pytest.mark.parametrize(
    ("status", "words"), [(3, "exit status 3"), (-9, "out of memory"), (-11, "SIGSEGV"), (-5, "5")]
)
def test_an_exit_is_told_in_words(status: int, words: str) -> None:
    assert words in describe_exit(status)


def test_a_reply_becomes_its_error() -> None:
    raise_reply(Reply(), BuildFailed)
    with pytest.raises(UnsupportedPlan, match="no kernel"):
        raise_reply(Reply(error="no kernel", kind="UnsupportedPlan", unsupported=True), BuildFailed)
    with pytest.raises(RunFailed, match="broke") as caught:
        raise_reply(Reply(error="it broke", kind="RunFailed"), RunFailed)
    assert isinstance(caught.value, BackendError)


def test_an_address_depends_on_content_and_not_on_the_process() -> None:
    plan = {"operators": frozenset(f"Operator{index}" for index in range(30))}
    code = (
        "from assay.studies.store import address_of\n"
        "print(address_of({'operators': frozenset(f'Operator{index}' for index in range(30))}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == address_of(plan)
    assert address_of(plan) != address_of({"operators": frozenset({"Operator1"})})
