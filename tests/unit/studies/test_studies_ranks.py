"""What is told of a ranking: new ties, and queries without an answer."""

import numpy as np

from assay.core.session import Scores
from assay.measure.tasks.ranking import Ranking
from assay.studies.ranks import describe_ranks

RELEVANCE = np.eye(8, 10, dtype=np.int8)


def score(decimals: int, relevance: np.ndarray = RELEVANCE, items: int = 8) -> Scores:
    scores = np.random.default_rng(0).standard_normal((8, 10)).round(decimals).astype(np.float32)
    return Ranking().score({"y": scores[:items]}, relevance[:items])


def test_ties_that_a_variant_brings_are_told_with_both_shares() -> None:
    fine, coarse = score(6), score(0)
    before, after = (float(one.metrics["tied"].mean()) for one in (fine, coarse))
    assert before == 0
    told = describe_ranks(fine, {"reference": fine, "variant": coarse})
    assert len(told) == 1
    assert told[0].startswith(f"variant: {after:.1%} of the documents")
    assert "0.0% under FP32" in told[0]


def test_ties_are_compared_on_the_same_queries() -> None:
    coarse = score(0)
    assert describe_ranks(coarse, {"part": score(0, items=2)}) == []


def test_queries_without_an_answer_are_counted() -> None:
    relevance = RELEVANCE.copy()
    relevance[3:5] = 0
    told = describe_ranks(score(6, relevance), {})
    assert len(told) == 1
    assert told[0].startswith("2 of 8 queries have no relevant document")


def test_other_tasks_are_not_spoken_of() -> None:
    other = Scores({"top1": np.ones(3)}, np.zeros(3, np.int64))
    assert describe_ranks(other, {"variant": other}) == []
    assert describe_ranks(None, {}) == []
