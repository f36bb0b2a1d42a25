"""Thresholds: read from words, applied to stored scores, tuned on items apart."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_curve

from assay.core.errors import MeasurementError, RequestError
from assay.core.session import Scores
from assay.core.threshold import BINARY_LABEL, ThresholdGoal, ThresholdRule
from assay.measure.tasks.classification import BinaryProbability, Classification
from assay.measure.tasks.multi_label import MultiLabel, MultiLabelProbability
from assay.measure.tasks.thresholds import ThresholdedTask, apply_thresholds, find_positive
from assay.measure.tuning import find_thresholds, require_positives, tune_thresholds

MAX_F1 = ThresholdRule.parse("max-f1")


def draw_scores(n: int = 400, share: float = 0.2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < share).astype(np.int64)
    probability = 1 / (1 + np.exp(-(rng.normal(size=n) + 2 * truth - 2)))
    return probability.astype(np.float32), truth


def score_probability(probability: np.ndarray, truth: np.ndarray | None) -> Scores:
    return BinaryProbability().score({"p": probability[:, None]}, truth)


@pytest.mark.parametrize(
    ("text", "goal", "amount"),
    [
        ("max-f1", ThresholdGoal.MAX_F1, 0.0),
        (" 0.5 ", ThresholdGoal.FIXED, 0.5),
        ("-1.25", ThresholdGoal.FIXED, -1.25),
        ("recall >= 0.9", ThresholdGoal.RECALL, 0.9),
        ("precision>=95%", ThresholdGoal.PRECISION, 0.95),
    ],
)
def test_rules_are_read_from_words(text: str, goal: ThresholdGoal, amount: float) -> None:
    rule = ThresholdRule.parse(text)
    assert (rule.goal, rule.amount) == (goal, amount)
    assert rule.is_tuned == (goal is not ThresholdGoal.FIXED)


@pytest.mark.parametrize(
    "text", ["", "max-f1, same", "0.5,", "best", "recall", "recall >= 0", "recall >= 120%", "f1 >= 0.9", "1e999", "nan"]
)
def test_senseless_rules_are_refused(text: str) -> None:
    with pytest.raises(RequestError, match="threshold"):
        ThresholdRule.parse(text)


def test_a_tuned_threshold_has_the_highest_f1_of_all() -> None:
    probability, truth = draw_scores()
    found = tune_thresholds(MAX_F1, score_probability(probability, truth), np.random.default_rng(1))
    precision, recall, _ = precision_recall_curve(truth, probability)
    best = float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12)))
    (one,) = found
    assert one.label == BINARY_LABEL
    assert one.f1 == pytest.approx(best)
    assert f1_score(truth, probability > one.value) == pytest.approx(best)
    assert one.low <= one.value <= one.high
    assert one.low < one.high
    assert 0 < one.spread < 0.1
    assert (one.items, one.positives) == (400, int(truth.sum()))


def test_a_threshold_lies_between_scores() -> None:
    probability = np.repeat(np.array([0.2, 0.6], np.float32), [30, 20])
    truth = np.repeat(np.array([0, 1]), [30, 20])
    (one,) = find_thresholds(MAX_F1, score_probability(probability, truth))
    assert one[1] == pytest.approx(0.4, abs=1e-6)


@pytest.mark.parametrize("share", [0.5, 0.9, 1.0])
def test_a_least_recall_takes_the_highest_threshold_that_has_it(share: float) -> None:
    probability, truth = draw_scores(seed=3)
    rule = ThresholdRule.parse(f"recall >= {share}")
    (one,) = tune_thresholds(rule, score_probability(probability, truth), np.random.default_rng(0))
    positive = np.sort(probability[truth == 1])
    assert one.met
    assert (positive > one.value).mean() >= share
    higher = probability[probability > one.value].min()
    assert (positive > higher).mean() < share


def test_a_least_precision_takes_the_lowest_threshold_that_has_it() -> None:
    probability, truth = draw_scores(seed=4)
    rule = ThresholdRule.parse("precision >= 0.8")
    (one,) = tune_thresholds(rule, score_probability(probability, truth), np.random.default_rng(0))
    assert one.met
    assert truth[probability > one.value].mean() >= 0.8
    for lower in np.sort(probability[probability <= one.value]):
        assert truth[probability >= lower].mean() < 0.8


def test_a_precision_that_none_has_is_said() -> None:
    probability = np.linspace(0, 1, 100, dtype=np.float32)
    truth = (np.arange(100) % 2 == 0).astype(np.int64)
    rule = ThresholdRule.parse("precision >= 0.99")
    (one,) = tune_thresholds(rule, score_probability(probability, truth), np.random.default_rng(0))
    assert not one.met
    assert one.precision < 0.99


@pytest.mark.parametrize(("positives", "kind"), [(9, "positive"), (191, "negative")])
def test_too_few_of_a_kind_are_refused(positives: int, kind: str) -> None:
    truth = (np.arange(200) < positives).astype(np.int64)
    with pytest.raises(MeasurementError, match=f"9 {kind} items out of 200"):
        find_thresholds(MAX_F1, score_probability(np.linspace(0, 1, 200, dtype=np.float32), truth))


def test_items_none_of_which_is_positive_are_refused() -> None:
    scores = score_probability(np.full(50, 0.2, np.float32), np.zeros(50, np.int64))
    with pytest.raises(MeasurementError, match="none of the 50 items is positive"):
        require_positives(scores)
    targets = np.zeros((50, 3), np.int64)
    labels = {"l": np.full((50, 3), -1.0, np.float32)}
    with pytest.raises(MeasurementError, match="none of the 50 items is positive"):
        require_positives(MultiLabel().score(labels, targets))
    targets[7, 2] = 1  # a label that is nowhere is the business of the metric that needs it
    require_positives(MultiLabel().score(labels, targets))


def test_tuning_needs_targets_and_a_score() -> None:
    probability, _ = draw_scores()
    with pytest.raises(RequestError, match="no targets"):
        find_thresholds(MAX_F1, score_probability(probability, None))
    many = Classification().score({"l": np.eye(4, dtype=np.float32)}, np.arange(4))
    with pytest.raises(RequestError, match="one score"):
        find_thresholds(MAX_F1, many)


def test_other_thresholds_change_what_is_said_and_nothing_else() -> None:
    probability, truth = draw_scores()
    scores = score_probability(probability, truth)
    moved = apply_thresholds(scores, [0.8])
    said = (probability > np.float64(0.8)).astype(np.int64)
    assert moved.predictions.tolist() == said.tolist()
    assert moved.metrics["top1"].tolist() == (said == truth).tolist()
    assert moved.records["binary"][:, 1].tolist() == said.tolist()
    assert moved.records["binary"][:, [0, 2]].tolist() == scores.records["binary"][:, [0, 2]].tolist()
    assert moved.records["classes"].tolist() == np.stack([said, truth], axis=1).tolist()
    again = apply_thresholds(moved, [0.5])
    assert again.predictions.tolist() == scores.predictions.tolist()


def test_the_tasks_own_threshold_changes_nothing() -> None:
    probability, truth = draw_scores()
    logits = np.log(probability / (1 - probability)).astype(np.float32)
    pair = np.stack([np.zeros_like(logits), logits], axis=1)
    for scores, own in (
        (score_probability(probability, truth), 0.5),
        (Classification().score({"l": logits}, truth), 0.0),
        (Classification().score({"l": pair}, truth), 0.0),
    ):
        same = apply_thresholds(scores, [own])
        assert same.predictions.tolist() == scores.predictions.tolist()
        assert same.records["binary"].tolist() == scores.records["binary"].tolist()


def test_two_probabilities_are_held_against_the_second() -> None:
    probability, truth = draw_scores()
    pair = np.stack([1 - probability, probability], axis=1)
    scores = BinaryProbability().score({"p": pair}, truth)
    moved = apply_thresholds(scores, [0.8])
    assert moved.predictions.tolist() == (probability > np.float64(0.8)).tolist()


def test_an_item_without_a_prediction_stays_wrong() -> None:
    probability = np.array([0.9, np.nan, 0.1, np.nan], np.float32)
    truth = np.array([1, 1, 0, 0])
    moved = apply_thresholds(score_probability(probability, truth), [0.05])
    assert moved.predictions.tolist() == [1, -1, 1, -1]
    assert moved.metrics["top1"].tolist() == [1, 0, 0, 0]
    assert moved.records["binary"][:, 1].tolist() == [1, 0, 1, 1]
    assert find_positive(moved, [0.05]).tolist() == [True, False, True, False]


def test_labels_get_a_threshold_each() -> None:
    rng = np.random.default_rng(5)
    truth = (rng.random((600, 3)) < [0.5, 0.2, 0.1]).astype(np.int64)
    probability = (0.8 * rng.random((600, 3)) * [1.0, 0.5, 0.2] + 0.2 * truth).astype(np.float32)
    scores = MultiLabelProbability().score({"p": probability}, truth)
    found = tune_thresholds(MAX_F1, scores, np.random.default_rng(0))
    assert [one.label for one in found] == [0, 1, 2]
    moved = apply_thresholds(scores, [one.value for one in found])
    for label, one in enumerate(found):
        said = moved.records["labels"][:, label, 0]
        assert one.f1 == pytest.approx(f1_score(truth[:, label], said))
        assert one.f1 >= f1_score(truth[:, label], probability[:, label] > 0.5)
    assert moved.metrics["exact-match"].tolist() == (moved.records["labels"][:, :, 0] == truth).all(axis=1).tolist()
    assert find_positive(moved, [one.value for one in found]).sum() == moved.records["labels"][:, :, 0].sum()


def test_a_matched_variant_flags_the_share_that_the_reference_flags() -> None:
    probability, truth = draw_scores(n=600, seed=8)
    reference = score_probability(probability, truth)
    rng = np.random.default_rng(9)
    moved = (0.6 * probability + 0.004 * rng.normal(size=600).clip(-3, 3) + 0.02).clip(0, 1).astype(np.float32)
    variant = score_probability(moved, truth)
    rule = ThresholdRule.parse("max-f1, same share")
    assert (rule.goal, rule.matched, rule.is_tuned) == (ThresholdGoal.MAX_F1, True, True)
    own, matched, apart = (
        tune_thresholds(one, scores, np.random.default_rng(0), reference)[0]
        for one, scores in ((rule, reference), (rule, variant), (MAX_F1, variant))
    )
    assert own == tune_thresholds(MAX_F1, reference, np.random.default_rng(0))[0]
    assert (moved > matched.value).sum() == (probability > own.value).sum()
    assert matched.value < own.value
    assert matched.f1 <= apart.f1
    changed = [((moved > value) != (probability > own.value)).sum() for value in (matched.value, apart.value)]
    assert changed[0] <= changed[1]


def test_a_given_threshold_is_matched_too() -> None:
    probability, truth = draw_scores(seed=10)
    reference, variant = (score_probability(one, truth) for one in (probability, probability / 2))
    ((_, value),) = find_thresholds(ThresholdRule.parse("0.6, same share"), variant, reference)
    assert (probability / 2 > value).tolist() == (probability > 0.6).tolist()


def test_a_wrong_number_of_thresholds_is_refused() -> None:
    scores = MultiLabel().score({"l": np.ones((20, 3), np.float32)}, np.ones((20, 3), np.int64))
    with pytest.raises(RequestError, match="2 thresholds do not fit 3 labels"):
        apply_thresholds(scores, [0.0, 1.0])


def test_a_thresholded_task_scores_at_its_thresholds() -> None:
    probability, truth = draw_scores()
    task = ThresholdedTask(BinaryProbability(), [0.8])
    scores = task.score({"p": probability[:, None]}, truth)
    assert scores.predictions.tolist() == (probability > np.float64(0.8)).tolist()
    assert task.name == "binary-probability"
    assert task.metrics == BinaryProbability().metrics
