"""Ranking: metrics per query, ties, and queries that have no order or no answer."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from assay.core.errors import DataError, ModelError, RequestError
from assay.core.session import Batch, Scores
from assay.core.tensor import Array, Signature, TensorSpec
from assay.measure.tasks.ranking import Ranking
from assay.measure.tasks.table import find_metric, load_task, name_scored

SIGNATURE = Signature((), (TensorSpec("y", "float32", None),))
NAN = math.nan


def score(scores: object, relevance: object, metric: str = "") -> Scores:
    return load_task("ranking", metric).score({"y": np.array(scores, np.float32)}, np.array(relevance))


def check(outputs: Array, targets: Array | None) -> None:
    Ranking().check(SIGNATURE, Batch({"x": outputs}, targets, 8), {"y": outputs})


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 6), st.integers(2, 25), st.integers(1, 12), st.integers(0, 10_000))
def test_ndcg_is_scikit_learns(n: int, documents: int, levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (n, documents)).astype(np.float32)
    relevance = rng.integers(0, 4, (n, documents))
    relevance[:, 0] = 1
    found = score(scores, relevance, f"ndcg@{levels}").metrics
    for name, cut in (("ndcg@10", 10), ("ndcg", None), (f"ndcg@{levels}", levels)):
        wanted = [ndcg_score(relevance[i : i + 1], scores[i : i + 1], k=cut) for i in range(n)]
        np.testing.assert_allclose(found[name], wanted, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 6), st.integers(1, 3), st.integers(0, 10_000))
def test_ties_are_means_over_all_orders(documents: int, levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, documents)
    relevant = rng.random(documents) < 0.4
    relevant[rng.integers(documents)] = True
    orders = [p for p in itertools.permutations(range(documents)) if all(np.diff(scores[list(p)]) <= 0)]
    firsts = [1 / (1 + int(np.argmax(relevant[list(p)]))) for p in orders]
    # Irrelevant documents ahead of all others push the ties over the cut at 10.
    ahead = 10 - documents // 2
    recalls = [relevant[list(p)][: 10 - ahead].sum() / relevant.sum() for p in orders]
    assert score([scores], [relevant.astype(int)]).metrics["mrr"][0] == pytest.approx(np.mean(firsts))
    wide = score([[*scores, *[99] * ahead]], [[*relevant.astype(int), *[0] * ahead]])
    assert wide.metrics["recall@10"][0] == pytest.approx(np.mean(recalls))


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 12), st.integers(0, 5), st.booleans(), st.integers(0, 10_000))
def test_places_without_a_document_change_nothing(documents: int, padding: int, nan: bool, seed: int) -> None:  # noqa: FBT001 - drawn by Hypothesis
    rng = np.random.default_rng(seed)
    scores, relevance = rng.normal(size=documents), rng.integers(0, 3, documents).astype(float)
    plain = score([scores], [relevance])
    order = rng.permutation(documents + padding)
    padded = score(
        np.concatenate([scores, rng.choice([50.0, np.inf, NAN, -50.0], padding)])[None, order],
        np.concatenate([relevance, np.full(padding, NAN if nan else -1.0)])[None, order],
    )
    for name, values in plain.metrics.items():
        np.testing.assert_allclose(padded.metrics[name], values, atol=1e-12)
    assert order[padded.predictions[0]] == plain.predictions[0]


def test_values_by_hand() -> None:
    found = score([[0.1, 0.9, 0.5]], [[0, 0, 3]])
    assert {name: float(value[0]) for name, value in found.metrics.items()} == pytest.approx(
        {"ndcg@10": 1 / math.log2(3), "ndcg": 1 / math.log2(3), "mrr": 0.5, "recall@10": 1, "tied": 0}
    )
    assert found.predictions.tolist() == [1]


@pytest.mark.parametrize("broken", [[NAN, 1, 2], [np.inf, 1, 2], [-np.inf] * 3])
def test_a_query_without_an_order_scores_nothing(broken: list[float]) -> None:
    found = score([broken, [0, 1, 2]], [[0, 0, 1]] * 2)
    assert found.predictions.tolist() == [-1, 2]
    assert found.metrics.pop("tied").tolist() == [1, 0]
    assert all(values.tolist() == [0, 1] for values in found.metrics.values())


def test_a_masked_document_ranks_last() -> None:
    assert score([[-np.inf, -1, -2]], [[1, 0, 0]]).metrics["mrr"].tolist() == [pytest.approx(1 / 3)]


def test_a_query_without_an_answer_scores_nothing() -> None:
    found = score([[3, 2, 1], [3, 2, 1]], [[0, 0, 0], [-1, -1, -1]])
    assert all(values.tolist() == [0, 0] for values in found.metrics.values())
    assert found.predictions.tolist() == [0, -1]


def test_the_only_document_is_always_first() -> None:
    found = score([[3, 2], [3, 2]], [[-1, 1], [NAN, 0.5]])
    assert found.metrics.pop("tied").tolist() == [0, 0]
    assert all(values.tolist() == [1, 1] for values in found.metrics.values())


def test_equal_scores_name_the_first_document() -> None:
    assert score([[1, 2, 2]], [[0, 1, 0]]).predictions.tolist() == [1]


def test_ties_are_counted_among_documents_alone() -> None:
    found = score([[1, 2, 2, 0, 0], [1, 1, 1, 1, 2], [5, 4, 3, 2, 1]], [[1, 0, 0, 0, -1], [1, 0, 0, 0, 0], [1] * 5])
    assert found.metrics["tied"].tolist() == [0.5, 0.8, 0]


@pytest.mark.parametrize(("name", "wanted"), [("recall@1", 0), ("recall@2", 0.5), ("recall@3", 1), ("recall@99", 1)])
def test_any_number_of_places_can_be_asked_for(name: str, wanted: float) -> None:
    task = load_task("ranking", name)
    assert find_metric(task, name).higher_is_better
    assert score([[4, 3, 2, 1]], [[0, 1, 1, 0]], name).metrics[name].tolist() == [wanted]
    assert load_task("ranking").metrics == Ranking.metrics


def test_what_is_scored_depends_on_places_that_are_not_listed_alone() -> None:
    assert name_scored("ranking", "ndcg@10") == name_scored("ranking", "mrr") == "ranking"
    assert name_scored("ranking", "ndcg@5") == "ranking ndcg@5"
    assert name_scored("classification", "top3") == "classification"


@pytest.mark.parametrize("name", ["ndcg@0", "ndcg@", "ndcg@-1", "mrr@5", "ndcg@1.5", "NDCG@5", "recall@5x"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(RequestError, match="no metric") as caught:
        find_metric(load_task("ranking", name), name)
    assert "ndcg@K" in str(caught.value.hint)


def test_grades_beyond_a_float_can_still_be_divided() -> None:
    assert score([[1, 2]], [[1e308, 1e308]]).metrics["ndcg"].tolist() == [1]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.zeros((4, 5)), "no relevant document"),
        (np.ones((4, 3)), r"\[4, 3\], the document scores \[4, 5\]"),
        (np.arange(4), r"shape \[4\]"),
        (np.array([[1, 0, 0, 0, 0]] * 3 + [[np.inf, 0, 0, 0, 0]]), "item 11 has an infinite"),
        (np.full((4, 5), "a"), "type"),
    ],
)
def test_targets_that_do_not_fit_are_refused(targets: Array, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check(np.ones((4, 5), np.float32), targets)


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 5, 2), (3, 5)])
def test_outputs_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="document scores"):
        Ranking().check(SIGNATURE, Batch({"x": np.ones((4, 1))}, None, 0), {"y": np.ones(shape, np.float32)})


def test_trailing_axes_are_dropped_and_targets_are_not_needed() -> None:
    outputs = np.array([[[1], [2]]], np.float16)
    check(outputs, None)
    found = Ranking().score({"ids": np.zeros((1, 2), np.int64), "y": outputs}, None)
    assert (found.predictions.tolist(), found.metrics) == ([1], {})


def test_the_table_knows_it() -> None:
    assert isinstance(load_task("ranking"), Ranking)
