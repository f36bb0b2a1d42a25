"""Area under the receiver operating characteristic: how often a positive item scores above a negative one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from assay.measure.functionals.binary import LEAST_OF_A_KIND, SCORE, BinaryFunctional, read_truth, require
from assay.measure.functionals.functional import Records

NO_ORDER = 0.5
"""The area where nothing is to be ordered."""


class Auc(BinaryFunctional):
    """The area, from the record ``binary``; equal scores count a half. Infinite scores rank as they stand."""

    name = "auc"

    def check(self, records: Records) -> None:
        """Refuse too few positives or negatives.

        Raises:
            MeasurementError: naming how many there are and how many are needed.
        """
        super().check(records)
        require(self.name, "negative items", int((~read_truth(records)).sum()), LEAST_OF_A_KIND)

    def value(self, records: Records) -> float:
        """The area by scikit-learn, from ranks: the area depends on nothing else; 0.5 where there is one class only."""
        from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - an extra

        truth = read_truth(records)
        return NO_ORDER if truth.all() or not truth.any() else float(roc_auc_score(truth, rankdata(records[:, SCORE])))

    def influence(self, records: Records) -> NDArray[np.float64]:
        """DeLong's structural components less the area, over the share of the item's class, ``[n]``.

        DeLong, DeLong and Clarke-Pearson, Comparing the areas under two or more correlated receiver operating
        characteristic curves, Biometrics 44, 1988; from ranks after Sun and Xu, IEEE Signal Processing Letters 21,
        2014.
        """
        truth, scores = read_truth(records), records[:, SCORE]
        positives = int(truth.sum())
        negatives = len(truth) - positives
        ranks = rankdata(scores)
        component = np.empty(len(truth))
        component[truth] = (ranks[truth] - rankdata(scores[truth])) / negatives
        component[~truth] = 1 - (ranks[~truth] - rankdata(scores[~truth])) / positives
        share = np.where(truth, positives, negatives) / len(truth)
        influence: NDArray[np.float64] = (component - component[truth].mean()) / share
        return influence

    def worst(self, records: Records) -> float:
        """An item of the rarer class that goes from one end of the ranking to the other."""
        positives = int(read_truth(records).sum())
        return len(records) / min(positives, len(records) - positives)
