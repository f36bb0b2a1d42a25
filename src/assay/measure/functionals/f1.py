"""F1 of the positive class: the harmonic mean of precision and recall."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.measure.functionals.binary import find_right, read_predicted, read_truth, require
from assay.measure.functionals.functional import Records
from assay.measure.functionals.ratio import influence_ratio, weigh

LEAST_ITEMS = 100
LEAST_POSITIVES = 30


class F1:
    """``2 tp / (2 tp + fp + fn)``, from the record ``binary``; 0 where nothing is positive."""

    span: float = 1.0
    groups: int = 0
    libraries: tuple[str, ...] = ("sklearn",)

    def check(self, records: Records) -> None:
        """Refuse too few items or positives.

        Raises:
            MeasurementError: naming how many there are and how many are needed.
        """
        require("f1", "items", len(records), LEAST_ITEMS)
        require("f1", "positive items", int(read_truth(records).sum()), LEAST_POSITIVES)

    def value(self, records: Records) -> float:
        """F1 by scikit-learn."""
        from sklearn.metrics import f1_score  # noqa: PLC0415 - an extra

        return float(f1_score(read_truth(records), read_predicted(records), zero_division=0.0))

    def influence(self, records: Records) -> NDArray[np.float64]:
        """Of a ratio of means, ``[n]``."""
        return influence_ratio(*_count(records))

    def worst(self, records: Records) -> float:
        """A positive item found that is missed, which costs ``2 - F1``, or a false alarm, which costs ``F1``."""
        value, mean = weigh(*_count(records))
        return (2 - value) / mean

    def right(self, records: Records) -> NDArray[np.bool_]:
        """Items whose predicted class is the true one."""
        return find_right(records)


def _count(records: Records) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each item adds to ``2 tp`` and to ``2 tp + fp + fn``."""
    predicted, truth = read_predicted(records), read_truth(records)
    hits = (predicted & truth).astype(np.float64)
    return 2 * hits, predicted.astype(np.float64) + truth
