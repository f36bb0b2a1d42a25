"""Certificates of a whole study: what was tested, on which items, and what a new question costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from study_samples import CLASSES, Files, call_assay, run_assay, study_arguments

import assay
from assay.core.certificate import Certificate, CertificateStatus, Design
from assay.studies.record import StudyRecord
from assay.studies.store import load_record

NARROW = ("--precisions", "fp32,fp16,int8", "--runtimes", "onnxruntime", "--ranges", "min-max", "--repairs", "none")
"""By size, FP16 is the best of these on every machine."""


@pytest.fixture(scope="module")
def study(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of its own, since these tests ask it further questions."""
    output = tmp_path_factory.mktemp("certified") / "STUDY"
    ran = run_assay(*study_arguments(files, output), *NARROW)
    assert ran.status == 0, ran.err
    return output


def ask(files: Files, study: Path, *more: str) -> StudyRecord:
    """The same study with other requirements."""
    ran = call_assay(*study_arguments(files, study), *NARROW, *more)
    assert ran.status in {0, 10, 11}, ran.err
    return load_record(study)


def find_tested(record: StudyRecord) -> tuple[str, Certificate]:
    """The trial that was tested first, and its certificate."""
    found = [(t.id, t.evidence.certificate) for t in record.trials if t.evidence and t.evidence.certificate]
    return min((one for one in found if one[1].order), key=lambda one: one[1].order)


def read_scores(study: Path) -> dict[str, tuple[int, int]]:
    """Items scored and time of writing of every file of scores."""
    found = {}
    for path in study.glob("measurements/*/scores/*.npz"):
        with np.load(path) as arrays:
            found[path.stem] = (len(arrays["predictions"]), path.stat().st_mtime_ns)
    return found


def test_the_chosen_one_is_certified_on_items_that_no_choice_has_seen(files: Files, study: Path) -> None:
    record = ask(files, study)
    tested, certificate = find_tested(record)
    assert certificate.status is CertificateStatus.CERTIFIED
    assert certificate.order == 1
    assert certificate.available == 240  # of 300 items a fifth is for searching
    assert certificate.design is Design.SEQUENTIAL
    assert certificate.n < 240
    assert certificate.high <= certificate.margin == pytest.approx(0.2)
    scored = read_scores(study)
    assert scored[tested][0] == 60 + certificate.n
    assert any(items == 60 for items, _ in scored.values())  # what the search items have left out
    assert record.plan is not None
    assert record.plan.available == 240


def test_a_new_question_needs_only_the_items_that_are_missing(files: Files, study: Path) -> None:
    ask(files, study)
    before = read_scores(study)
    ask(files, study, "--confidence", "0.9")
    assert read_scores(study) == before  # a lower confidence is answered from what is stored
    tighter = ask(files, study, "--tolerance", "top1: 10pp")
    tested, certificate = find_tested(tighter)
    assert read_scores(study)[tested][0] == 60 + certificate.n >= before[tested][0]
    _, whole = find_tested(ask(files, study, "--full", "--tolerance", "top1: 10pp"))
    assert whole.design is Design.FIXED
    assert whole.n == 240


def test_slices_are_certified_each(files: Files, study: Path) -> None:
    record = ask(files, study, "--slice", "class: 50pp")
    _, certificate = find_tested(record)
    assert certificate.n == certificate.available
    assert {part.value for part in certificate.slices} <= {str(index) for index in range(CLASSES)}
    assert sum(part.n for part in certificate.slices) == certificate.n
    unknown = call_assay(*study_arguments(files, study), "--slice", "camera: 5pp")
    assert unknown.status == 2
    assert "camera" in unknown.err


def test_what_broke_is_shown(files: Files, tmp_path: Path) -> None:
    """Labels that the FP32 model gives: every item that INT8 changes is one that it breaks."""
    with np.load(files.evaluation) as stored:
        evaluation = {name: stored[name] for name in stored.files}
    with np.load(files.calibration) as stored:
        calibration = {name: stored[name] for name in stored.files}
    study = assay.study(
        files.model,
        task="classification",
        calibration={"image": calibration["image"][:2] * 0.05},  # ranges far too narrow
        evaluation=evaluation,
        tolerance="top1: 30pp",
        runtimes=["onnxruntime"],
        precisions=["fp32", "int8"],
        ranges=["min-max"],
        repairs=["none"],
        accept_unfit=True,
        minimize="size",
        latency_seconds=0.2,
        output=tmp_path / "STUDY",
    )
    assert study.record.flips
    for trial, flips in study.record.flips.items():
        assert ".int8" in trial
        for flip in flips:
            assert flip.target == f"class {evaluation['target'][flip.item]}" == flip.before != flip.after
            assert flip.picture
