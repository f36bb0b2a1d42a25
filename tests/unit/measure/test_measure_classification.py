import ml_dtypes
import numpy as np
import pytest

from assay.core.errors import DataError, ModelError, RequestError
from assay.core.session import Batch, Metric, Scores
from assay.core.tensor import Array, Outputs, Signature, TensorSpec
from assay.measure.tasks.classification import BinaryProbability, Classification
from assay.measure.tasks.table import find_metric

NAN, INF = float("nan"), float("inf")


def check(outputs: Outputs, targets: Array | None, task: Classification | None = None, start: int = 0) -> None:
    specs = tuple(TensorSpec(name, value.dtype.name, value.shape) for name, value in outputs.items())
    size = len(next(iter(outputs.values())))
    batch = Batch({"x": np.zeros((size, 2), np.float32)}, targets, start)
    (task or Classification()).check(Signature((), specs), batch, outputs)


def top(cut: int) -> Metric:
    return find_metric(Classification(), f"top{cut}")


def read(scored: Scores, cut: int) -> list[float]:
    values = scored.of(top(cut))
    assert values is not None
    return values.tolist()


def scores_of(rows: list[list[float]]) -> Outputs:
    return {"y": np.array(rows, np.float32)}


@pytest.mark.parametrize("shape", [("n", 5), ("n", 5, 1, 1)])
def test_labels_are_held_against_the_signature_before_anything_runs(shape: tuple[str | int, ...]) -> None:
    signature = Signature((), (TensorSpec("sure", "float32", ("n", 1)), TensorSpec("y", "float32", shape)))
    task, labels = Classification(), np.arange(4000) % 5
    task.check_labels(labels, signature)
    with pytest.raises(DataError, match=r"item 3777 is 5, and the model has 5 classes"):
        task.check_labels(np.where(np.arange(4000) == 3777, 5, labels), signature)


@pytest.mark.parametrize(
    "spec",
    [
        TensorSpec("y", "float32", ("n", "classes")),
        TensorSpec("y", "float32", ("n", 1)),
        TensorSpec("y", "int64", ("n", 2)),
        TensorSpec("y", "float32", None),
        TensorSpec("y", "float32", ("n", 2, 7, 7)),
    ],
)
def test_what_the_signature_leaves_open_is_not_held_against_it(spec: TensorSpec) -> None:
    Classification().check_labels(np.array([99]), Signature((), (spec,)))


def test_right_and_wrong_are_told_apart() -> None:
    scored = Classification().score(scores_of([[1, 2, 0], [3, 1, 1], [0, 0, 9]]), np.array([1, 2, 2]))
    assert scored.predictions.tolist() == [1, 0, 2]
    assert scored.metrics["top1"].tolist() == [1, 0, 1]
    assert scored.metrics["top1"].dtype == np.float64
    assert scored.of(top(5)) is None
    assert scored.of(top(3)) is None
    assert read(scored, 2) == [1, 0, 1]


def test_ties_rank_by_class_index() -> None:
    equal = np.ones((7, 7), np.float32)
    scored = Classification().score({"y": equal}, np.arange(7))
    assert scored.predictions.tolist() == [0] * 7
    assert scored.metrics["top1"].tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert read(scored, 5) == [1, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 8])
def test_top_k_agrees_with_a_stable_sort(cut: int) -> None:
    rng = np.random.default_rng(5)
    values = rng.integers(0, 4, (200, 9)).astype(np.float32)
    truth = rng.integers(0, 9, 200)
    best = np.argsort(-values, axis=1, kind="stable")[:, :cut]
    scored = Classification().score({"y": values}, truth)
    assert read(scored, cut) == (best == truth[:, None]).any(axis=1).astype(float).tolist()


