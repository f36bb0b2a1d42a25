"""Runtimes that crash, hang or eat memory fail their own trials; a study that was killed goes on where it was."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest
from faulty_runtime import MARKED, install_faulty
from study_samples import Files, Ran, call_assay, run_assay, study_arguments

from assay.studies.files import read_arrays
from assay.studies.split import split_items

QUICK: list[str | Path] = ["--runtimes", "onnxruntime", "--precisions", "fp32,int8", "--ranges", "min-max"]
SEARCHED, CERTIFIED = 3, 70
"""Places in the evaluation order: of 300 items, the first 60 are for searching."""


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_faulty(tmp_path / "site", monkeypatch)


def mark_item(files: Files, folder: Path, place: int) -> Files:
    """The same data with an item at a place of the evaluation order that some runtimes stumble over."""
    with np.load(files.evaluation) as data:
        arrays = dict(data)
    item = split_items(len(arrays["target"])).order[place]
    arrays["image"][item, 0, 0, 0] = MARKED
    np.savez(folder / "evaluation.npz", **arrays)
    return Files(files.folder, files.model, files.calibration, folder / "evaluation.npz")


def read_trials(output: Path) -> dict[str, dict[str, str]]:
    """The trials of a finished study by id."""
    document = call_assay("show", output, "--json").document
    trials = document["trials"]
    assert isinstance(trials, list)
    return {trial["id"]: trial for trial in trials}


def ask(files: Files, output: Path, *more: str | Path) -> list[str | Path]:
    return [*study_arguments(files, output), *more]


@pytest.mark.usefixtures("faulty")
def test_each_fault_fails_its_trial_alone(files: Files, tmp_path: Path) -> None:
    data = mark_item(files, tmp_path, SEARCHED)
    told = {
        "segfault-build": "died while building (signal SIGSEGV)",
        "segfault-item": "died while scoring (signal SIGSEGV)",
        "segfault-time": "died while being timed (signal SIGSEGV); it was running in rounds",
        "segfault-load": "died while being timed (signal SIGSEGV); it was measuring throughput",
        "hang-item": "hung: no answer in 10 s while scoring",
        "hang-time": "hung: no answer in 10 s while being timed; it was running in rounds",
        "eat-item": "took more than 900 MiB of memory while scoring",
        "unimportable": "cannot be loaded: No module named 'nowhere_to_be_found'",
    }
    # A crash of the runtime that is asked first leaves the model to the others, too.
    runtimes = ",".join(["segfault-build", "onnxruntime", *(name for name in told if name != "segfault-build")])
    limits = ["--trial-seconds", "10", "--trial-memory", "900MiB"]
    quick = ["--precisions", "fp32,int8", "--ranges", "min-max", "--repairs", "none", "--runtimes", runtimes]
    arguments = ask(data, tmp_path / "S", *quick, *limits)
    ran = run_assay(*arguments)
    assert ran.status == 0, ran.err
    trials = read_trials(tmp_path / "S")
    for name, reason in told.items():
        trial = trials[f"{name}.fp32"]
        assert trial["status"] == ("unsupported" if name == "unimportable" else "failed")
        assert reason in trial["reason"]
    fine = {name: trial for name, trial in trials.items() if name.startswith("onnxruntime.")}
    assert len(fine) > 1
    assert {trial["status"] for trial in fine.values()} == {"ok"}
    assert not list((tmp_path / "S").rglob(".scratch.*"))
    again = run_assay(*arguments)
    assert again.status == 0
    assert "nothing to do" in again.err


@pytest.mark.usefixtures("faulty")
def test_a_crash_on_a_certification_item_fails_the_trial_alone(files: Files, tmp_path: Path) -> None:
    data = mark_item(files, tmp_path, CERTIFIED)
    more = ["--runtimes", "onnxruntime,segfault-item", "--precisions", "fp32,fp16", "--full"]
    ran = run_assay(*ask(data, tmp_path / "S", *more))
    assert ran.status == 0, ran.err
    trials = read_trials(tmp_path / "S")
    assert trials["segfault-item.fp16"]["status"] == "failed"
    assert "died while scoring (signal SIGSEGV)" in trials["segfault-item.fp16"]["reason"]
    # It was to be tested before the other, which then takes its place.
    assert trials["onnxruntime.fp16"]["status"] == "ok"
    assert json.loads(call_assay("show", tmp_path / "S", "--json").out)["decision"]["chosen"] == "onnxruntime.fp16"


@pytest.mark.usefixtures("faulty")
def test_a_reference_that_crashes_gives_way_in_the_next_run(files: Files, tmp_path: Path) -> None:
    data = mark_item(files, tmp_path, CERTIFIED)
    more = ["--runtimes", "segfault-item,onnxruntime", "--precisions", "fp32,fp16", "--full"]
    arguments = ask(data, tmp_path / "S", *more)
    place = arguments.index("--calibration")
    del arguments[place : place + 2]  # without it the crash comes with a certification item, and no sooner
    ran = run_assay(*arguments)
    assert ran.status == 3
    said = " ".join(ran.err.split())
    assert "the FP32 reference segfault-item.fp32 failed: segfault-item: died while scoring" in said
    assert "run the same command again" in said
    assert run_assay(*arguments).status == 0
    trials = read_trials(tmp_path / "S")
    assert trials["segfault-item.fp32"]["status"] == "failed"
    assert trials["onnxruntime.fp16"]["status"] == "ok"


@pytest.mark.slow
@pytest.mark.usefixtures("faulty")
def test_higher_limits_try_what_failed_again(files: Files, tmp_path: Path) -> None:
    more = ["--runtimes", "onnxruntime,eat-build", "--precisions", "fp32", "--trial-memory"]
    for limit in ("600MiB", "700MiB"):
        ran = run_assay(*ask(files, tmp_path / "S", *more, limit))
        assert ran.status == 0, ran.err
        reason = read_trials(tmp_path / "S")["eat-build.fp32"]["reason"]
        assert f"eat-build: took more than {limit[:3]} MiB of memory while building" in reason


@pytest.mark.usefixtures("faulty")
def test_where_no_runtime_runs_the_model_the_reason_is_told(files: Files, tmp_path: Path) -> None:
    ran = run_assay(*ask(files, tmp_path / "S", "--runtimes", "segfault-run"))
    assert ran.status == 3
    assert "no reference: segfault-run: died while checking the model (signal SIGSEGV)" in " ".join(ran.err.split())


def count_trials(output: Path) -> int:
    return len(list(output.glob("measurements/*/trials/*.json")))


STAGES: dict[str, Callable[[Path], bool]] = {
    "while it builds": lambda output: any(output.glob("artifacts/.*.part")) and count_trials(output) == 1,
    "while it times": lambda output: count_trials(output) == 3,
}


def start(arguments: list[str | Path]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "assay", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def await_stage(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not reached():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def check_files(output: Path) -> None:
    """Everything that is stored can be read, and nothing is half there."""
    for path in output.rglob("*.json"):
        msgspec.json.decode(path.read_bytes())
    for path in output.rglob("*.npz"):
        read_arrays(path)
    assert [path.name for path in output.rglob(".*")] == [".lock"]


def read_decision(ran: Ran) -> tuple[object, object]:
    decision = json.loads(ran.out)["decision"]
    return decision["status"], decision["chosen"]


@pytest.mark.slow
def test_a_killed_study_goes_on(files: Files, tmp_path: Path) -> None:
    whole = run_assay(*ask(files, tmp_path / "whole", *QUICK, "--json"))
    assert whole.status == 0, whole.err
    for index, (stage, reached) in enumerate(STAGES.items()):
        output = tmp_path / str(index)
        arguments = ask(files, output, *QUICK, "--json")
        process = start(arguments)
        await_stage(process, lambda reached=reached, output=output: reached(output))  # type: ignore[misc]
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.communicate()
        assert not psutil.wait_procs(family, timeout=10)[1], stage
        known = {path: path.stat().st_mtime_ns for path in output.glob("measurements/*/trials/*.json")}
        resumed = run_assay(*arguments)
        assert resumed.status == 0, resumed.err
        assert resumed.err.count("known from an earlier run") == len(known), stage
        assert {path: path.stat().st_mtime_ns for path in known} == known
        assert read_decision(resumed) == read_decision(whole)
        check_files(output)


def test_interrupted_while_it_times_it_says_so(files: Files, tmp_path: Path) -> None:
    output = tmp_path / "S"
    process = start(ask(files, output, *QUICK, "--latency-seconds", "9"))
    await_stage(process, lambda: any(output.glob("artifacts/.scratch.*/mark")))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "resume" in err
    assert not list(output.rglob(".scratch.*"))
