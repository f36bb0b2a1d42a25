"""A small model with data and a finished study of it, made once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from study_samples import Files, label, run_assay, study_arguments, write_model


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A model with calibration and evaluation items."""
    folder = tmp_path_factory.mktemp("small")
    rng = np.random.default_rng(3)
    model = folder / "small.onnx"
    write_model(model, rng)
    made = Files(folder, model, folder / "calibration.npz", folder / "evaluation.npz")
    np.savez(made.calibration, image=rng.normal(0, 1, (40, 3, 12, 12)).astype(np.float32))
    images = rng.normal(0, 1, (300, 3, 12, 12)).astype(np.float32)
    np.savez(made.evaluation, image=images, target=label(model, images))
    return made


@pytest.fixture(scope="session")
def finished(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished study."""
    output = tmp_path_factory.mktemp("study") / "STUDY"
    ran = run_assay(*study_arguments(files, output))
    assert ran.status == 0, ran.err
    return output
