"""Recall: the share of the positive items that are found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.measure.functionals.binary import find_right, read_predicted, read_truth, require
from assay.measure.functionals.functional import Records
from assay.measure.functionals.ratio import influence_ratio, weigh

LEAST_ITEMS = 100
LEAST_POSITIVES = 30


class Recall:
    """``tp / (tp + fn)``, from the record ``binary``."""

    span: float = 1.0
    groups: int = 0
    libraries: tuple[str, ...] = ("sklearn",)

    def check(self, records: Records) -> None:
        """Refuse too few items or positives.

        Raises:
            MeasurementError: naming how many there are and how many are needed.
        """
        require("recall", "items", len(records), LEAST_ITEMS)
        require("recall", "positive items", int(read_truth(records).sum()), LEAST_POSITIVES)

    def value(self, records: Records) -> float:
        """Recall by scikit-learn."""
        from sklearn.metrics import recall_score  # noqa: PLC0415 - an extra

        return float(recall_score(read_truth(records), read_predicted(records), zero_division=0.0))

    def influence(self, records: Records) -> NDArray[np.float64]:
        """Of a ratio of means, ``[n]``."""
        return influence_ratio(*_count(records))

    def worst(self, records: Records) -> float:
        """A positive item found that is missed."""
        return 1 / weigh(*_count(records))[1]

    def right(self, records: Records) -> NDArray[np.bool_]:
        """Items whose predicted class is the true one."""
        return find_right(records)


def _count(records: Records) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each item adds to ``tp`` and to ``tp + fn``."""
    truth = read_truth(records)
    return (read_predicted(records) & truth).astype(np.float64), truth.astype(np.float64)
