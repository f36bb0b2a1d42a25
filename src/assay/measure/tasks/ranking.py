"""Ranking: a query's candidate documents, ordered by the scores that the model gives them."""

from __future__ import annotations

import re
from typing import Self

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import DataError, ModelError
from assay.core.session import Batch, Metric, Scores
from assay.core.tensor import Array, Outputs, Signature
from assay.measure.tasks.agreement import AGREEMENT
from assay.measure.tasks.ranked import Ranked, rank_documents

NDCG10 = Metric("ndcg@10", higher_is_better=True, labelled=True)
NDCG = Metric("ndcg", higher_is_better=True, labelled=True)
MRR = Metric("mrr", higher_is_better=True, labelled=True)
RECALL10 = Metric("recall@10", higher_is_better=True, labelled=True)
TIED = Metric("tied", higher_is_better=False, labelled=True)
CUT_METRIC = re.compile(r"(?P<kind>ndcg|recall)@(?P<cut>[1-9][0-9]{0,8})")
"""Metrics of the first places, any number of them."""
LEAST_DOCUMENTS = 2
NO_PREDICTION = -1


class Ranking:
    """Quality of the order of a query's documents, one item a query.

    The model gives document scores ``[n, documents]`` (trailing axes of size 1 are dropped): the first floating-point
    output of this form is taken. Targets are graded relevances ``[n, documents]``, 0 for irrelevant; NaN or a negative
    number says that there is no document in this place.

    NDCG takes the relevance itself as the gain, as scikit-learn's ``ndcg_score`` does; for MRR and recall a document
    is relevant where its relevance is above 0. Documents of equal score count by their mean over all orders of them;
    ``tied`` is the share of a query's documents that another one equals. A cut beyond the last document takes all.
    A query without a relevant document scores 0 under every model. One whose scores contain NaN or +Inf, or nothing
    above -Inf, has no order, and scores 0, and 1 in ``tied``: -Inf alone masks a document.
    """

    name: str = "ranking"
    metrics: tuple[Metric, ...] = (NDCG10, NDCG, MRR, RECALL10, TIED, AGREEMENT)
    pattern: str = "ndcg@K, recall@K"

    def make_metric(self, name: str) -> Metric | None:
        """``ndcg@5``, ``recall@20``, or with any other number of places; scored by what ``including`` gives."""
        known = CUT_METRIC.fullmatch(name) is not None
        return Metric(name, higher_is_better=True, labelled=True) if known else None

    def including(self, name: str) -> Self:
        """The task that scores a metric of its pattern as well, besides those that it lists anyway."""
        made = None if name in {metric.name for metric in self.metrics} else self.make_metric(name)
        if made is None:
            return self
        task = type(self)()
        task.metrics = (*self.metrics, made)
        return task

    def check(self, signature: Signature, sample: Batch, outputs: Outputs) -> None:
        """Refuse a model or data that do not fit, before anything is measured.

        A sample without targets passes: ``agreement`` needs none.

        Raises:
            ModelError: no output is suitable; all outputs are named with their shapes.
            DataError: targets do not fit the scores, a relevance is infinite, or none of the queries has a relevant
                document.
        """
        name, scores = _select(outputs, sample.size)
        if name not in {spec.name for spec in signature.outputs}:
            raise ModelError(f"output {name!r} is not in the model's signature")
        if sample.targets is None:
            return
        relevance = _check_targets(sample.targets, scores.shape, sample.start)
        if not (relevance > 0).any():
            last = sample.start + sample.size - 1
            raise DataError(
                f"queries {sample.start}..{last} have no relevant document among them",
                "leave such queries out: they score 0 under every model; relevances count from 0, above 0 is relevant",
            )

    def score(self, outputs: Outputs, targets: Array | None) -> Scores:
        """Item scores of one batch; without targets only predictions, the document at the top of each query.

        Raises:
            ModelError: no output is suitable.
            DataError: the targets do not fit; items count from the start of the batch.
        """
        _, scores = _select(outputs, None if targets is None else len(targets))
        if targets is None:
            return Scores(metrics={}, predictions=_find_top(scores, np.ones(scores.shape, dtype=np.bool_)))
        relevance = _check_targets(targets, scores.shape, start=0)
        present = relevance >= 0
        predictions = _find_top(scores, present)
        ranked = rank_documents(scores, np.where(present, relevance, 0), present)
        values = {NDCG.name: ranked.ndcg(None), MRR.name: ranked.reciprocal_rank()}
        values |= {m.name: _cut(ranked, m.name) for m in self.metrics if CUT_METRIC.fullmatch(m.name)}
        ordered = predictions >= 0
        metrics = {name: np.where(ordered, value, 0.0) for name, value in values.items()}
        metrics[TIED.name] = np.where(ordered | ~present.any(axis=1), ranked.tied(present), 1.0)
        return Scores(metrics, predictions)


def is_relevance(metric: Metric) -> bool:
    """Whether the metric is one of relevances, so that the targets are grades of documents."""
    return metric in {NDCG, MRR, TIED} or CUT_METRIC.fullmatch(metric.name) is not None


def _cut(ranked: Ranked, name: str) -> NDArray[np.float64]:
    """Values of a metric of the first places, ``[n]``."""
    match = CUT_METRIC.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is no metric of the first places")
    cut = int(match["cut"])
    return ranked.ndcg(cut) if match["kind"] == "ndcg" else ranked.recall(cut)


def _select(outputs: Outputs, items: int | None) -> tuple[str, NDArray[np.float64]]:
    """The output with the document scores, ``[n, documents]``."""
    for name, value in outputs.items():
        # bfloat16 comes as an extension type of NumPy, whose kind is not "f".
        floating = value.dtype.kind == "f" or value.dtype.name == "bfloat16"
        wide = value.ndim > 1 and value.shape[1] >= LEAST_DOCUMENTS and all(axis == 1 for axis in value.shape[2:])
        if floating and wide and items in (None, len(value)):
            return name, value.reshape(value.shape[:2]).astype(np.float64)
    found = ", ".join(f"{name!r} {value.dtype.name}{list(value.shape)}" for name, value in outputs.items())
    raise ModelError(
        f"no output can be read as document scores [n, documents], documents >= 2; the outputs are {found or 'none'}",
        "ranking needs one floating-point output with a row per query and a column per candidate document",
    )


def _check_targets(targets: Array, shape: tuple[int, ...], start: int) -> NDArray[np.float64]:
    """Relevances ``[n, documents]``, negative where there is no document."""
    if targets.dtype.kind not in "iubf":
        raise DataError(f"targets have the type {targets.dtype.name}", "give relevances as numbers [n, documents]")
    if targets.shape != shape:
        raise DataError(
            f"targets from item {start} on have the shape {list(targets.shape)}, the document scores {list(shape)}",
            "give one relevance per candidate document, and a negative one where there is no document",
        )
    relevance = targets.astype(np.float64)
    infinite = np.flatnonzero(np.isinf(relevance).any(axis=1))
    if infinite.size:
        raise DataError(f"item {start + int(infinite[0])} has an infinite relevance", "give finite grades, 0 and above")
    return np.nan_to_num(relevance, nan=-1.0)


def _find_top(scores: NDArray[np.float64], present: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The first document of the highest score, -1 where the query has no order."""
    masked = np.where(present, scores, -np.inf)
    ordered = np.isfinite(masked.max(axis=1))  # NaN where any score is
    top = np.argmax(np.where(np.isnan(masked), -np.inf, masked), axis=1)
    return np.where(ordered, top, NO_PREDICTION).astype(np.int64)
