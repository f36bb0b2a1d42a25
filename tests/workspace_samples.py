"""An open study of the small model, and artifacts that were built and probed in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from study_samples import write_model

from assay.core.plan import Candidate, Plan
from assay.core.requirements import Requirements, Tolerance
from assay.core.trial import TrialStatus
from assay.data.source import DataSource
from assay.studies.attempt import Attempt, build_candidate
from assay.studies.building import probe_artifact
from assay.studies.opening import open_workspace
from assay.studies.progress import Silent
from assay.studies.request import DEFAULT_RUNTIMES, StudyRequest
from assay.studies.workspace import Workspace


def open_space(folder: Path, runtimes: tuple[str, ...] = DEFAULT_RUNTIMES, *, batch: int) -> Workspace:
    """A study of the small model on noise, about to begin in a folder."""
    rng = np.random.default_rng(0)
    write_model(folder / "model.onnx", rng)
    images = rng.standard_normal((40, 3, 12, 12)).astype(np.float32)
    np.savez(folder / "items.npz", image=images, target=np.zeros(40, np.int64))
    source = DataSource(folder / "items.npz")
    request = StudyRequest(
        model=folder / "model.onnx",
        output=folder / "STUDY",
        task="classification",
        evaluation=source,
        calibration=source,
        calibration_items=16,
        requirements=Requirements(Tolerance.parse("top1: 20pp")),
        runtimes=runtimes,
        batch=batch,
        accept_unfit=True,
        accept_unresolvable=True,
    )
    request.output.mkdir()
    return open_workspace(request, Silent())


def make_attempt(space: Workspace, runtime: str, plan: Plan) -> Attempt:
    """A candidate, built and probed."""
    candidate = Candidate(runtime, plan)
    built = build_candidate(space, candidate)
    probe = probe_artifact(built, space.sample, space.target(runtime), space.request.limits)
    return Attempt(candidate, TrialStatus.OK, address=built.address, probe=probe)
