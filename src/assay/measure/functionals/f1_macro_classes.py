"""F1 of each class of a classifier, averaged over the classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import MeasurementError
from assay.measure.functionals.binary import require
from assay.measure.functionals.functional import Records

LEAST_ITEMS = 100
LEAST_POSITIVES = 30


class F1MacroClasses:
    """The mean of ``2 tp / (2 tp + fp + fn)`` over the classes that occur, from the record ``classes``.

    The record is ``[n, 2]``: predicted and true class of each item; -1 predicts none.
    """

    span: float = 1.0
    groups: int = 0
    libraries: tuple[str, ...] = ("sklearn",)

    def check(self, records: Records) -> None:
        """Refuse too few items, or too few of one class.

        Raises:
            MeasurementError: naming the class, how many there are and how many are needed.
        """
        require("f1-macro", "items", len(records), LEAST_ITEMS)
        classes, found = np.unique(records[:, 1], return_counts=True)
        rarest = int(found.argmin())
        if found[rarest] < LEAST_POSITIVES:
            raise MeasurementError(
                f"f1-macro: {int(found[rarest])} items are of class {int(classes[rarest])}: at least "
                f"{LEAST_POSITIVES} of each class are needed for an interval that can be relied on",
                "give more evaluation data, or use top1, which weighs classes by how frequent they are",
            )

    def value(self, records: Records) -> float:
        """Macro F1 by scikit-learn."""
        from sklearn.metrics import f1_score  # noqa: PLC0415 - an extra

        predicted, truth = records[:, 0].astype(np.int64), records[:, 1].astype(np.int64)
        return float(f1_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0.0))

    def influence(self, records: Records) -> NDArray[np.float64]:
        """The mean of the classes' influences, each of a ratio of means, ``[n]``."""
        truth, said, values, means = _weigh(records)
        cost = values / means
        gain = np.where(said == truth, 2 / means[truth], 0.0)
        alarm = np.where(said >= 0, cost[said], 0.0)
        influence: NDArray[np.float64] = (gain - cost[truth] - alarm) / len(values)
        return influence

    def worst(self, records: Records) -> float:
        """An item of the class that weighs most is missed, and a false alarm of the one where that costs most."""
        _, _, values, means = _weigh(records)
        return float((((2 - values) / means).max() + (values / means).max()) / len(values))

    def right(self, records: Records) -> NDArray[np.bool_]:
        """Items whose predicted class is the true one."""
        right: NDArray[np.bool_] = records[:, 0] == records[:, 1]
        return right


def _weigh(
    records: Records,
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Place of each item's true and predicted class among those that occur (-1: not), F1 and weight of each class."""
    classes, truth = np.unique(records[:, 1], return_inverse=True)
    place = np.searchsorted(classes, records[:, 0]).clip(max=len(classes) - 1)
    said = np.where(classes[place] == records[:, 0], place, -1)
    hits = np.bincount(truth[said == truth], minlength=len(classes)).astype(np.float64)
    totals = np.bincount(truth, minlength=len(classes)) + np.bincount(said[said >= 0], minlength=len(classes))
    return truth, said, 2 * hits / totals, totals / len(truth)
