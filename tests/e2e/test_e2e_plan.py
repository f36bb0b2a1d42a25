"""``assay plan`` as a user calls it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from assay.cli.program import main


def plan(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[int, str, str]:
    """Run the command in this process; its status, standard output and standard error on one line."""
    monkeypatch.setattr(sys, "argv", ["assay", "plan", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    out, err = capsys.readouterr()
    assert isinstance(left.value.code, int)
    return left.value.code, out, " ".join(err.split())


def test_the_classical_example_is_planned_exactly(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--metric", "top1", "--tolerance", "0.5pp", "--flips", "3%", "--power", 0.8, "--confidence", 0.95]
    status, out, _ = plan(capsys, monkeypatch, *options, "--json")
    document = json.loads(out)
    assert status == 0
    assert document["schema"] == 1
    assert 7_423 <= document["items"] <= 7_800  # the first is the normal approximation's
    assert document["power"] == pytest.approx(0.8, abs=0.005)
    assert document["study_items"] > document["study"]["items"] > document["items"]
    assert document["least_items"] < 610


def test_words_say_what_the_items_at_hand_can_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, _ = plan(capsys, monkeypatch, "--tolerance", "top1: 2pp", "--flips", "4%", "--items", 300, "--one")
    assert status == 0
    text = " ".join(out.split())
    assert "items certify, at 95% confidence" in text
    assert "are the least" in text
    assert "300 items: the chance is" in text
    assert "none to search on" in text


def test_a_pilot_gives_the_flips(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = json.loads((finished / "study.json").read_text())
    variant = next(
        f"{trial['candidate']['runtime']}.{name}"
        for trial in record["trials"]
        if trial.get("evidence") and not trial.get("reference")
        for name in [trial["candidate"]["plan"]["precision"]]
        if name != "int8"
    )
    options = ["--tolerance", "top1: 5pp", "--pilot", f"{finished}:{variant}"]
    status, out, err = plan(capsys, monkeypatch, *options, "--json")
    assert status == 0, err
    document = json.loads(out)
    pilot = document["pilot"]
    assert pilot["trial"] == variant
    assert pilot["n"] > 0
    assert pilot["flip_rate"] <= pilot["flip_rate_high"]
    assert document["flip_rate"] == pytest.approx(pilot["flip_rate"])
    assert document["items_cautious"] >= document["items"]
    status, out, _ = plan(capsys, monkeypatch, *options)
    assert status == 0
    assert f"Pilot {variant}" in out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--tolerance", "0.5pp", "--flips", "3%"], "no metric"),
        (["--metric", "top1", "--tolerance", "lots", "--flips", "3%"], "lots"),
        (["--metric", "top1", "--tolerance", "0.5pp"], "--pilot"),
        (["--metric", "top1", "--tolerance", "0.5pp", "--flips", "3%", "--power", "2"], "power"),
        (["--metric", "top1", "--flips", "3%"], "--tolerance"),
    ],
)
def test_bad_input_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: list[str], named: str
) -> None:
    status, _, err = plan(capsys, monkeypatch, *options)
    assert status == 2
    assert named in err


def test_bad_pilots_are_named(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = json.loads((finished / "study.json").read_text())
    reference = next(trial for trial in record["trials"] if trial.get("reference"))
    name = f"{reference['candidate']['runtime']}.fp32"
    for pilot, status, named in [
        (f"{finished}:{name}", 2, "is the reference"),
        (f"{finished}:nothing", 2, "no trial 'nothing'"),
        (str(tmp_path), 5, "no finished study"),
    ]:
        found, _, err = plan(capsys, monkeypatch, "--tolerance", "top1: 5pp", "--pilot", pilot)
        assert (found, named in err) == (status, True), err
