"""``assay load`` on a file, a trial and a release."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from study_samples import Files, Ran, call_assay, run_assay

STATUSES = {"holds": 0, "broken": 10, "open": 11}


def check(ran: Ran) -> dict[str, object]:
    """The document of a load, whose exit status is the one it states."""
    document = ran.document
    assert ran.status == STATUSES[str(document["status"])] == document["exit"], ran.err
    return document


def test_a_model_file_holds_a_loose_bound_and_breaks_a_tight_one(files: Files) -> None:
    single = ["load", files.model, "--scenario", "single-stream", "--seconds", "0.3", "--json", "--accept-unsteady"]
    loose = check(call_assay(*single, "--constraint", "p50 <= 60s at 75%", "--evaluation", files.evaluation))
    assert loose["status"] == "holds"
    tight = check(call_assay(*single, "--constraint", "p50 <= 0.0001us"))
    assert tight["status"] == "broken"


def test_a_trial_and_a_release_serve(finished: Path, tmp_path: Path) -> None:
    release = tmp_path / "RELEASE"
    made = call_assay("release", finished, release)
    assert made.status == 0, made.err
    for target in (release, finished):
        ran = run_assay("load", target, "--scenario", "server", "--rate", "50", "--seconds", "0.5", "--json")
        outcome = check(ran)["outcome"]
        assert isinstance(outcome, dict)
        assert outcome["scenario"] == "server"
        assert outcome["offered"] == 50


def test_offline_prints_for_people(files: Files, tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('[[machine]]\nname = "box"\nprice_per_hour = 1\ncurrency = "EUR"\n', encoding="utf-8")
    ran = run_assay("load", files.model, "--scenario", "offline", "--seconds", "0.4", "--prices", prices)
    assert ran.status in STATUSES.values()
    assert "EUR per million items" in ran.out
    assert "no carbon" in ran.out
    assert ran.out.strip().splitlines()[-1] in STATUSES


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scenario", "server"], "needs a rate"),
        (["--scenario", "offline", "--constraint", "p99 <= 1ms"], "no latency offline"),
        (["--scenario", "single-stream", "--constraint", "p99 <= 1ms at 101%"], "no confidence"),
        (["--scenario", "single-stream", "--prices", "none.toml"], "cannot read the price file"),
    ],
)
def test_wrong_input_is_told(files: Files, arguments: list[str], words: str) -> None:
    ran = call_assay("load", files.model, *arguments)
    assert ran.status == 2
    assert words in ran.err


def test_a_study_for_cost_finds_rates_under_its_constraint(files: Files, tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('[[machine]]\nname = "box"\nprice_per_hour = 1\ncurrency = "EUR"\n', encoding="utf-8")
    ran = run_assay(
        "study", files.model, "--task", "classification", "--evaluation", files.evaluation,
        "--precisions", "fp32", "--runtimes", "onnxruntime", "--tolerance", "top1: 20pp", "--minimize", "cost",
        "--constraint", "p50 <= 20s at 90%", "--prices", prices, "--latency-seconds", "1",
        "--output", tmp_path / "STUDY",
    )  # fmt: skip
    assert ran.status in {0, 10, 11}, ran.err
    record = json.loads((tmp_path / "STUDY" / "study.json").read_text(encoding="utf-8"))
    assert record["requirements"]["currency"] == "EUR"
    evidence = record["trials"][0]["evidence"]
    assert evidence["latency"]["asked"][0]["estimate"]["confidence"] == 0.9
    if evidence["served"] is None:
        assert evidence["served_note"]
    else:
        assert 0 < evidence["served"]["low"] <= evidence["served"]["value"]
