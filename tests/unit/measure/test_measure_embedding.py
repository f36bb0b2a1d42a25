"""Vectors of texts: held against the reference's, against ratings, and by what they retrieve."""

import numpy as np
import pytest

from assay.core.errors import DataError, ModelError
from assay.core.session import Batch, Metric, Scores
from assay.core.task_settings import TaskSettings
from assay.core.tensor import Signature, TensorSpec
from assay.measure.statistics.losses import item_losses
from assay.measure.statistics.paired import compare
from assay.measure.tasks.agreement import COSINE, compare_vectors
from assay.measure.tasks.embedding import Embedding
from assay.measure.tasks.fed import add_needed
from assay.measure.tasks.table import load_task

RNG = np.random.default_rng(0)
SIGNATURE = Signature(
    (TensorSpec("input_ids", "int64", ("n", "t")), TensorSpec("attention_mask", "int64", ("n", "t"))), ()
)


def score(vectors: np.ndarray[tuple[int, ...], np.dtype[np.float32]], targets: object = None) -> Scores:
    return Embedding().score({"mean": vectors}, None if targets is None else np.asarray(targets))


def test_cosine_is_of_each_items_own_vector_under_the_reference() -> None:
    before = RNG.normal(size=(50, 8)).astype(np.float32)
    after = before.copy()
    after[3] *= 7  # a length is no direction
    after[4] = -before[4]
    after[5] = np.roll(before[5], 1)
    losses = item_losses(COSINE, score(before), score(after))
    cosine = float(before[5] @ after[5] / (np.linalg.norm(before[5]) * np.linalg.norm(after[5])))
    wanted = np.zeros(50)
    wanted[4], wanted[5] = 1, 1 - max(0.0, cosine)
    np.testing.assert_allclose(losses, wanted, atol=1e-6)
    quality = compare(COSINE, score(before), score(after), 0.95)
    assert quality.reference == 1
    assert quality.value == pytest.approx(1 - wanted.mean(), abs=1e-6)
    assert quality.low < quality.difference < 0


def test_vectors_without_a_direction_agree_with_nothing() -> None:
    before = np.ones((4, 3), np.float32)
    after = np.array([[0, 0, 0], [np.nan, 1, 1], [np.inf, 1, 1], [1, 1, 1]], np.float32)
    np.testing.assert_allclose(item_losses(COSINE, score(before), score(after)), [1, 1, 1, 0], atol=1e-7)
    np.testing.assert_allclose(compare_vectors(before.astype(float), after.astype(float)), [0, 0, 0, 1])


def test_pairs_are_kept_with_their_ratings() -> None:
    vectors = np.array([[1, 0], [1, 0], [1, 0], [0, 2], [1, 1], [1, 0]], np.float32)
    found = score(vectors, [5.0, 1.0, 3.5])
    np.testing.assert_allclose(found.records["pairs"], [[1, 5], [0, 1], [np.sqrt(0.5), 3.5]])
    assert len(found) == 3
    assert found.records["embedding"].shape == (3, 4)


def test_candidates_rank_by_their_cosine_with_the_query() -> None:
    #            query   candidates: opposite, near, exact
    vectors = np.array([[1, 0], [-1, 0], [1, 1], [2, 0], [0, 1], [0, 3], [1, 1], [1, 0]], np.float32)
    found = score(vectors, [[0, 0, 1], [0, 1, 0]])
    np.testing.assert_allclose(found.metrics["recall@1"], [1, 0])
    np.testing.assert_allclose(found.metrics["mrr"], [1, 0.5])
    assert found.predictions.tolist() == [2, 0]


def test_token_states_are_pooled_over_the_mask() -> None:
    task = Embedding().fit(TaskSettings(), SIGNATURE)
    states = np.array([[[1, 0], [3, 4], [100, 100]], [[2, 2], [50, 50], [9, 9]]], np.float32)
    mask = np.array([[1, 1, 0], [1, 0, 0]])
    outputs = add_needed(task, {"states": states}, {"input_ids": mask, "attention_mask": mask})
    assert task.reading == "pooled over attention_mask"
    np.testing.assert_allclose(task.score(outputs, None).records["embedding"], [[2, 2], [2, 2]])
    with pytest.raises(ModelError, match="no output can be read as a vector per text"):
        Embedding().score({"states": states}, None)


def test_labels_that_do_not_fit_the_texts_are_refused() -> None:
    vectors = RNG.normal(size=(8, 4)).astype(np.float32)
    with pytest.raises(DataError, match="do not divide among 3 labels"):
        score(vectors, [1, 2, 3])
    with pytest.raises(DataError, match=r"labels of the shape \[2, 2\] for items of 4 texts"):
        score(vectors, [[0, 1], [1, 0]])
    batch = Batch({"input_ids": np.zeros((8, 3), np.int64)}, None, 0, rows=2)
    with pytest.raises(DataError, match="an item has 2 texts and no label"):
        Embedding().check(SIGNATURE, batch, {"mean": vectors})
    with pytest.raises(ModelError, match="8 vectors for 4 texts"):
        Embedding().check(SIGNATURE, Batch({"input_ids": np.zeros((4, 3), np.int64)}, None, 0), {"mean": vectors})


def test_the_task_has_a_name() -> None:
    task = load_task("embedding")
    assert [metric.name for metric in task.metrics][:3] == ["cosine", "spearman", "recall@1"]
    assert isinstance(task.metrics[0], Metric)
