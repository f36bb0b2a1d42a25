import ml_dtypes
import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from assay.core.errors import DataError, ModelError
from assay.core.session import Batch, Task
from assay.core.tensor import Array, Outputs, Signature, TensorSpec
from assay.measure.statistics.paired import EXACT, compare
from assay.measure.tasks.multi_label import MultiLabel, MultiLabelProbability
from assay.measure.tasks.regression import Regression
from assay.measure.tasks.table import find_metric

NAN = float("nan")


def check(task: Task, outputs: Outputs, targets: Array | None, start: int = 0) -> None:
    specs = tuple(TensorSpec(name, value.dtype.name, value.shape) for name, value in outputs.items())
    size = len(next(iter(outputs.values())))
    task.check(Signature((), specs), Batch({"x": np.zeros((size, 2), np.float32)}, targets, start), outputs)


def test_regression_is_compared_by_all_its_metrics() -> None:
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(400).astype(np.float32)
    said = truth + rng.standard_normal(400).astype(np.float32)
    other = said + np.float32(0.1) * rng.standard_normal(400).astype(np.float32)
    task = Regression()
    before, after = (task.score({"ids": np.arange(400), "y": part[:, None]}, truth) for part in (said, other))
    expected = {
        "pearson": stats.pearsonr(other, truth).statistic,
        "spearman": stats.spearmanr(other, truth).statistic,
        "rmse": metrics.root_mean_squared_error(truth, other),
        "mae": metrics.mean_absolute_error(truth, other),
    }
    for name, value in expected.items():
        quality = compare(find_metric(task, name), before, after, 0.95)
        assert quality.value == pytest.approx(value, rel=1e-5)
        assert quality.low < quality.difference < quality.high
        assert quality.higher_is_better == (name in {"pearson", "spearman"})
    assert compare(find_metric(task, "agreement"), before, before, 0.95).value == 1
    assert compare(find_metric(task, "agreement"), before, after, 0.95).value < 0.1


def test_numbers_of_bfloat16_and_nan_are_read() -> None:
    scores = Regression().score({"y": np.array([1.5, NAN], ml_dtypes.bfloat16)}, np.array([1.0, 2.0]))
    assert scores.records["pairs"][0].tolist() == [1.5, 1.0]
    assert scores.predictions[1] == -1
    assert scores.predictions[0] >= 0


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.array([1.0, NAN, 2.0]), "target of item 11 is nan"),
        (np.array([1.0, 2.0]), "2 targets for 3 items from item 10 on"),
        (np.ones((3, 2)), r"shape \[3, 2\]: one number per item"),
        (np.array(["a", "b", "c"]), "not numbers"),
    ],
)
def test_regression_targets_are_checked(targets: Array, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check(Regression(), {"y": np.ones((3, 1), np.float32)}, targets, start=10)


def test_regression_needs_one_number_per_item() -> None:
    with pytest.raises(ModelError, match=r"the outputs are 'y' float32\[3, 2\], 'z' int64\[3\]"):
        check(Regression(), {"y": np.ones((3, 2), np.float32), "z": np.ones(3, np.int64)}, None)
    check(Regression(), {"y": np.ones((3, 1, 1), np.float32)}, np.arange(3))


def test_labels_are_compared_by_all_their_metrics() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((400, 4)) < 0.3).astype(np.int64)
    logits = (rng.standard_normal((400, 4)) + 3 * truth - 1.5).astype(np.float32)
    task = MultiLabel()
    scores = task.score({"y": logits}, truth)
    for name, average in (("f1-micro", "micro"), ("f1-macro", "macro")):
        quality = compare(find_metric(task, name), scores, scores, 0.95)
        assert quality.value == pytest.approx(metrics.f1_score(truth, logits > 0, average=average))
    exact = compare(find_metric(task, "exact-match"), scores, scores, 0.95)
    assert exact.value == pytest.approx(metrics.accuracy_score(truth, logits > 0))
    assert exact.method == EXACT
    probable = MultiLabelProbability().score({"y": 1 / (1 + np.exp(-logits))}, truth)
    assert np.array_equal(probable.records["labels"], scores.records["labels"])
    assert np.array_equal(probable.predictions, scores.predictions)


@pytest.mark.parametrize("labels", [3, 62, 80])
def test_predictions_tell_sets_of_labels_apart(labels: int) -> None:
    logits = np.where(np.random.default_rng(0).random((200, labels)) < 0.5, 1.0, -1.0).astype(np.float32)
    predictions = MultiLabel().score({"y": logits}, None).predictions
    assert predictions.min() >= 0
    assert len(np.unique(predictions)) == len(np.unique(logits, axis=0))


def test_every_label_of_an_item_with_nan_is_wrong() -> None:
    truth = np.array([[1, 0, 1], [1, 0, 1]])
    scores = MultiLabel().score({"y": np.array([[NAN, -1, 1], [1, -1, 1]], np.float32)}, truth)
    assert scores.records["labels"][0, :, 0].tolist() == [0, 1, 0]
    assert scores.metrics["exact-match"].tolist() == [0, 1]
    assert scores.predictions[0] == -1


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.array([[0, 1], [0, 2]]), "target of item 6, label 1 is 2"),
        (np.array([0, 1]), r"shape \[2\], and the model has 2 labels"),
        (np.zeros((2, 3)), r"shape \[2, 3\], and the model has 2 labels"),
        (np.zeros((1, 2)), "1 targets for 2 items from item 5 on"),
    ],
)
def test_label_targets_are_checked(targets: Array, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check(MultiLabel(), {"y": np.array([[1, -1], [0, 0]], np.float32)}, targets, start=5)


def test_logits_and_probabilities_are_not_mistaken_for_each_other() -> None:
    probabilities, logits = np.array([[0.1, 0.9]], np.float32), np.array([[-1.0, 0.9]], np.float32)
    with pytest.raises(ModelError, match="use the task 'multi-label-probability'"):
        check(MultiLabel(), {"y": probabilities}, None)
    with pytest.raises(ModelError, match=r"from -1 to 0.9: they are no probabilities .*'multi-label'"):
        check(MultiLabelProbability(), {"y": logits}, None)
    with pytest.raises(ModelError, match="no output can be read as scores"):
        check(MultiLabel(), {"y": logits[0]}, None)


def test_labels_are_held_against_the_signature_before_anything_runs() -> None:
    task, truth = MultiLabel(), np.zeros((4000, 3), np.int64)
    known = Signature((), (TensorSpec("ids", "int64", ("n", 9)), TensorSpec("y", "float32", ("n", 3, 1))))
    task.check_labels(truth, known)
    truth[3777, 1] = 2
    with pytest.raises(DataError, match="item 3777, label 1 is 2"):
        task.check_labels(truth, known)
    with pytest.raises(DataError, match="the model has 3 labels"):
        task.check_labels(truth[:, :2], known)
    task.check_labels(truth, Signature((), (TensorSpec("y", "float32", ("n", "labels")),)))
