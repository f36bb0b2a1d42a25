import json
import shutil
from pathlib import Path

import pytest
from study_samples import Files, call_assay, run_assay, study_arguments

import assay

TRIAL = "onnxruntime.int8-u8s8-chain-mse-bias"
SECTION = "Where the loss comes from"


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "COPY"))


def test_a_finished_study_is_explained(copied: Path) -> None:
    ran = run_assay("explain", copied, TRIAL, "--items", "10", "--json")
    assert ran.status == 0, ran.err
    document = ran.document
    assert document["schema"] == 1
    assert document["items"] == 10
    groups = document["groups"]
    assert isinstance(groups, list)
    assert {group["group"] for group in groups} == {"first", "second", "head"}
    assert sum(group["share"] for group in groups) > 0.999
    assert groups[0]["proposals"][-1]["mend"] == "keep"
    assert groups[0]["kept"]["noise"] > 0
    assert document["graph"] == {"groups": ["first", "second", "head"], "kept": [], "edges": [[0, 1], [1, 2]]}


def test_a_study_of_an_older_version_is_explained_after_it_is_read_on(copied: Path, files: Files) -> None:
    # A field that a later version added is not in what an older one wrote.
    (measured,) = (copied / "measurements").glob("*/finished.json")
    older = json.loads(measured.read_text(encoding="utf-8"))
    del older["threshold"]
    for path in (measured, copied / "study.json"):
        path.write_text(json.dumps(older), encoding="utf-8")
    again = call_assay(*study_arguments(files, copied))
    assert again.status == 0, again.err
    assert "nothing to do" in again.err
    ran = call_assay("explain", copied, TRIAL, "--items", "10", "--json")
    assert ran.status == 0, ran.err


def test_an_explanation_is_kept_and_drawn_wherever_the_study_is_told_of(copied: Path, tmp_path: Path) -> None:
    record = (copied / "study.json").read_bytes()
    assert call_assay("show", copied, "--json").document["explanations"] == []
    explained = assay.open_study(copied).explain(TRIAL, items=10)
    assert {blame.sensitivity.group.name for blame in explained.blames} == {"first", "second", "head"}
    assert (copied / "study.json").read_bytes() == record
    (told,) = call_assay("show", copied, "--json").document["explanations"]
    assert told["trial"] == TRIAL
    assert "where the loss of" in call_assay("show", copied).out
    assert SECTION not in (copied / "report.html").read_text(encoding="utf-8")
    assert run_assay("report", copied, "--output", tmp_path / "drawn").status == 0
    for name in ("report.html", "report.md"):
        assert SECTION in (tmp_path / "drawn" / name).read_text(encoding="utf-8")
    assay.open_study(copied).report()
    assert SECTION in (copied / "report.html").read_text(encoding="utf-8")


def test_a_damaged_explanation_is_named_with_what_to_do(copied: Path) -> None:
    assay.open_study(copied).explain(TRIAL, items=4)
    (path,) = copied.glob("measurements/*/explanations/*.json")
    path.write_bytes(path.read_bytes()[:100])
    for command in ("report", "show"):
        ran = call_assay(command, copied)
        assert ran.status == 5
        assert str(path) in ran.err.replace("\n", "")
        assert "delete it" in ran.err
    path.unlink()
    assert call_assay("report", copied).status == 0


def test_the_terminal_names_the_groups(copied: Path) -> None:
    ran = call_assay("explain", copied)
    assert ran.status == 0, ran.err
    assert "second" in ran.out
    assert "dB" in ran.out
    assert f"drawn in {copied / 'report.html'}" in ran.out
    assert SECTION in (copied / "report.html").read_text(encoding="utf-8")


def test_wrong_input_is_answered_in_words(finished: Path, tmp_path: Path) -> None:
    for arguments, status, said in (
        ((finished, "onnxruntime.int8-u8s8-chain-mse-bia"), 2, "did you mean"),
        ((finished, "onnxruntime.fp32"), 2, "only INT8 with calibrated ranges"),
        ((finished, "--items", "0"), 2, "not positive"),
        ((tmp_path,), 5, "no finished study"),
    ):
        ran = call_assay("explain", *arguments)
        assert ran.status == status
        assert said in ran.err


def test_a_changed_model_is_refused(finished: Path, files: Files, tmp_path: Path) -> None:
    copy = tmp_path / "STUDY"
    shutil.copytree(finished, copy)
    (request,) = copy.glob("measurements/*/request.json")
    text = request.read_text(encoding="utf-8")
    other = tmp_path / "small.onnx"
    other.write_bytes(files.model.read_bytes() + b"\x72\x00")  # an empty documentation string
    request.write_text(text.replace(str(files.model.resolve()), str(other)), encoding="utf-8")
    ran = call_assay("explain", copy)
    assert ran.status == 2
    assert "changed" in ran.err
    request.unlink()
    assert "run the study again" in call_assay("explain", copy).err
