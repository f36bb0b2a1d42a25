"""F1 of each label, averaged over the labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import MeasurementError
from assay.measure.functionals.binary import require
from assay.measure.functionals.functional import Records
from assay.measure.functionals.labels import count_labels, find_exact, read_labels

LEAST_ITEMS = 100
LEAST_POSITIVES = 30


class F1Macro:
    """The mean over labels of ``2 tp / (2 tp + fp + fn)``, from the record ``labels``; 0 for one that is nowhere."""

    span: float = 1.0
    groups: int = 0
    libraries: tuple[str, ...] = ("sklearn",)

    def check(self, records: Records) -> None:
        """Refuse too few items, or too few of one label.

        Raises:
            MeasurementError: naming the label, how many there are and how many are needed.
        """
        require("f1-macro", "items", len(records), LEAST_ITEMS)
        positives = read_labels(records)[1].sum(axis=0)
        label = int(positives.argmin())
        if positives[label] < LEAST_POSITIVES:
            raise MeasurementError(
                f"f1-macro: {int(positives[label])} items have label {label}: at least {LEAST_POSITIVES} of each "
                "label are needed for an interval that can be relied on",
                "give more evaluation data, or use f1-micro, which weighs labels by how frequent they are",
            )

    def value(self, records: Records) -> float:
        """Macro F1 by scikit-learn."""
        from sklearn.metrics import f1_score  # noqa: PLC0415 - an extra

        predicted, truth = read_labels(records)
        if predicted.shape[1] == 1:  # scikit-learn would take one label for two classes
            return float(f1_score(truth[:, 0], predicted[:, 0], zero_division=0.0))
        return float(f1_score(truth, predicted, average="macro", zero_division=0.0))

    def influence(self, records: Records) -> NDArray[np.float64]:
        """The mean of the labels' influences, each of a ratio of means, ``[n]``."""
        hits, weights = count_labels(records)
        values, means = _weigh(hits, weights)
        influence: NDArray[np.float64] = ((hits - values * weights) / means).mean(axis=1)
        return influence

    def worst(self, records: Records) -> float:
        """The item with the most to lose, all of whose labels are missed."""
        _, truth = read_labels(records)
        values, means = _weigh(*count_labels(records))
        harms: NDArray[np.float64] = truth @ ((2 - values) / means)
        return float(harms.max() / truth.shape[1])

    def right(self, records: Records) -> NDArray[np.bool_]:
        """Items whose labels are all right."""
        return find_exact(records)


def _weigh(hits: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """F1 and mean denominator of each label; of a label that is nowhere 0, over ``1/n``."""
    totals = weights.sum(axis=0)
    values = np.divide(hits.sum(axis=0), totals, out=np.zeros(len(totals)), where=totals > 0)
    return values, np.maximum(totals, 1.0) / len(weights)
