"""Average precision of one class: the precision at the score of each positive item, averaged over them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from assay.measure.functionals.binary import SCORE, BinaryFunctional, read_truth
from assay.measure.functionals.functional import Records


class BinaryAveragePrecision(BinaryFunctional):
    """The step-wise area under precision over recall, from the record ``binary``."""

    name = "average-precision"

    def value(self, records: Records) -> float:
        """Average precision by scikit-learn, from ranks: it depends on nothing else; 0 where nothing is positive."""
        from sklearn.metrics import average_precision_score  # noqa: PLC0415 - an extra

        truth = read_truth(records)
        return float(average_precision_score(truth, rankdata(records[:, SCORE]))) if truth.any() else 0.0

    def influence(self, records: Records) -> NDArray[np.float64]:
        """The delta method's linear term, ``[n]``.

        With A(s) and B(s) the shares of positive items and of all items that score at least s, the metric is the mean
        over the positive items of A/B. An item adds its own A/B where it is positive, and changes A and B at every
        positive item that scores no higher.
        """
        truth, above_true, above, index = _sort(records)
        share, n = float(truth.mean()), len(truth)
        precision = above_true / above
        positives = np.bincount(index, truth, minlength=len(above)) / (n * share)
        # The groups that score no higher come later.
        on_hits = np.cumsum((positives / above)[::-1])[::-1]
        on_all = np.cumsum((positives * above_true / above**2)[::-1])[::-1]
        own = (precision[index] - float(positives @ precision)) / share + on_hits[index]
        influence: NDArray[np.float64] = truth * own - on_all[index]
        influence -= influence.mean()
        return influence

    def worst(self, records: Records) -> float:
        """A negative item put at the head of the ranking, or a positive one from its head to its end."""
        truth, above_true, above, index = _sort(records)
        positives = np.bincount(index, truth, minlength=len(above)) / float(truth.sum())
        head = float(np.sum(positives * above_true / above**2))
        fall = 1 / float(truth.mean()) + float(np.sum(positives * (above - above_true) / above**2))
        return max(head, fall)


def _sort(
    records: Records,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """Truth ``[n]``; per distinct score, the highest first, the shares A and B; and each item's place among them."""
    truth = read_truth(records).astype(np.float64)
    _, index = np.unique(-rankdata(records[:, SCORE]), return_inverse=True)
    above_true = np.cumsum(np.bincount(index, truth)) / len(truth)
    above = np.cumsum(np.bincount(index)) / len(truth)
    return truth, above_true, above, index
