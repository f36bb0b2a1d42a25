"""Precision: the share of true positives among the items taken for positive."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.measure.functionals.binary import find_right, read_predicted, read_truth, require
from assay.measure.functionals.functional import Records
from assay.measure.functionals.ratio import influence_ratio, weigh

LEAST_ITEMS = 100
LEAST_PREDICTED = 30


class Precision:
    """``tp / (tp + fp)``, from the record ``binary``; 0 where no item is taken for positive."""

    span: float = 1.0
    groups: int = 0
    libraries: tuple[str, ...] = ("sklearn",)

    def check(self, records: Records) -> None:
        """Refuse too few items or items taken for positive.

        Raises:
            MeasurementError: naming how many there are and how many are needed.
        """
        require("precision", "items", len(records), LEAST_ITEMS)
        require("precision", "items taken for positive", int(read_predicted(records).sum()), LEAST_PREDICTED)

    def value(self, records: Records) -> float:
        """Precision by scikit-learn."""
        from sklearn.metrics import precision_score  # noqa: PLC0415 - an extra

        return float(precision_score(read_truth(records), read_predicted(records), zero_division=0.0))

    def influence(self, records: Records) -> NDArray[np.float64]:
        """Of a ratio of means, ``[n]``."""
        return influence_ratio(*_count(records))

    def worst(self, records: Records) -> float:
        """A false alarm more costs the precision, a true one less what is missing to 1."""
        value, mean = weigh(*_count(records))
        return max(value, 1 - value) / mean

    def right(self, records: Records) -> NDArray[np.bool_]:
        """Items whose predicted class is the true one."""
        return find_right(records)


def _count(records: Records) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each item adds to ``tp`` and to ``tp + fp``."""
    predicted = read_predicted(records)
    return (predicted & read_truth(records)).astype(np.float64), predicted.astype(np.float64)
