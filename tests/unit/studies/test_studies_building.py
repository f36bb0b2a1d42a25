"""Builds and first runs happen in a process of their own, whose end is told in words."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from faulty_runtime import install_faulty
from study_samples import write_model

from assay.backends.onnxruntime.adapter import OnnxRuntimeBackend
from assay.core.errors import BackendError, BuildFailed, RunFailed, UnsupportedPlan
from assay.core.plan import Candidate, Plan
from assay.core.precision import Precision
from assay.core.target import Target
from assay.studies.building import (
    build_artifact,
    probe_artifact,
    raise_reply,
    run_worker,
)
from assay.studies.isolation import Limits, describe_exit
from assay.studies.store import StudyStore, address_of
from assay.studies.worker import BuildJob, ProbeJob, Reply

FP32 = Plan(Precision.FP32)
TARGET = Target("onnxruntime")
LIMITS = Limits(60)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "small.onnx"
    write_model(path, np.random.default_rng(0))
    return path


def test_an_artifact_is_built_once_and_probed_in_a_fresh_process(model: Path, tmp_path: Path) -> None:
    store = StudyStore(tmp_path / "store", "k" * 64)
    candidate = Candidate("onnxruntime", FP32)
    built = build_artifact(store, model, candidate, TARGET, {"onnxruntime": "1"}, LIMITS)
    before = {path: path.stat().st_mtime_ns for path in built.folder.iterdir()}
    assert build_artifact(store, model, candidate, TARGET, {"onnxruntime": "1"}, LIMITS) == built
    assert {path: path.stat().st_mtime_ns for path in built.folder.iterdir()} == before
    assert build_artifact(store, model, candidate, TARGET, {"onnxruntime": "2"}, LIMITS).address != built.address
    probe = probe_artifact(built, {"image": np.zeros((2, 3, 12, 12), np.float32)}, TARGET, LIMITS)
    assert probe.audit.shares()[Precision.FP32] == 1
    assert 0 < probe.model_memory_bytes < probe.peak_memory_bytes
    assert probe.load_ms > 0
    assert probe.quick_ms > 0


def test_a_refused_model_fails_its_trial_and_leaves_nothing(tmp_path: Path) -> None:
    store = StudyStore(tmp_path / "store", "k" * 64)
    garbage = tmp_path / "garbage.onnx"
    garbage.write_bytes(b"garbage")
    with pytest.raises(BuildFailed):
        build_artifact(store, garbage, Candidate("onnxruntime", FP32), TARGET, {}, LIMITS)
    assert list(store.artifacts.iterdir()) == []


def test_a_hang_is_ended_and_told(model: Path, tmp_path: Path) -> None:
    job = BuildJob(model=str(model), into=str(tmp_path), plan=FP32, target=TARGET)
    with pytest.raises(BuildFailed, match=r"no answer in 0\.01 s"):
        run_worker(job, Limits(0.01))


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_faulty(tmp_path / "site", monkeypatch)


def make_job(stage: str, runtime: str, model: Path, folder: Path) -> BuildJob | ProbeJob:
    """A build job, or a probe job on what the runtime beneath built."""
    built = folder / "built"
    built.mkdir()
    if stage == "build":
        return BuildJob(model=str(model), into=str(built), plan=FP32, target=Target(runtime))
    OnnxRuntimeBackend().build(model, built, FP32, TARGET)
    np.savez(folder / "feeds.npz", image=np.zeros((1, 3, 12, 12), np.float32))
    return ProbeJob(built=str(built), feeds=str(folder / "feeds.npz"), target=Target(runtime))


@pytest.mark.usefixtures("faulty")
@pytest.mark.parametrize("stage", ["build", "run"])
@pytest.mark.parametrize(
    ("fault", "limits", "words"),
    [
        ("segfault", LIMITS, r"died while {} \(signal SIGSEGV\)"),
        ("hang", Limits(5.0), "hung: no answer in 5 s while {}"),
        ("eat", Limits(60, 700 << 20), "took more than 700 MiB of memory while {}"),
    ],
)
def test_a_fault_is_told_in_words(
    model: Path, tmp_path: Path, stage: str, fault: str, limits: Limits, words: str
) -> None:
    job = make_job(stage, f"{fault}-{stage}", model, tmp_path)
    action = {"build": "building", "run": "opening and running"}[stage]
    failure = {"build": BuildFailed, "run": RunFailed}[stage]
    with pytest.raises(failure, match=f"^{fault}-{stage}: {words.format(action)}"):
        run_worker(job, limits)


@pytest.mark.usefixtures("faulty")
def test_what_a_process_started_ends_with_it(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAULTY_CHILD", str(tmp_path / "child"))
    with pytest.raises(BuildFailed, match="hung"):
        run_worker(make_job("build", "spawn-build", model, tmp_path), Limits(5.0))
    child = int((tmp_path / "child").read_text(encoding="ascii"))
    assert has_ended(child)


def has_ended(number: int) -> bool:
    """Whether a process is gone, or only its exit status is left."""
    try:
        return psutil.Process(number).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.usefixtures("faulty")
def test_a_process_ends_with_the_study_that_was_killed(model: Path, tmp_path: Path) -> None:
    """The study's process is killed while a runtime hangs in its worker."""
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from assay.core.plan import Plan\nfrom assay.core.precision import Precision\n"
        "from assay.core.target import Target\nfrom assay.studies.building import run_worker\n"
        "from assay.studies.isolation import Limits\nfrom assay.studies.worker import BuildJob\n"
        "run_worker(BuildJob(sys.argv[1], sys.argv[2], Plan(Precision.FP32), Target('hang-build')), Limits(600))\n"
    )
    study = subprocess.Popen([sys.executable, "-c", code, str(model), str(tmp_path)])
    try:
        deadline = time.monotonic() + 60
        workers: list[psutil.Process] = []
        while not workers and time.monotonic() < deadline:
            workers = psutil.Process(study.pid).children()
            time.sleep(0.05)
        time.sleep(1.5)  # let it come to its hanging
    finally:
        study.kill()
        study.wait()
    assert workers
    gone, alive = psutil.wait_procs(workers, timeout=10)
    assert gone
    assert not alive


@pytest.mark.parametrize(
    ("status", "words"), [(3, "exit status 3"), (-9, "out of memory"), (-11, "SIGSEGV"), (-5, "SIGTRAP"), (-99, "99")]
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
