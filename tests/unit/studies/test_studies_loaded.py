"""A release runs any number of items, whatever batch its model fixes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from study_samples import label, run_assay, write_model

import assay
from assay.core.errors import RequestError


def fix_batch(path: Path, batch: int) -> None:
    """Fix the batch axis of a model."""
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].ClearField("dim_param")
        value.type.tensor_type.shape.dim[0].dim_value = batch
    onnx.save(model, path)


def test_a_fixed_batch_is_filled_up_and_cut(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    path = tmp_path / "fixed.onnx"
    write_model(path, rng)
    images = rng.integers(0, 255, (30, 3, 12, 12)).astype(np.uint8)
    prepared = (images.astype(np.float32) / 255 - 0.5) / 0.25
    targets = label(path, prepared.astype(np.float32))
    fix_batch(path, 4)
    np.savez(tmp_path / "evaluation.npz", image=images, target=targets)
    np.savez(tmp_path / "calibration.npz", image=images[:9])
    study = tmp_path / "study.toml"
    study.write_text(
        "model = 'fixed.onnx'\noutput = 'STUDY'\ntask = 'classification'\ntolerance = 'top1: 50pp'\n"
        "runtimes = ['onnxruntime']\nprecisions = ['int8']\nranges = ['min-max']\nlatency_seconds = 0.2\nbatch = 4\n"
        "minimize = 'size'\n"
        "[calibration]\npath = 'calibration.npz'\n[evaluation]\npath = 'evaluation.npz'\n"
        "[preprocess]\nscale = 255\nmean = 0.5\nstd = 0.25\n"
    )
    ran = run_assay("study", study)
    assert ran.status == 0, ran.err
    finished = assay.open_study(tmp_path / "STUDY")
    finished.release(tmp_path / "release")
    with pytest.raises(RequestError, match="not an empty folder"):
        finished.release(tmp_path / "release")
    with assay.load(tmp_path / "release") as loaded:
        whole = loaded.run({"image": prepared})["logits"]
        assert whole.shape == (30, 6)
        np.testing.assert_array_equal(loaded.run({"image": prepared[:3]})["logits"], whole[:3])
    np.savez(tmp_path / "feeds.npz", image=images)
    output = tmp_path / "outputs.npz"
    command = ["run", tmp_path / "release", "--input", tmp_path / "feeds.npz", "--output", output]
    assert run_assay(*command).status == 2
    ran = run_assay(*command, "--preprocess")
    assert ran.status == 0, ran.err
    with np.load(output) as got:
        np.testing.assert_array_equal(got["logits"], whole)
    ran = run_assay("study", study, "--batch", "3")
    assert ran.status == 2
    assert "fixes its batch at 4" in " ".join(ran.err.split())
