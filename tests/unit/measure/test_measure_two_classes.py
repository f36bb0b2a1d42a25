import numpy as np
import pytest
from measure_samples import ArrayDataset, FunctionSession
from scipy.special import expit, softmax
from sklearn import metrics

from assay.core.errors import MeasurementError, RequestError
from assay.core.session import Metric
from assay.measure.quality import check_task, score_dataset
from assay.measure.statistics.paired import compare
from assay.measure.tasks.binary import BINARY_METRICS
from assay.measure.tasks.classification import BinaryProbability, Classification
from assay.measure.tasks.table import find_metric, load_task

NAN, INF = float("nan"), float("inf")


def test_one_and_two_scores_give_the_same_functionals() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random(400) < 0.3).astype(np.int64)
    logits = (rng.standard_normal((400, 1)) + 2 * truth[:, None] - 1).astype(np.float32)
    found = []
    for columns, task in (
        (logits, Classification()),
        (np.concatenate([-logits / 2, logits / 2], axis=1), Classification()),
        (expit(logits), BinaryProbability()),
        (softmax(np.concatenate([0 * logits, logits], axis=1), axis=1), Classification()),
    ):
        scores = task.score({"y": columns}, truth)
        found.append([compare(metric, scores, scores, 0.95).value for metric in BINARY_METRICS])
    assert np.allclose(found, found[0], atol=1e-3)
    assert found[0][0] == pytest.approx(metrics.f1_score(truth, logits[:, 0] > 0))
    assert found[0][3] == pytest.approx(metrics.roc_auc_score(truth, logits[:, 0]))


@pytest.mark.parametrize("row", [[NAN], [INF], [NAN, 0.0], [INF, -INF]])
def test_an_item_without_a_prediction_is_wrong_and_ranks_at_the_wrong_end(row: list[float]) -> None:
    outputs = {"y": np.array([row, row], np.float32)}
    scores = Classification().score(outputs, np.array([0, 1]))
    assert scores.records["binary"].tolist() == [[INF, 1, 0], [-INF, 0, 1]]
    assert scores.predictions.tolist() == [-1, -1]
    assert scores.certainty is not None
    assert scores.certainty.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[2.0, 1.0, -1.0]], [softmax([2, 1, -1]).max()]),
        ([[1000.0, 999.0, -1e30]], [expit(1.0)]),
        ([[0.7, 0.2, 0.1]], [0.7]),
        ([[-3.0]], [expit(3.0)]),
        ([[0.2], [0.9]], [0.8, 0.9]),
        ([[3.0, -INF, 1.0], [NAN, 0, 0]], [expit(2.0), 0.0]),
    ],
)
def test_certainty_is_the_probability_of_what_is_said(values: list[list[float]], expected: list[float]) -> None:
    certainty = Classification().score({"y": np.array(values, np.float32)}, None).certainty
    assert certainty == pytest.approx(expected, rel=1e-5)


def test_certainty_stays_within_0_and_1() -> None:
    rows = np.random.default_rng(0).standard_normal((500, 40)).astype(np.float32) * 50
    certainty = Classification().score({"y": rows}, None).certainty
    assert certainty is not None
    assert certainty.min() > 1 / 40
    assert certainty.max() <= 1
    assert certainty == pytest.approx(softmax(rows.astype(np.float64), axis=1).max(axis=1), rel=1e-4)


def test_records_of_batches_are_put_together() -> None:
    rng = np.random.default_rng(0)
    items, targets = rng.standard_normal((50, 4)).astype(np.float32), rng.integers(0, 2, 50)
    task = Classification()
    scored = score_dataset(
        FunctionSession(lambda x: {"y": x[:, :2]}), ArrayDataset(items, targets), task, 7, lambda _: None
    )
    whole = task.score({"y": items[:, :2]}, targets)
    assert np.array_equal(scored.scores.records["binary"], whole.records["binary"])


def test_f1_of_a_model_of_three_classes_is_refused_with_what_it_has() -> None:
    data = ArrayDataset(np.ones((8, 4), np.float32), np.zeros(8, np.int64))
    session, task = FunctionSession(lambda x: {"y": x[:, :3]}), load_task("classification")
    with pytest.raises(RequestError, match=r"metric 'f1' does not exist for this model .*it has top1, f1-macro"):
        check_task(session, data, task, find_metric(task, "f1"))
    check_task(session, data, task, find_metric(task, "f1-macro"))


def test_a_functional_that_nobody_knows_is_refused_before_anything_is_measured() -> None:
    data = ArrayDataset(np.ones((8, 4), np.float32), np.zeros(8, np.int64))
    metric = Metric("f9", higher_is_better=True, labelled=True, functional="f9", record="binary")
    with pytest.raises(RequestError, match="functional 'f9' is unknown"):
        check_task(FunctionSession(lambda x: {"y": x[:, :2]}), data, Classification(), metric)


def test_data_without_positives_cannot_have_an_f1() -> None:
    scores = Classification().score({"y": np.ones((500, 2), np.float32)}, np.zeros(500, np.int64))
    with pytest.raises(MeasurementError, match=r"f1 over 0 positive items .* at least 30 are needed"):
        compare(BINARY_METRICS[0], scores, scores, 0.95)


def test_clicks_are_judged_by_probabilities_and_by_single_logits_alike() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random(400) < 0.2).astype(np.int64)
    logits = (rng.standard_normal((400, 1)) + truth[:, None] - 2).astype(np.float32)
    rate = np.full(400, truth.mean())
    wanted = metrics.log_loss(truth, expit(logits[:, 0].astype(np.float64))) / metrics.log_loss(truth, rate)
    both = np.concatenate([1 - expit(logits), expit(logits)], axis=1)
    for columns, task in (
        (logits, Classification()),
        (expit(logits), BinaryProbability()),
        (both, BinaryProbability()),
    ):
        metric = find_metric(task, "normalized-entropy")
        scores = task.score({"y": columns}, truth)
        assert compare(metric, scores, scores, 0.95).value == pytest.approx(wanted, rel=1e-5)
    assert "clicks" not in Classification().score({"y": both}, truth).records
