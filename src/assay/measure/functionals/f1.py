"""F1 of the positive class: the harmonic mean of precision and recall."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.measure.functionals.binary import read_predicted, read_truth
from assay.measure.functionals.binary_ratio import BinaryRatio
from assay.measure.functionals.functional import Records


class F1(BinaryRatio):
    """``2 tp / (2 tp + fp + fn)``, from the record ``binary``; 0 where nothing is positive."""

    name = "f1"

    def value(self, records: Records) -> float:
        """F1 by scikit-learn."""
        from sklearn.metrics import f1_score  # noqa: PLC0415 - an extra

        return float(f1_score(read_truth(records), read_predicted(records), zero_division=0.0))

    def worst(self, records: Records) -> float:
        """A positive item found that is missed, which costs ``2 - F1``, or a false alarm, which costs ``F1``."""
        value, mean = self.weigh(records)
        return (2 - value) / mean

    def count(self, records: Records) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What each item adds to ``2 tp`` and to ``2 tp + fp + fn``."""
        predicted, truth = read_predicted(records), read_truth(records)
        hits = (predicted & truth).astype(np.float64)
        return 2 * hits, predicted.astype(np.float64) + truth
