"""Plans are timed in turn with the forms, once, and kept with the study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from workspace_samples import make_attempt, open_space

from assay.core.errors import RunFailed
from assay.core.mixing import MixedBudget
from assay.core.plan import Candidate, Plan
from assay.core.precision import Precision
from assay.studies import retiming
from assay.studies.attempt import Attempt
from assay.studies.retiming import PlanTimer
from assay.studies.workspace import Workspace

FP32, INT8 = Precision.FP32, Precision.INT8
RUNTIME = "onnxruntime"
MIX = (INT8, FP32, INT8)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return open_space(tmp_path_factory.mktemp("retiming"), (RUNTIME,), batch=2)


@pytest.fixture(scope="module")
def attempt(space: Workspace) -> Attempt:
    """In floats: what forms compute does not matter here."""
    return make_attempt(space, RUNTIME, Plan(FP32))


def make_timer(space: Workspace, attempt: Attempt, name: str) -> PlanTimer:
    base = Candidate(RUNTIME, Plan(FP32, overrides=((name, FP32),)))
    return PlanTimer(space, base, {FP32: attempt, INT8: attempt})


def test_a_plan_is_timed_once_beside_the_forms(
    space: Workspace, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retiming, "TIMING_S", 0.2)
    found = make_timer(space, attempt, "once").time(attempt, MIX)
    assert [one.mix for one in found] == [(INT8,) * 3, (FP32,) * 3, MIX]
    assert min(one.milliseconds for one in found) > 0
    monkeypatch.setattr(retiming, "profile_artifacts", lambda *_args, **_settings: pytest.fail("it is known"))
    assert make_timer(space, attempt, "once").time(attempt, MIX) == found


def test_a_slow_model_is_not_timed_again(space: Workspace, attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retiming, "profile_artifacts", lambda *_args, **_settings: pytest.fail("it takes too long"))
    hurried = replace(space, request=replace(space.request, mixed=MixedBudget(seconds=1e-6)))
    assert make_timer(hurried, attempt, "slow").time(attempt, MIX) == ()


def test_a_runtime_that_fails_fails_no_search(
    space: Workspace, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_settings: object) -> None:
        raise RunFailed("it crashed")

    monkeypatch.setattr(retiming, "profile_artifacts", fail)
    assert make_timer(space, attempt, "failed").time(attempt, MIX) == ()


def test_the_study_folder_is_left_as_it_was(
    space: Workspace, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retiming, "TIMING_S", 0.2)
    before = sorted(path.name for path in Path(space.store.artifacts).iterdir())
    make_timer(space, attempt, "left").time(attempt, MIX)
    assert sorted(path.name for path in Path(space.store.artifacts).iterdir()) == before