@pytest.mark.parametrize("cut", [2, 3, 5])
def test_top_k_agrees_with_scikit_learn(cut: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the reference")
    rng = np.random.default_rng(11)
    values = rng.normal(0, 1, (300, 7)).astype(np.float32)
    truth = rng.integers(0, 7, 300)
    expected = metrics.top_k_accuracy_score(truth, values, k=cut, labels=np.arange(7))
    assert np.mean(read(Classification().score({"y": values}, truth), cut)) == pytest.approx(expected, abs=1e-12)


def test_top_k_survives_selecting_and_joining_items() -> None:
    rng = np.random.default_rng(12)
    values, truth = rng.normal(0, 1, (20, 6)).astype(np.float32), rng.integers(0, 6, 20)
    whole = Classification().score({"y": values}, truth)
    parts = [Classification().score({"y": values[rows]}, truth[rows]) for rows in (slice(0, 7), slice(7, 20))]
    assert read(Scores.join(parts), 3) == read(whole, 3)
    assert read(whole.select(np.array([4, 2])), 3) == [read(whole, 3)[4], read(whole, 3)[2]]


@pytest.mark.parametrize("name", ["top0", "top-3", "top", "topK", "top3.5", "top٣"])
def test_what_is_no_number_is_no_top_k(name: str) -> None:
    with pytest.raises(RequestError, match=r"no metric .*topK"):
        find_metric(Classification(), name)


def test_one_score_has_no_top_k() -> None:
    assert Classification().score({"y": np.ones((4, 1), np.float32)}, np.zeros(4, np.int64)).of(top(5)) is None
    with pytest.raises(RequestError, match=r"no metric 'top3'"):
        find_metric(BinaryProbability(), "top3")


@pytest.mark.parametrize("row", [[NAN, 1, 2], [0, INF, 2], [-INF, -INF, -INF], [NAN, NAN, NAN]])
def test_an_item_without_a_sensible_score_is_wrong(row: list[float]) -> None:
    for target in range(3):
        scored = Classification().score(scores_of([row, [0, 0, 1]]), np.array([target, 2]))
        assert scored.predictions.tolist() == [-1, 2]
        assert scored.metrics["top1"].tolist() == [0, 1]


def test_an_item_without_a_sensible_score_is_not_in_the_top_five() -> None:
    scored = Classification().score(scores_of([[NAN, 5, 4, 3, 2, 1]]), np.array([1]))
    assert read(scored, 5) == [0]


def test_a_masked_class_does_not_spoil_the_item() -> None:
    assert Classification().score(scores_of([[-INF, 1, 0]]), np.array([1])).metrics["top1"].tolist() == [1]


@pytest.mark.parametrize("shape", [(3, 4, 1, 1), (3, 4, 1), (3, 4)])
def test_trailing_axes_of_one_are_dropped(shape: tuple[int, ...]) -> None:
    values = np.eye(3, 4, dtype=np.float32).reshape(shape)
    assert Classification().score({"y": values}, None).predictions.tolist() == [0, 1, 2]


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_every_float_type_is_read(dtype: type) -> None:
    values = np.eye(3, 4).astype(dtype)
    assert Classification().score({"y": values}, np.array([0, 1, 3])).metrics["top1"].tolist() == [1, 1, 0]


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_one_logit_says_class_one_above_zero(shape: tuple[int, ...]) -> None:
    values = np.array([-0.1, 0.0, 0.1, NAN], np.float32).reshape(shape)
    scored = Classification().score({"y": values}, np.array([0, 0, 1, 1]))
    assert scored.predictions.tolist() == [0, 0, 1, -1]
    assert scored.metrics["top1"].tolist() == [1, 1, 1, 0]


def test_one_probability_says_class_one_above_a_half() -> None:
    scored = BinaryProbability().score({"y": np.array([[0.2], [0.5], [0.7]], np.float32)}, np.array([[0], [0], [1]]))
    assert scored.predictions.tolist() == [0, 0, 1]
    assert scored.metrics["top1"].tolist() == [1, 1, 1]


def test_class_scores_are_preferred_to_other_outputs() -> None:
    outputs = {
        "labels": np.zeros(2, np.int64),
        "loss": np.zeros(2, np.float32),
        "features": np.zeros((2, 3, 4), np.float32),
        "logits": np.eye(2, 3, dtype=np.float32),
        "aux": np.ones((2, 5), np.float32),
    }
    check(outputs, np.array([0, 2]))
    assert Classification().score(outputs, None).predictions.tolist() == [0, 1]


def test_a_model_without_class_scores_is_refused_by_name_and_shape() -> None:
    with pytest.raises(ModelError, match=r"'map' float32\[2, 3, 8, 8\], 'ids' int64\[2, 3\]"):
        check({"map": np.zeros((2, 3, 8, 8), np.float32), "ids": np.zeros((2, 3), np.int64)}, np.array([0, 1]))


def test_outputs_with_the_wrong_number_of_rows_are_refused() -> None:
    with pytest.raises(ModelError, match="n = 3"):
        Classification().score({"y": np.zeros((2, 4), np.float32)}, np.array([0, 1, 2]))


def test_probabilities_given_as_a_logit_are_refused() -> None:
    values = np.linspace(0, 1, 8, dtype=np.float32)
    with pytest.raises(ModelError, match="binary-probability"):
        check({"y": values}, np.zeros(8, np.int64))
    check({"y": values}, np.zeros(8, np.int64), BinaryProbability())
    with pytest.raises(ModelError, match=r"-2 to 3"):
        check({"y": np.array([-2, 3], np.float32)}, None, BinaryProbability())


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.array([0, 3, 1]), r"item 11 is 3, and the model has 3 classes"),
        (np.array([0, 1, -1]), r"item 12 is -1"),
        (np.array([0, 1, 2**64 - 1], np.uint64), r"item 12 is 18446744073709551615"),
        (np.array([0.0, 1.0, 2.0]), r"items 10..12 have the type float64\[3\], not integers"),
        (np.eye(3, dtype=np.float32), r"float32\[3, 3\] \(they look one-hot"),
        (np.eye(3, dtype=np.int64), r"shape \[3, 3\].*argmax"),
        (np.array([0, 1]), r"2 targets for 3 items from item 10 on"),
        (np.array(["a", "b", "c"]), r"not integers"),
    ],
)
def test_bad_targets_are_refused_by_item_and_value(targets: Array, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check(scores_of([[1, 0, 0], [0, 1, 0], [0, 0, 1]]), targets, start=10)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.bool_])
def test_every_integer_type_of_target_is_read(dtype: type) -> None:
    scored = Classification().score(scores_of([[1, 0], [0, 1]]), np.array([[0], [1]]).astype(dtype))
    assert scored.metrics["top1"].tolist() == [1, 1]


def test_data_without_targets_gives_predictions_only() -> None:
    outputs = scores_of([[1, 0], [0, 1]])
    check(outputs, None)
    scored = Classification().score(outputs, None)
    assert not scored.metrics
    assert scored.predictions.tolist() == [0, 1]
