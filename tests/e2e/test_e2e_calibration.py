"""What a study does with calibration items: judges them, refuses harmful ones, repairs what they cannot hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from study_samples import Files, call_assay, study_arguments

import assay


@pytest.fixture(scope="module")
def unnormalised(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The same study with calibration pictures in 0-255 where the model takes about -1 to 1."""
    path = tmp_path_factory.mktemp("unnormalised") / "calibration.npz"
    images = np.random.default_rng(5).integers(0, 256, (64, 3, 12, 12)).astype(np.float32)
    np.savez(path, image=images)
    return replace(files, calibration=path)


INTEGERS = ("--precisions", "fp32,int8", "--runtimes", "onnxruntime")


def test_an_unfit_set_ends_a_study_that_asks_for_nothing_else(unnormalised: Files, tmp_path: Path) -> None:
    output = tmp_path / "STUDY"
    ran = call_assay(*study_arguments(unnormalised, output), *INTEGERS, "--json")
    assert ran.status == 4
    error = json.loads(ran.out)["error"]
    assert error["exit"] == 4
    assert "unfit" in error["message"]
    assert "quantization noise" in error["message"]
    assert "--accept-unfit" in error["hint"]
    assert list((output / "artifacts").iterdir()) == []


def test_an_unfit_set_refuses_the_forms_that_need_it_until_it_is_accepted(unnormalised: Files, tmp_path: Path) -> None:
    precisions = ("--precisions", "fp32,fp16,int8", "--runtimes", "onnxruntime")
    arguments = (*study_arguments(unnormalised, tmp_path / "STUDY"), *precisions)
    refused = show_outcome(arguments)
    assert {trial["status"] for trial in refused["trials"] if trial["precision"] == "int8"} == {"refused"}
    assert {trial["precision"] for trial in refused["trials"] if trial["status"] == "ok"} >= {"fp32"}
    assert all(trial["status"] != "refused" for trial in refused["trials"] if trial["precision"] != "int8")
    reasons = [why for name, why in refused["decision"]["reasons"].items() if ".int8" in name]
    assert reasons
    assert all("refused: its ranges would come from calibration items that are unfit" in why for why in reasons)
    assert refused["decision"]["sentence"].endswith("INT8 from calibration items was refused, since these are unfit.")
    assert "--accept-unfit" in " ".join(refused["warnings"])
    assert refused["fitness"]["verdict"] == "unfit"
    report = (tmp_path / "STUDY" / "report.md").read_text()
    assert "refused: its ranges would come" in report
    accepted = show_outcome((*arguments, "--accept-unfit"))
    assert "ok" in {trial["status"] for trial in accepted["trials"] if trial["precision"] == "int8"}
    assert "unfit" in " ".join(accepted["warnings"])
    again = show_outcome(arguments)
    assert {trial["status"] for trial in again["trials"] if trial["precision"] == "int8"} == {"refused"}


def show_outcome(arguments: tuple[str | Path, ...]) -> dict[str, Any]:
    """The document of a study that came to a decision."""
    ran = call_assay(*arguments, "--json")
    assert ran.status in {0, 10, 11}, ran.err
    document: dict[str, Any] = json.loads(ran.out)
    return document


def test_the_items_are_held_against_production_where_a_sample_is_named(files: Files, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    np.savez(tmp_path / "production.npz", image=(40 * rng.normal(0, 1, (64, 3, 12, 12))).astype(np.float32))
    arguments = study_arguments(files, tmp_path / "STUDY")
    ran = call_assay(*arguments, *INTEGERS, "--production", tmp_path / "production.npz")
    assert ran.status == 4
    assert "unfit" in ran.err


def test_every_form_of_int8_is_repaired_and_all_repairs_join_where_it_strains(files: Files, tmp_path: Path) -> None:
    with np.load(files.evaluation) as stored:
        evaluation = {name: stored[name] for name in stored.files}
    with np.load(files.calibration) as stored:
        calibration = {name: stored[name] for name in stored.files}
    study = assay.study(
        files.model,
        task="classification",
        calibration=calibration,
        evaluation=evaluation,
        tolerance="top1: 0.0001pp",
        accept_unresolvable=True,
        runtimes=["onnxruntime"],
        precisions=["fp32", "int8"],
        latency_seconds=0.2,
        output=tmp_path / "STUDY",
    )
    names = {str(trial["id"]) for trial in study.trials}
    quantized = {name for name in names if ".int8" in name}
    assert all("-bias" in name for name in quantized)
    strained = any(
        float(str(trial["difference"])) < 0 for trial in study.trials if ".int8" in str(trial["id"]) and trial["value"]
    )
    assert any("-round" in name for name in quantized) == strained
    plain = assay.study(
        files.model,
        task="classification",
        calibration=calibration,
        evaluation=evaluation,
        tolerance="top1: 20pp",
        runtimes=["onnxruntime"],
        precisions=["fp32", "int8"],
        repairs=["none"],
        latency_seconds=0.2,
        output=tmp_path / "PLAIN",
    )
    assert all("-bias" not in str(trial["id"]) for trial in plain.trials)
