"""Thresholds in a study: read from the request, on the items for searching, the same wherever scores are read."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import msgspec
import numpy as np
import pytest

from assay.core.errors import RequestError
from assay.core.session import Scores
from assay.core.threshold import Threshold, ThresholdGoal, ThresholdRule
from assay.core.trial import Evidence
from assay.measure.tasks.classification import BinaryProbability
from assay.studies.compose import compose_request
from assay.studies.config import DataSection, StudyFile, read_study_file
from assay.studies.pair_scoring import SideScorer
from assay.studies.pair_thresholds import ThresholdedPair
from assay.studies.request import StudyRequest
from assay.studies.split import split_items
from assay.studies.thresholds import apply_rule, describe_missed, describe_thresholds, thresholded
from assay.studies.workspace import Workspace

ITEMS, SEARCH = 500, 100
KEYS = StudyFile(
    model="m.onnx",
    output="S",
    task="binary-probability",
    tolerance="f1: 1%",
    precisions=("fp32",),
    evaluation=DataSection(path="e.npz"),
)


def make_space(rule: ThresholdRule | None) -> Workspace:
    """As much of a study as thresholds look at."""
    request = SimpleNamespace(threshold=rule)
    split = SimpleNamespace(search=SEARCH)
    return cast("Workspace", SimpleNamespace(request=request, split=split, task=BinaryProbability()))


def make_scores(flip_after: int) -> Scores:
    """A score that is right at 0.3 on the first items, and at 0.7 on those that follow."""
    rng = np.random.default_rng(0)
    score = rng.random(ITEMS).astype(np.float32)
    cut = np.where(np.arange(ITEMS) < flip_after, 0.3, 0.7)
    return BinaryProbability().score({"p": score[:, None]}, (score > cut).astype(np.int64))


def read_request(threshold: str | float | None, tuning_items: int | None = None) -> StudyRequest:
    return compose_request(msgspec.structs.replace(KEYS, threshold=threshold, tuning_items=tuning_items))


def test_a_rule_is_read_from_the_keys() -> None:
    assert read_request(None).threshold is None
    fixed, tuned = read_request(0.25).threshold, read_request("max-f1").threshold
    assert fixed is not None
    assert tuned is not None
    assert (fixed.goal, fixed.amount) == (ThresholdGoal.FIXED, 0.25)
    assert tuned.goal is ThresholdGoal.MAX_F1
    with pytest.raises(RequestError, match="tuning_items = 0 is not positive"):
        read_request(None, tuning_items=0)


def test_a_study_file_may_hold_a_number_or_a_goal(tmp_path: Path) -> None:
    for value, wanted in (("0.8", 0.8), ("1", 1.0), ('"recall >= 0.9"', "recall >= 0.9")):
        (tmp_path / "study.toml").write_text(f"threshold = {value}\n")
        assert read_study_file(tmp_path / "study.toml").threshold == wanted


def test_more_tuning_items_are_another_measurement_and_the_rule_is_not() -> None:
    keys = [read_request(*one).measurement_key("m", "c", "e", "x") for one in ((None, None), ("max-f1", None))]
    assert keys[0] == keys[1]
    assert read_request("max-f1", 400).measurement_key("m", "c", "e", "x") != keys[0]


def test_tuning_items_come_out_of_the_search_items() -> None:
    usual, more = split_items(1000), split_items(1000, 400)
    assert (usual.search, more.search, more.certification) == (200, 400, 600)
    assert usual.order.tolist() == more.order.tolist()
    assert split_items(1000, 50).search == 200
    with pytest.raises(RequestError, match="none is left to certify on"):
        split_items(1000, 1000)


def test_only_search_items_have_a_say_in_a_tuned_threshold() -> None:
    space = make_space(ThresholdRule.parse("max-f1"))
    same, other = (describe_thresholds(space, make_scores(after)) for after in (ITEMS, SEARCH))
    assert same == other
    assert same[0].value == pytest.approx(0.3, abs=0.02)
    assert same[0].items == SEARCH
    late = apply_rule(space, make_scores(SEARCH)).records["binary"][SEARCH:, 1]
    assert late.tolist() == (make_scores(SEARCH).records["score"][SEARCH:] > same[0].value).tolist()


def test_without_a_rule_scores_are_as_the_task_gave_them() -> None:
    scores, space = make_scores(ITEMS), make_space(None)
    assert apply_rule(space, scores) is scores
    assert describe_thresholds(space, scores) == ()
    assert thresholded(space, scores) is space.task


def test_simulated_outputs_are_scored_at_the_same_threshold() -> None:
    space, scores = make_space(ThresholdRule.parse("max-f1")), make_scores(ITEMS)
    score = scores.records["score"].astype(np.float32)
    again = thresholded(space, scores).score({"p": score[:, None]}, None)
    assert again.predictions.tolist() == apply_rule(space, scores).predictions.tolist()


def test_a_goal_that_is_missed_is_told() -> None:
    rule = ThresholdRule.parse("precision >= 0.99")
    missed = Threshold(2, 0.5, 0.4, 0.6, items=SEARCH, met=False)
    evidence = cast("Evidence", SimpleNamespace(thresholds=(missed, Threshold(3, 0.5, 0.4, 0.6))))
    (told,) = describe_missed(rule, evidence)
    assert "of label 2 has precision >= 0.99 on the 100 tuning items" in told
    assert describe_missed(rule, cast("Evidence", SimpleNamespace(thresholds=()))) == []


class KnownScorer:
    """Scores of a side that are all known."""

    def __init__(self, scores: Scores) -> None:
        self._scores = scores

    def score(self, count: int) -> Scores:
        return self._scores.select(slice(0, count))


def make_pair(rule: str | None) -> ThresholdedPair:
    scorers = [cast("SideScorer", KnownScorer(make_scores(after))) for after in (ITEMS, SEARCH)]
    return ThresholdedPair(None if rule is None else ThresholdRule.parse(rule), scorers, ITEMS, None)


def test_a_comparison_leaves_out_what_its_thresholds_were_tuned_on() -> None:
    pair = make_pair("max-f1")
    assert pair.available == ITEMS - SEARCH
    assert [side[0].items for side in pair.thresholds] == [SEARCH, SEARCH]
    first, second = pair.draw(50)
    assert len(first) == len(second) == 50
    assert first.metrics["top1"].mean() > 0.95  # tuned where the items that follow are cut alike
    assert second.metrics["top1"].mean() < 0.8  # and where they are not
    assert first.predictions.tolist() == second.predictions.tolist()


def test_a_comparison_at_a_given_threshold_uses_every_item() -> None:
    given, own = make_pair("0.3"), make_pair(None)
    assert given.available == own.available == ITEMS
    assert [side[0].value for side in given.thresholds] == [0.3, 0.3]
    assert own.thresholds == ((), ())
    assert given.draw(ITEMS)[0].metrics["top1"].mean() == 1
    assert own.draw(ITEMS)[0].predictions.tolist() == make_scores(ITEMS).predictions.tolist()
