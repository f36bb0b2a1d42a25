"""A study whose INT8 forms put out nothing but zeros: they fail whatever the metric says, and the node is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from fault_samples import make_gated
from study_samples import call_assay, run_assay, study_arguments

from assay.core.trial import TrialStatus
from assay.studies.store import load_record

QUICK = ("--accept-unfit", "--runtimes", "onnxruntime", "--precisions", "fp32,int8", "--ranges", "mse")


def test_dead_forms_fail_and_fp32_is_chosen(tmp_path: Path) -> None:
    """Behind the input are more layers with dead scales than are mended."""
    files = make_gated(tmp_path, layers=5)
    with np.load(files.evaluation) as archive:
        data = dict(archive)
    # The metric alone would be content: dead logits predict class 0, and so is nearly every label.
    np.savez(files.evaluation, **{**data, "target": np.zeros_like(data["target"])})
    ran = run_assay(*study_arguments(files, tmp_path / "STUDY"), *QUICK)
    assert ran.status == 0, ran.err
    record = load_record(tmp_path / "STUDY")
    assert record.decision.chosen == "onnxruntime.fp32"
    broken = [trial for trial in record.trials if trial.candidate.plan.scheme is not None]
    assert broken
    for trial in broken:
        assert trial.status is TrialStatus.FAILED
        assert trial.evidence is None
        (fault,) = trial.faults
        assert (fault.tensor, fault.whole) == ("logits", True)
        assert "output 'logits' is zero in all of 60 items" in record.decision.reasons[trial.id]
        assert f"it begins at node '{fault.nodes[0]}'" in record.decision.reasons[trial.id]
    first = [trial for trial in broken if not trial.candidate.plan.overrides]
    assert {trial.faults[0].nodes for trial in first} == {("gate",)}
    shown = json.loads(call_assay("show", tmp_path / "STUDY", "--json").out)
    told = {trial["id"]: trial["reason"] for trial in shown["trials"]}
    assert "it begins at node 'gate' (Mul)" in told[first[0].id]
    again = call_assay(*study_arguments(files, tmp_path / "STUDY"), *QUICK)
    assert "nothing to do" in again.err
    assert load_record(tmp_path / "STUDY") == record


def test_the_next_plan_keeps_the_guilty_nodes_in_floats(tmp_path: Path) -> None:
    files = make_gated(tmp_path, layers=0)
    ran = call_assay(*study_arguments(files, tmp_path / "STUDY"), *QUICK)
    assert ran.status == 0, ran.err
    trials = load_record(tmp_path / "STUDY").trials
    dead = [trial for trial in trials if trial.faults]
    mended = [trial for trial in trials if trial.candidate.plan.overrides and trial.evidence is not None]
    assert dead
    assert mended
    for trial in mended:
        assert trial.evidence is not None
        assert trial.evidence.quality is not None
        assert trial.evidence.quality.value > 0.9
        assert {"gate", "flatten"} & {name for name, _ in trial.candidate.plan.overrides}


def test_healthy_forms_have_no_fault(finished: Path) -> None:
    trials = load_record(finished).trials
    assert len([trial for trial in trials if trial.evidence is not None]) > 4
    assert not [trial.id for trial in trials if trial.faults]
