"""Spearman's rank correlation of what the model says with the truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

from assay.measure.functionals.functional import Records
from assay.measure.functionals.pairs import Correlation, read_pairs

OPPOSITE = 3.0
"""Half of what an item costs that goes from one end of the ranking to the other."""


class Spearman(Correlation):
    """The correlation of ranks, from the record ``pairs``; equal numbers share their mean rank.

    0 where a side does not vary.
    """

    name = "spearman"

    def value(self, records: Records) -> float:
        """The correlation by SciPy."""
        said, truth = read_pairs(records)
        if said.min() == said.max() or truth.min() == truth.max():
            return 0.0
        return float(spearmanr(said, truth).statistic)

    def influence(self, records: Records) -> NDArray[np.float64]:
        """Of the correlation of the two distribution functions, ``[n]``, ties included.

        With F and G the distribution functions (mid-ranks), A = E[F G] and variances V of F and W of G, the
        correlation is ``(A - 1/4) / sqrt(V W)``; an item adds to A what it has itself and what it does to the ranks
        of the others (Croux and Dehon, Influence functions of the Spearman and Kendall correlation measures, Stat.
        Methods Appl. 19, 2010).
        """
        said, truth = (_rank(part) for part in read_pairs(records))
        spread_said, spread_truth = float(np.var(said)), float(np.var(truth))
        if spread_said == 0 or spread_truth == 0:
            return np.zeros(len(records))
        joint = said * truth + _sum_beyond(said, truth) + _sum_beyond(truth, said)
        scale = np.sqrt(spread_said * spread_truth)
        correlation = (np.mean(said * truth) - 1 / 4) / scale
        own_said = said**2 + 2 * _sum_beyond(said, said)
        own_truth = truth**2 + 2 * _sum_beyond(truth, truth)
        influence: NDArray[np.float64] = joint / scale - correlation / 2 * (
            own_said / spread_said + own_truth / spread_truth
        )
        influence -= influence.mean()
        return influence

    def worst(self, records: Records) -> float:
        """An item put on the other side of the ranking, or as far off as the farthest is."""
        return max(OPPOSITE, float(np.abs(self.influence(records)).max()))


def _rank(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The distribution function at each value: mid-ranks in (0, 1), whose mean is 1/2."""
    ranks: NDArray[np.float64] = (rankdata(values) - 0.5) / len(values)
    return ranks


def _sum_beyond(ranks: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over all items of the weight where an item's rank lies above, half where it is the same, ``[n]``."""
    _, index = np.unique(ranks, return_inverse=True)
    sums = np.bincount(index, weights)
    beyond = sums.sum() - np.cumsum(sums) + sums / 2
    spread: NDArray[np.float64] = beyond[index] / len(ranks)
    return spread
