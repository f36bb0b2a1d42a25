"""Recall: the share of the positive items that are found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.measure.functionals.binary import read_predicted, read_truth
from assay.measure.functionals.binary_ratio import BinaryRatio
from assay.measure.functionals.functional import Records


class Recall(BinaryRatio):
    """``tp / (tp + fn)``, from the record ``binary``."""

    name = "recall"

    def value(self, records: Records) -> float:
        """Recall by scikit-learn."""
        from sklearn.metrics import recall_score  # noqa: PLC0415 - an extra

        return float(recall_score(read_truth(records), read_predicted(records), zero_division=0.0))

    def worst(self, records: Records) -> float:
        """A positive item found that is missed."""
        return 1 / self.weigh(records)[1]

    def count(self, records: Records) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What each item adds to ``tp`` and to ``tp + fn``."""
        truth = read_truth(records)
        return (read_predicted(records) & truth).astype(np.float64), truth.astype(np.float64)
