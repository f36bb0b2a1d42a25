"""The sequence of tests of a study: which items certify, and what a failure does to those behind it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray
from trial_samples import S8S8, U8S8, make_plan, make_reference, make_requirements
from trial_samples import make_trial as make_any

from assay.core.certificate import CertificateStatus
from assay.core.precision import Placement, Precision, RangeMethod
from assay.core.session import Metric, Scores
from assay.core.trial import Trial
from assay.studies.certifying import certify_trials, compare_search
from assay.studies.progress import Silent
from assay.studies.score_arrays import pack_scores
from assay.studies.scoring import name_scores
from assay.studies.split import split_items
from assay.studies.store import StudyStore
from assay.studies.workspace import Workspace

ITEMS = 6_000
TOP1 = Metric("top1", higher_is_better=True, labelled=True)
SAFE = make_any(Precision.BF16, 10.0)
MIDDLE = make_any(Precision.INT8, 6.0, plan=make_plan(Precision.INT8, U8S8, Placement.CHAIN, RangeMethod.MSE))
FAST = make_any(Precision.INT8, 3.0, plan=make_plan(Precision.INT8, S8S8, Placement.CHAIN, RangeMethod.MSE))


def make_space(folder: Path, scores: dict[str, NDArray[np.float64]], trials: list[Trial]) -> Workspace:
    """A study whose candidates are all scored on all items, in the evaluation order."""
    store = StudyStore(folder, "0" * 16)
    for trial in trials:
        values = scores.get(trial.id, np.ones(ITEMS))
        kept = Scores({"top1": values}, values.astype(np.int64))
        store.write_arrays(name_scores(trial.candidate), pack_scores(kept, 0))
    request = SimpleNamespace(requirements=make_requirements("top1: 2pp"), sequential=True, threshold=None)
    space = SimpleNamespace(store=store, metric=TOP1, request=request, split=split_items(ITEMS), progress=Silent())
    return cast("Workspace", space)


def lose(share_search: float, share_certification: float) -> NDArray[np.float64]:
    """Scores of a variant of a perfect reference that fails on so many of the search and of the other items."""
    values = np.ones(ITEMS)
    search = split_items(ITEMS).search
    for start, stop, share in ((0, search, share_search), (search, ITEMS, share_certification)):
        if share:
            values[start : stop : round(1 / share)] = 0
    return values


def certify(folder: Path, scores: dict[str, NDArray[np.float64]], trials: list[Trial]) -> dict[str, CertificateStatus]:
    """Status of every candidate."""
    reference = make_reference()
    everyone = [reference, *trials]
    space = make_space(folder, scores, everyone)
    searched = []
    for trial in everyone:
        assert trial.evidence is not None
        quality = compare_search(space, reference.candidate, trial.candidate)
        evidence = type(trial.evidence)(**{**fields(trial.evidence), "quality": quality})
        searched.append(type(trial)(**{**fields(trial), "evidence": evidence}))
    found, failures = certify_trials(space, searched)
    assert not failures
    return {name: one.certificate.status for name, one in found.items()}


def fields(noun: object) -> dict[str, object]:
    """Fields of a frozen dataclass with slots."""
    return {name: getattr(noun, name) for name in noun.__dataclass_fields__}  # type: ignore[attr-defined] # a dataclass


def test_all_that_hold_are_certified(tmp_path: Path) -> None:
    scores = {MIDDLE.id: lose(0.005, 0.005)}
    found = certify(tmp_path, scores, [SAFE, MIDDLE])
    assert found == {SAFE.id: CertificateStatus.CERTIFIED, MIDDLE.id: CertificateStatus.CERTIFIED}


@pytest.mark.parametrize("loss", [0.02, 0.1])
def test_a_candidate_that_only_looks_good_on_the_search_items_is_not_certified(tmp_path: Path, loss: float) -> None:
    """The search items have no say in the certificate, in whose favour they may be."""
    found = certify(tmp_path, {FAST.id: lose(0.0, loss)}, [FAST])
    assert found[FAST.id] is not CertificateStatus.CERTIFIED


def test_the_tests_end_with_the_first_that_is_not_certified(tmp_path: Path) -> None:
    """The last of the sequence would pass, were it tested."""
    scores = {SAFE.id: lose(0.0, 0.1), FAST.id: lose(0.005, 0.001)}
    found = certify(tmp_path, scores, [SAFE, FAST])
    assert found[SAFE.id] is CertificateStatus.WORSE
    assert found[FAST.id] is CertificateStatus.UNTESTED
    alone = certify(tmp_path / "alone", {FAST.id: scores[FAST.id]}, [FAST])
    assert alone[FAST.id] is CertificateStatus.CERTIFIED


def test_what_the_search_items_prove_worse_costs_no_other_item_and_stops_nothing(tmp_path: Path) -> None:
    found = certify(tmp_path, {FAST.id: lose(0.2, 0.0)}, [SAFE, FAST])
    assert found == {SAFE.id: CertificateStatus.CERTIFIED, FAST.id: CertificateStatus.WORSE}
