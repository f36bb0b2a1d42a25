"""Times that studies keep for later ones, in a cache that may be shared, damaged or closed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from assay.core.target import ServingMode, Target
from assay.studies.latency_tables import MOST_SAMPLES, LatencyFile, describe_target, find_cache
from assay.studies.progress import Silent

FACTS = {"runtime": "abacus", "threads": "1"}


@dataclass
class Told(Silent):
    """Remembers what is said."""

    said: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.said.append(text)


def open_file(cache: Path, facts: Mapping[str, str] = FACTS) -> tuple[LatencyFile, Told]:
    told = Told()
    return LatencyFile(facts, told, cache), told


def test_what_is_added_is_found_by_its_median(tmp_path: Path) -> None:
    file, told = open_file(tmp_path)
    assert file.find({"a"}) is None
    file.add({"a": [1.0, 3.0], "b": [5.0]})
    file.add({"a": [9.0]})
    assert open_file(tmp_path)[0].find({"a", "b"}) == {"a": 3.0, "b": 5.0}
    assert file.find({"a", "c"}) is None  # all or nothing
    assert not told.said


def test_old_samples_go(tmp_path: Path) -> None:
    file, _ = open_file(tmp_path)
    for _ in range(MOST_SAMPLES):
        file.add({"a": [1.0]})
    file.add({"a": [2.0] * MOST_SAMPLES})
    assert file.find({"a"}) == {"a": 2.0}
    (path,) = tmp_path.rglob("*.json")
    assert len(json.loads(path.read_text(encoding="utf-8"))["entries"]["a"]) == MOST_SAMPLES


def test_another_target_has_times_of_its_own(tmp_path: Path) -> None:
    open_file(tmp_path)[0].add({"a": [1.0]})
    assert open_file(tmp_path, {**FACTS, "threads": "2"})[0].find({"a"}) is None


@pytest.mark.parametrize(
    "changed",
    [
        Target("openvino", threads=2),
        Target("openvino", batch=2),
        Target("onnxruntime"),
        Target("openvino", mode=ServingMode.THROUGHPUT),
    ],
)
def test_a_target_is_all_that_times_depend_on(changed: Target) -> None:
    facts = describe_target(Target("openvino"), {"openvino": "1"})
    assert describe_target(changed, {"openvino": "1"}) != facts
    assert describe_target(Target("openvino"), {"openvino": "2"}) != facts
    assert describe_target(Target("openvino"), {"openvino": "1"}) == facts


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema": 1, "target": {}, "entries": {"a": ["x"]}}', b"\xff"])
def test_a_damaged_file_counts_as_empty_and_is_replaced(tmp_path: Path, content: bytes) -> None:
    file, told = open_file(tmp_path)
    file.add({"a": [1.0]})
    (path,) = tmp_path.rglob("*.json")
    path.write_bytes(content)
    assert file.find({"a"}) is None
    assert str(path) in told.said[0]
    file.add({"a": [4.0]})
    assert file.find({"a"}) == {"a": 4.0}


def test_a_file_of_another_schema_counts_as_empty(tmp_path: Path) -> None:
    file, _ = open_file(tmp_path)
    file.add({"a": [1.0]})
    (path,) = tmp_path.rglob("*.json")
    path.write_text(path.read_text(encoding="utf-8").replace('"schema": 1', '"schema": 99'), encoding="utf-8")
    assert file.find({"a"}) is None


def test_a_cache_that_cannot_be_written_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file", encoding="ascii")
    file, told = open_file(tmp_path / "cache")
    file.add({"a": [1.0]})
    assert file.find({"a"}) is None
    assert any("not kept" in text for text in told.said)


def test_studies_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from assay.studies.latency_tables import LatencyFile\nfrom assay.studies.progress import Silent\n"
        "file = LatencyFile({'runtime': 'abacus', 'threads': '1'}, Silent(), Path(sys.argv[1]))\n"
        "for index in range(8):\n    file.add({f'{sys.argv[2]}{index}': [1.0]})\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "xyz"]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    wanted = {f"{name}{index}" for name in "xyz" for index in range(8)}
    assert open_file(tmp_path)[0].find(wanted) == dict.fromkeys(wanted, 1.0)


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "mine"))
    assert find_cache() == tmp_path / "mine"
    monkeypatch.delenv("ASSAY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert find_cache() == tmp_path / "assay"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert find_cache() == tmp_path / "home" / ".cache" / "assay"
