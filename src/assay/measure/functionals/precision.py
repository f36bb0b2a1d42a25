"""Precision: the share of true positives among the items taken for positive."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.measure.functionals.binary import LEAST_ITEMS, LEAST_OF_A_KIND, read_predicted, read_truth, require
from assay.measure.functionals.binary_ratio import BinaryRatio
from assay.measure.functionals.functional import Records


class Precision(BinaryRatio):
    """``tp / (tp + fp)``, from the record ``binary``; 0 where no item is taken for positive."""

    name = "precision"

    def check(self, records: Records) -> None:
        """Refuse too few items or items taken for positive.

        Raises:
            MeasurementError: naming how many there are and how many are needed.
        """
        require(self.name, "items", len(records), LEAST_ITEMS)
        require(self.name, "items taken for positive", int(read_predicted(records).sum()), LEAST_OF_A_KIND)

    def value(self, records: Records) -> float:
        """Precision by scikit-learn."""
        from sklearn.metrics import precision_score  # noqa: PLC0415 - an extra

        return float(precision_score(read_truth(records), read_predicted(records), zero_division=0.0))

    def worst(self, records: Records) -> float:
        """A false alarm more costs the precision, a true one less what is missing to 1."""
        value, mean = self.weigh(records)
        return max(value, 1 - value) / mean

    def count(self, records: Records) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What each item adds to ``tp`` and to ``tp + fp``."""
        predicted = read_predicted(records)
        return (predicted & read_truth(records)).astype(np.float64), predicted.astype(np.float64)
