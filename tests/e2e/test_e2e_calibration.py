"""What a study does with calibration items: judges them, refuses harmful ones, repairs what they cannot hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

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


def test_an_unfit_set_is_refused_before_anything_is_built(unnormalised: Files, tmp_path: Path) -> None:
    output = tmp_path / "STUDY"
    ran = call_assay(*study_arguments(unnormalised, output), "--json")
    assert ran.status == 4
    error = json.loads(ran.out)["error"]
    assert error["exit"] == 4
    assert "unfit" in error["message"]
    assert "quantization noise" in error["message"]
    assert "--accept-unfit" in error["hint"]
    assert list((output / "artifacts").iterdir()) == []
    accepted = study_arguments(unnormalised, output)
    ran = call_assay(*accepted, "--accept-unfit", "--precisions", "fp32,int8", "--runtimes", "onnxruntime", "--json")
    assert ran.status in {0, 10, 11}, ran.err
    assert "unfit" in " ".join(json.loads(ran.out)["warnings"])
    assert json.loads(ran.out)["fitness"]["verdict"] == "unfit"


def test_the_items_are_held_against_production_where_a_sample_is_named(files: Files, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    np.savez(tmp_path / "production.npz", image=(40 * rng.normal(0, 1, (64, 3, 12, 12))).astype(np.float32))
    arguments = study_arguments(files, tmp_path / "STUDY")
    ran = call_assay(*arguments, "--production", tmp_path / "production.npz")
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
