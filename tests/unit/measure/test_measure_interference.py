"""What else the machine did is seen: a real busy neighbour, and planted counters."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from assay.core.stability import Interference
from assay.measure.cgroup import read_throttled_seconds
from assay.measure.interference import Watch, describe_interference, watch_machine


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the system does not count its cores' time")
def test_a_busy_neighbour_is_seen() -> None:
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.2)
        with watch_machine() as watch:
            time.sleep(0.8)
    finally:
        burner.kill()
        burner.wait()
    seen = watch.read()
    assert seen.others_cores is not None
    assert seen.others_cores > 0.3
    assert any("other processes" in words for words in describe_interference(seen))


def test_own_work_is_no_neighbour() -> None:
    with watch_machine() as idle:
        time.sleep(0.5)
    with watch_machine() as working:
        until = time.perf_counter() + 0.5
        while time.perf_counter() < until:
            pass
    before, during = idle.read().others_cores, working.read().others_cores
    assert before is not None
    assert during is not None
    # This process burned a core, which a neighbour of the same size would have added.
    assert during < before + 0.8


def test_too_short_a_watch_tells_nothing() -> None:
    watch = Watch()
    assert watch.read().others_cores is None


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (Interference(1, 4, others_cores=0.2), ""),
        (Interference(1, 64, others_cores=0.5), ""),
        (Interference(1, 4, stolen_share=0.05), "hypervisor"),
        (Interference(1, 4, waited_share=0.2), "waited 20%"),
        (Interference(1, 4, throttled_share=0.3), "quota"),
        (Interference(1, 4, 0.0, 0.0, 0.0, 0.0, 5000.0), ""),
    ],
)
def test_words_are_for_what_matters(seen: Interference, words: str) -> None:
    found = describe_interference(seen)
    assert bool(found) == bool(words)
    assert words in " ".join(found)


@pytest.mark.parametrize(("line", "seconds"), [("throttled_usec 1500000", 1.5), ("throttled_time 2000000000", 2.0)])
def test_throttling_is_read_from_both_versions_of_control_groups(tmp_path: Path, line: str, seconds: float) -> None:
    version = "0::/" if "usec" in line else "1:cpu:/"
    folder = tmp_path / ("sys/fs/cgroup" if "usec" in line else "sys/fs/cgroup/cpu")
    folder.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(version + "\n")
    (folder / "cpu.stat").write_text(f"nr_periods 3\n{line}\n")
    assert read_throttled_seconds(tmp_path) == seconds
    assert read_throttled_seconds(tmp_path / "nothing") is None
