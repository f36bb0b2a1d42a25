"""The commands of the README, on a small model, through the real runtimes."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx.reference
import pandas as pd
import polars as pl
import pytest
from study_samples import Files, call_assay, run_assay, study_arguments

import assay
from assay.core.errors import DataError, StoreError


def test_show_keeps_its_schema(finished: Path) -> None:
    document = run_assay("show", finished, "--json").document
    assert document["schema"] == 1
    decision = document["decision"]
    assert isinstance(decision, dict)
    assert decision["status"] == "chosen"
    assert decision["fallbacks"][-1].endswith(".fp32")
    trials = document["trials"]
    assert isinstance(trials, list)
    by_id = {trial["id"]: trial for trial in trials}
    chosen = by_id[decision["chosen"]]
    assert {"metric", "reference", "value", "difference", "low", "high", "n", "flips_lost", "flips_won"} <= set(
        chosen["quality"]
    )
    assert {"p50", "p95", "p99", "n"} <= set(chosen["latency_ms"])
    assert set(chosen["executed"]) == {"int8", "bf16", "fp16", "fp32"}
    assert sum(chosen["executed"].values()) == pytest.approx(1)
    assert all(chosen[key] > 0 for key in ("throughput_per_s", "size_bytes", "peak_memory_bytes", "load_ms"))
    unsupported = by_id["onnxruntime.bf16"]
    assert unsupported["status"] == "unsupported"
    assert "bf16" in unsupported["reason"].lower()
    assert unsupported["quality"] is None


def test_quality_is_what_the_labels_say(finished: Path) -> None:
    for trial in assay.open_study(finished).trials:
        if trial["status"] == "ok":
            assert trial["value"] == pytest.approx(1 + float(str(trial["difference"])))
            items = int(str(trial["items"]))
            assert 0 < items <= 300  # no more than it takes to tell
            lost, won = int(str(trial["flips_lost"])), int(str(trial["flips_won"]))
            assert trial["difference"] == pytest.approx((won - lost) / items)


def test_a_second_run_does_nothing_and_says_so(files: Files, finished: Path) -> None:
    before = (finished / "study.json").read_bytes()
    ran = call_assay(*study_arguments(files, finished))
    assert ran.status == 0
    assert "nothing to do" in ran.err
    assert "timing" not in ran.err
    assert "calibrating" not in ran.err
    assert (finished / "study.json").read_bytes() == before


def test_new_requirements_are_decided_without_new_measurements(files: Files, finished: Path, tmp_path: Path) -> None:
    arguments = study_arguments(files, finished)
    arguments[arguments.index("top1: 20pp")] = "top1: 0.01pp"
    refused = run_assay(*arguments)
    assert refused.status == 4
    assert "cannot resolve a loss of 0.01 pp" in refused.err
    assert "evaluation items or more" in refused.err
    ran = call_assay(*arguments, "--accept-unresolvable")
    assert ran.status == 11, ran.err
    assert "deciding anew" in ran.err
    document = call_assay("show", finished, "--json").document
    assert isinstance(document["decision"], dict)
    assert document["decision"]["status"] == "undecided"
    assert call_assay("release", finished, tmp_path / "none").status == 2
    arguments[arguments.index("top1: 0.01pp")] = "top1: 20pp"
    arguments += ["--constraint", "p50 <= 0.0000001ms"]
    assert call_assay(*arguments).status == 10
    assert call_assay(*study_arguments(files, finished)).status == 0


def test_release_runs_verifies_and_notices_damage(files: Files, finished: Path, tmp_path: Path) -> None:
    release = tmp_path / "release"
    assert run_assay("release", finished, release).status == 0
    assert run_assay("verify", release).status == 0
    outputs = tmp_path / "outputs.npz"
    feeds = tmp_path / "feeds.npz"
    with np.load(files.evaluation) as data:
        np.savez(feeds, image=data["image"])
        images, target = data["image"], data["target"]
    ran = run_assay("run", release, "--input", feeds, "--output", outputs)
    assert ran.status == 0, ran.err
    with np.load(outputs) as got:
        agreement = np.mean(np.argmax(got["logits"], axis=1) == target)
    chosen = next(t for t in assay.open_study(finished).trials if t["chosen"])
    assert agreement == pytest.approx(chosen["value"], abs=0.011)
    with assay.load(release) as loaded:
        again = loaded.run({"image": images[:7]})["logits"]
        assert again.shape == (7, 6)
        with pytest.raises(DataError, match="float64"):
            loaded.run({"image": images[:7].astype(np.float64)})
        with pytest.raises(DataError, match="picture"):
            loaded.run({"picture": images[:7]})
        with pytest.raises(DataError, match="the model takes"):
            loaded.run({"image": images[:7, :, :5]})
    damaged = next((release / "artifacts").rglob("*.onnx"), None) or next((release / "artifacts").rglob("*.bin"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x00\x01")
    ran = call_assay("verify", release)
    assert ran.status == 5
    assert damaged.name in ran.err
    (release / "manifest.json").unlink()
    assert call_assay("verify", release).status == 5
    with pytest.raises(StoreError, match="not a release"):
        assay.load(release)


def test_a_fallback_takes_over(finished: Path, tmp_path: Path) -> None:
    release = tmp_path / "release"
    manifest = assay.open_study(finished).release(release)
    chosen, second = manifest.artifacts[0], manifest.artifacts[1]
    for path in (release / chosen.folder).iterdir():
        path.write_bytes(b"")
    with assay.load(release) as loaded:
        assert loaded.active == second.trial.id
        assert chosen.trial.id in loaded.failures
        assert loaded.run({"image": np.zeros((2, 3, 12, 12), np.float32)})["logits"].shape == (2, 6)


def test_reports_are_whole(finished: Path, tmp_path: Path) -> None:
    ran = call_assay("report", finished, "--output", tmp_path)
    assert ran.status == 0, ran.err
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert assay.open_study(finished).decision.sentence.split()[0] in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page.replace("https://www.w3.org", "")
    assert (tmp_path / "report.md").stat().st_size > 500
    assert (tmp_path / "report.json").stat().st_size > 500


def test_the_table_fits_data_frames(finished: Path) -> None:
    study = assay.open_study(finished)
    assert pd.DataFrame(study.trials)["id"].is_unique
    assert pl.DataFrame(study.trials).height == len(study.trials)


def test_the_function_does_what_the_command_does(files: Files, tmp_path: Path) -> None:
    with np.load(files.evaluation) as data:
        evaluation = dict(data)
    with np.load(files.calibration) as data:
        calibration = dict(data)
    study = assay.study(
        files.model,
        task="classification",
        evaluation=evaluation,
        calibration=calibration,
        tolerance="top1: 20pp",
        runtimes=["reference", "onnxruntime"],
        precisions=["int8"],
        ranges=["min-max"],
        latency_seconds=0.3,
        output=tmp_path / "study",
    )
    assert study.decision.chosen is not None
    assert {trial["runtime"] for trial in study.trials} == {"reference", "onnxruntime"}
    assert callable(assay.study)
    evaluator = onnx.reference.ReferenceEvaluator(str(files.model))
    wanted = evaluator.run(None, {"image": evaluation["image"][:4]})[0]
    study.release(tmp_path / "release", trial="reference.fp32")
    with assay.load(tmp_path / "release") as loaded:
        np.testing.assert_allclose(loaded.run({"image": evaluation["image"][:4]})["logits"], wanted, atol=1e-4)


def test_an_interrupted_study_resumes(files: Files, tmp_path: Path) -> None:
    output = tmp_path / "STUDY"
    brief = ("--runtimes", "onnxruntime", "--precisions", "fp32,int8", "--ranges", "min-max")
    arguments = [*study_arguments(files, output), *brief]
    command = [sys.executable, "-m", "assay", *map(str, arguments)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    trials = output / "measurements"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(list(trials.rglob("trials/*.json"))) < 2:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "resume" in err
    assert "Traceback" not in err
    done = {path.stem: path.stat().st_mtime_ns for path in trials.rglob("trials/*.json")}
    ran = call_assay(*arguments)
    assert ran.status == 0, ran.err
    assert "known from an earlier run" in ran.err
    assert all(
        path.stat().st_mtime_ns == done[path.stem] for path in trials.rglob("trials/*.json") if path.stem in done
    )
    assert not list(output.rglob("*.part"))


def test_a_lost_artifact_is_built_again(files: Files, finished: Path) -> None:
    chosen = next(
        t for t in assay.open_study(finished).record.trials if t.id == assay.open_study(finished).decision.chosen
    )
    shutil.rmtree(finished / "artifacts" / chosen.artifact)
    ran = call_assay(*study_arguments(files, finished))
    assert ran.status == 0, ran.err
    assert (finished / "artifacts" / chosen.artifact).is_dir()
