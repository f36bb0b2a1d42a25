"""F1 over all labels of all items together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.measure.functionals.binary import require
from assay.measure.functionals.functional import Records
from assay.measure.functionals.labels import count_labels, find_exact, read_labels
from assay.measure.functionals.ratio import influence_ratio, weigh

LEAST_ITEMS = 100
LEAST_POSITIVES = 30


class F1Micro:
    """``2 tp / (2 tp + fp + fn)`` with the counts of all labels added, from the record ``labels``."""

    span: float = 1.0
    groups: int = 0
    libraries: tuple[str, ...] = ("sklearn",)

    def check(self, records: Records) -> None:
        """Refuse too few items, or too few with a label.

        Raises:
            MeasurementError: naming how many there are and how many are needed.
        """
        require("f1-micro", "items", len(records), LEAST_ITEMS)
        require("f1-micro", "items with a label", int(read_labels(records)[1].any(axis=1).sum()), LEAST_POSITIVES)

    def value(self, records: Records) -> float:
        """Micro F1 by scikit-learn, over the labels in a row."""
        from sklearn.metrics import f1_score  # noqa: PLC0415 - an extra

        predicted, truth = read_labels(records)
        return float(f1_score(truth.reshape(-1), predicted.reshape(-1), zero_division=0.0))

    def influence(self, records: Records) -> NDArray[np.float64]:
        """Of a ratio of means, ``[n]``."""
        return influence_ratio(*_count(records))

    def worst(self, records: Records) -> float:
        """The item with the most labels, all of which are missed."""
        most = float(read_labels(records)[1].sum(axis=1).max())
        value, mean = weigh(*_count(records))
        return max(most, 1.0) * (2 - value) / mean

    def right(self, records: Records) -> NDArray[np.bool_]:
        """Items whose labels are all right."""
        return find_exact(records)


def _count(records: Records) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each item adds to ``2 tp`` and to ``2 tp + fp + fn`` of all labels."""
    hits, weights = count_labels(records)
    return hits.sum(axis=1), weights.sum(axis=1)
