"""The table of workloads: made by one command, resumed, with the reason in the row of what cannot be studied."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from study_samples import Files

ROOT = Path(__file__).parents[2]
STATEMENT = """
title = "Small pictures"
place = 10
model = "a small network"
data = "random pictures"
licence = "none"
[stated]
metric = "top1"
value = 1.0
within = 0.001
source = "the labels, which are the network's own answers"
"""
STUDY = """
model = "files/small.onnx"
output = "STUDY"
task = "classification"
tolerance = "top1: 20pp"
minimize = "size"
precisions = ["fp32", "fp16"]
runtimes = ["onnxruntime"]
latency_seconds = 0.2
[evaluation]
path = "files/evaluation.npz"
"""
FETCH = "import shutil, sys\nshutil.copytree({source!r}, 'files')\nprint('fetched', file=sys.stderr)\n"


@dataclass(frozen=True)
class Made:
    """What the command wrote."""

    status: int
    err: str
    page: str
    rows: dict[str, dict[str, Any]]


def make_table(root: Path, *arguments: str) -> Made:
    page, results = root.parent / "workloads.md", root.parent / "workloads.json"
    command = [sys.executable, str(ROOT / "bench" / "workloads.py"), "--root", str(root), "--page", str(page)]
    command += ["--results", str(results), "--work", str(root.parent / "work"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert "Traceback" not in done.stderr, done.stderr
    rows = {row["key"]: row for row in json.loads(results.read_text())["rows"]}
    return Made(done.returncode, done.stderr, page.read_text(), rows)


def write_example(root: Path, name: str, *, study: str = STUDY, fetch: str = "", statement: str = STATEMENT) -> None:
    (root / name).mkdir(parents=True)
    (root / name / "study.toml").write_text(study)
    if statement:
        (root / name / "workload.toml").write_text(statement)
    if fetch:
        (root / name / "fetch.py").write_text(fetch)


@pytest.fixture(scope="module")
def made(files: Files, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Made]:
    root = tmp_path_factory.mktemp("workloads") / "examples"
    source = root.parent / "source"
    source.mkdir()
    for path in (files.model, files.evaluation):
        shutil.copy(path, source / path.name)
    write_example(root, "good", fetch=FETCH.format(source=str(source)))
    write_example(root, "absent", statement=STATEMENT.replace("place = 10", "place = 20"))
    write_example(root, "offline", fetch="raise SystemExit('the package host does not answer')\n")
    write_example(root, "silent", statement="")
    write_example(root, "neighbour", study=STUDY.replace("files/small", "../offline/files/small"))
    wrong = STUDY.replace("files/", str(source) + "/").replace('"classification"', '"clasification"')
    write_example(root, "wrong", study=wrong)
    return root, make_table(root)


def test_what_can_be_studied_is(made: tuple[Path, Made]) -> None:
    row = made[1].rows["good"]
    assert row["status"] == "chosen"
    assert row["items"] == 300
    assert row["agrees"] is True
    assert row["reference"]["value"] == 1.0
    assert row["shown"]["certificate"]["status"] == "certified"
    assert row["shown"]["size_bytes"] < row["reference"]["size_bytes"]
    assert row["shown"]["cost"]["value"] > 0
    assert row["currency"] == "USD"
    assert row["machine"]
    assert row["versions"]["onnxruntime"]


def test_what_cannot_has_its_reason_and_stops_nothing(made: tuple[Path, Made]) -> None:
    _, table = made
    assert table.status == 1
    reasons = {key: row["reason"] for key, row in table.rows.items() if row["status"] == "failed"}
    assert reasons.keys() == {"absent", "neighbour", "offline", "silent", "wrong"}
    assert "offline/fetch.py failed: the package host" in reasons["neighbour"]
    assert "small.onnx is not there; no fetch.py" in reasons["absent"]
    assert "the package host does not answer" in reasons["offline"]
    assert "workload.toml" in reasons["silent"]
    assert "did you mean 'classification'" in reasons["wrong"]


def test_the_page_is_one_table_with_a_row_each(made: tuple[Path, Made]) -> None:
    _, table = made
    lines = [line for line in table.page.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(table.rows)
    assert len({line.count(" | ") for line in lines if "---" not in line}) == 1
    assert "stated: 100.00%, agrees" in table.page
    assert "Machine: " in table.page
    assert table.page.count("the package host does not answer") >= 1
    assert "Traceback" not in table.page


def test_what_was_studied_is_not_studied_again(made: tuple[Path, Made]) -> None:
    root, before = made
    again = make_table(root, "good")
    assert again.status == 0
    assert "good: studied before" in again.err
    assert again.rows["good"] == before.rows["good"]
    assert again.rows["offline"]["reason"] == before.rows["offline"]["reason"]
    assert again.page == before.page


def test_again_measures_anew(made: tuple[Path, Made]) -> None:
    root, _ = made
    kept = root.parent / "work" / "good" / "STUDY" / "left-by-hand"
    kept.touch()
    again = make_table(root, "good", "--again")
    assert again.rows["good"]["status"] == "chosen"
    assert not kept.exists()


def test_an_example_that_is_none_is_named(made: tuple[Path, Made]) -> None:
    command = [sys.executable, str(ROOT / "bench" / "workloads.py"), "--root", str(made[0]), "nothing"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "nothing is no example; there are" in done.stderr
