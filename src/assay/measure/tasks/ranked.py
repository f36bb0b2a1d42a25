"""Metrics of ranked lists with ties, each the mean over all orders of the tied documents.

McSherry and Najork, Computing information retrieval performance measures efficiently in the presence of tied scores
(ECIR 2008). scikit-learn has NDCG of this kind, but gives the mean over queries only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ranked:
    """Documents of ``n`` queries, the best score first, and places without a document last; all ``[n, documents]``.

    Attributes:
        relevance: relevances in this order.
        ideal: relevances, the highest first.
        begin: place at which the ties of each document begin.
        end: place after the last of them.
    """

    relevance: Floats
    ideal: Floats
    begin: Ints
    end: Ints

    def ndcg(self, cut: int | None) -> Floats:
        """Discounted gain over the best possible one ``[n]``, in [0, 1]; 0 without a relevant document.

        Jarvelin and Kekalainen (2002), with the relevance as the gain and the discount ``log2(rank + 1)``.

        Args:
            cut: places that count, None for all.
        """
        places = np.arange(self.relevance.shape[1])
        discount = np.where(places < (len(places) if cut is None else cut), 1 / np.log2(places + 2.0), 0.0)
        # Relevances are scaled, so that large grades cannot overflow.
        scale = np.maximum(self.ideal[:, :1], np.finfo(np.float64).tiny)
        best = (self.ideal / scale) @ discount
        gained = self._spread(self.relevance / scale) @ discount
        return _divide(gained, best)

    def recall(self, cut: int) -> Floats:
        """Share of the relevant documents among the first ``cut`` ``[n]``; 0 without a relevant document."""
        relevant = (self.relevance > 0).astype(np.float64)
        return _divide(self._spread(relevant)[:, :cut].sum(axis=1), relevant.sum(axis=1))

    def reciprocal_rank(self) -> Floats:
        """One over the rank of the first relevant document ``[n]``; 0 without a relevant document."""
        relevant = self.relevance > 0
        rows = np.arange(len(relevant))
        first = np.argmax(relevant, axis=1)
        begin, end = self.begin[rows, first], self.end[rows, first]
        counts = np.cumsum(np.pad(relevant, ((0, 0), (1, 0))), axis=1)
        among = counts[rows, end] - counts[rows, begin]
        found = [
            _expect_reciprocal(int(ahead), int(size), int(right)) if right else 0.0
            for ahead, size, right in zip(begin, end - begin, among, strict=True)
        ]
        return np.array(found, dtype=np.float64)

    def tied(self, present: NDArray[np.bool_]) -> Floats:
        """Share of the documents whose score another one has, too ``[n]``; 0 without a document.

        Args:
            present: ``[n, documents]``, where there is a document, in any order.
        """
        there = np.arange(present.shape[1]) < present.sum(axis=1, keepdims=True)
        return _divide((there & (self.end - self.begin > 1)).sum(axis=1), present.sum(axis=1))

    def _spread(self, values: Floats) -> Floats:
        """Values by place, each the mean of its ties."""
        totals = np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1)
        rows = np.arange(len(values))[:, None]
        mean = (totals[rows, self.end] - totals[rows, self.begin]) / (self.end - self.begin)
        return np.asarray(mean, dtype=np.float64)


def rank_documents(scores: Floats, relevance: Floats, present: NDArray[np.bool_]) -> Ranked:
    """Order the documents of each query.

    Args:
        scores: ``[n, documents]``; NaN counts as -Inf.
        relevance: ``[n, documents]``, 0 or above, finite; 0 where there is no document.
        present: ``[n, documents]``, where there is a document.
    """
    values = np.where(np.isnan(scores), -np.inf, scores)
    order = np.lexsort((-values, ~present), axis=1)
    values, there = (np.take_along_axis(array, order, axis=1) for array in (values, present))
    starts = np.ones(values.shape, dtype=np.bool_)
    starts[:, 1:] = (values[:, 1:] != values[:, :-1]) | (there[:, 1:] != there[:, :-1])
    places = np.arange(values.shape[1])
    begin = np.maximum.accumulate(np.where(starts, places, 0), axis=1)
    ends = np.where(np.roll(starts, -1, axis=1), places + 1, len(places))
    end = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    return Ranked(
        relevance=np.take_along_axis(relevance, order, axis=1),
        ideal=-np.sort(-relevance, axis=1),
        begin=begin.astype(np.int64),
        end=end.astype(np.int64),
    )


def _expect_reciprocal(ahead: int, size: int, right: int) -> float:
    """Mean of 1 / rank of the first of ``right`` relevant documents among ``size`` tied ones, ``ahead`` before them."""
    expected, chance = 0.0, 1.0
    for place in range(size - right + 1):
        # Chance that no earlier place held one, times the chance that this one does.
        hit = right / (size - place)
        expected += chance * hit / (ahead + place + 1)
        chance *= 1 - hit
    return expected


def _divide(parts: Floats | Ints, wholes: Floats | Ints) -> Floats:
    """Shares in [0, 1], 0 where there is no whole."""
    shares = np.divide(parts, wholes, out=np.zeros(parts.shape), where=wholes > 0)
    return np.clip(shares, 0, 1)
