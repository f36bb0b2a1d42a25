"""Artifacts are profiled in a process of their own, whose end is told in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from faulty_runtime import install_faulty
from study_samples import write_model

from assay.backends.onnxruntime.adapter import OnnxRuntimeBackend
from assay.backends.table import load_backend
from assay.core.errors import RunFailed
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.target import Target
from assay.studies import profiling
from assay.studies.isolation import Limits
from assay.studies.profiling import profile_artifacts

FEEDS = {"image": np.zeros((2, 3, 12, 12), np.float32)}
FP32 = Plan(Precision.FP32)


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(profiling, "BUDGET_S", 0.2)
    write_model(tmp_path / "small.onnx", np.random.default_rng(0))
    (tmp_path / "store" / "built").mkdir(parents=True)
    OnnxRuntimeBackend().build(tmp_path / "small.onnx", tmp_path / "store" / "built", FP32, Target("onnxruntime"))
    return tmp_path / "store" / "built"


def test_what_is_only_timed_has_no_nodes(built: Path) -> None:
    other = built.with_name("other")
    other.mkdir()
    for file in built.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    profiled, timed = profile_artifacts([built], [other], FEEDS, Target("onnxruntime", batch=2), Limits(60))
    assert {"first", "second", "head"} <= {origin for node in profiled.nodes for origin in node.origins}
    assert timed.nodes == ()
    assert min(profiled.whole_ms, timed.whole_ms) > 0
    assert sorted(path.name for path in built.parent.iterdir()) == ["built", "other"]


def test_a_runtime_that_cannot_tell_gives_whole_times(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "store" / "reference"
    folder.mkdir()
    load_backend("reference").build(tmp_path / "small.onnx", folder, FP32, Target("reference"))
    (found,) = profile_artifacts([folder], [], FEEDS, Target("reference", batch=2), Limits(60))
    assert found.nodes == ()
    assert found.whole_ms > 0
    assert built.is_dir()


def test_feeds_that_do_not_fit_are_told(built: Path) -> None:
    with pytest.raises(RunFailed, match="image"):
        profile_artifacts([built], [], {"image": np.zeros((2, 5), np.float32)}, Target("onnxruntime"), Limits(60))


def test_a_crash_is_a_runtime_s_failure(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_faulty(tmp_path / "site", monkeypatch)
    with pytest.raises(RunFailed, match=r"segfault-run: died while profiling \(signal SIGSEGV\)"):
        profile_artifacts([built], [], FEEDS, Target("segfault-run"), Limits(60))
