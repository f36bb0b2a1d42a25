"""A study that is held to a device: memory proved in a held process, a rate of frames, and what cannot be measured."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from study_samples import Files, run_assay, study_arguments

BOARD = """
name = "one-thread board"
runtimes = ["onnxruntime"]
precisions = ["fp32", "int8"]
threads = 1
memory = "MEMORY"
fps = 30
"""


def study(files: Files, folder: Path, memory: str, *flags: str) -> tuple[int, dict[str, object], str]:
    profile = folder / "board.toml"
    profile.write_text(BOARD.replace("MEMORY", memory))
    fast = ("--latency-seconds", "2", "--mixed-plans", "0", "--ranges", "min-max", "--repairs", "none")
    ran = run_assay(*study_arguments(files, folder / "S"), *fast, "--device", profile, "--json", *flags)
    return ran.status, ran.document if ran.out else {}, ran.err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process's data to a limit")
def test_what_is_chosen_ran_in_a_process_held_to_the_device(files: Files, tmp_path: Path) -> None:
    status, document, error = study(files, tmp_path, "400MiB")
    assert status == 0, error
    decision, trials = document["decision"], document["trials"]
    assert isinstance(decision, dict)
    assert isinstance(trials, list)
    chosen = next(trial for trial in trials if trial["id"] == decision["chosen"])
    held = chosen["held"]
    assert (held["limit_bytes"], held["cores"], held["failure"]) == (400 * 2**20, 1, "")
    assert held["means"] in {"RLIMIT_DATA", "a control group"}
    assert held["frames"] >= 290
    assert held["fps_low"] > 30
    assert 20 * 2**20 < held["peak_memory_bytes"] < 400 * 2**20
    report = (tmp_path / "S/report.md").read_text()
    assert "## On the device" in report
    assert "400 MiB by" in report
    assert "one-thread board (memory \\<= 400MiB, fps \\>= 30)" in report


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process's data to a limit")
def test_what_cannot_open_under_the_limit_loses_with_that_reason(files: Files, tmp_path: Path) -> None:
    status, document, _ = study(files, tmp_path, "40MiB")
    assert status == 10
    trials = document["trials"]
    assert isinstance(trials, list)
    measured = [trial for trial in trials if trial["held"]]
    assert measured
    assert all(trial["held"]["failure"] for trial in measured)
    assert all("'memory <= 40MiB' is missed" in trial["reason"] for trial in measured)


@pytest.mark.skipif(Path("/sys/class/powercap/intel-rapl:0").exists(), reason="this machine has a counter of energy")
def test_power_that_nothing_measures_is_refused(files: Files, tmp_path: Path) -> None:
    status, _, error = study(files, tmp_path, "400MiB", "--constraint", "watts <= 5")
    assert status == 2
    assert "'watts <= 5': not measurable here: the system has no energy counters" in " ".join(error.split())
