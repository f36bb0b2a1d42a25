"""The record ``binary``: ``[n, 3]`` score, predicted and true class of each item; 1 is the positive class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import MeasurementError
from assay.measure.functionals.functional import Records

SCORE, PREDICTED, TRUTH = 0, 1, 2
LEAST_ITEMS, LEAST_OF_A_KIND = 100, 30


def read_predicted(records: Records) -> NDArray[np.bool_]:
    """Items taken for positive, ``[n]``."""
    predicted: NDArray[np.bool_] = records[:, PREDICTED] == 1
    return predicted


def read_truth(records: Records) -> NDArray[np.bool_]:
    """Positive items, ``[n]``."""
    truth: NDArray[np.bool_] = records[:, TRUTH] == 1
    return truth


def require(name: str, what: str, found: int, least: int) -> None:
    """Refuse too few items of a kind.

    Raises:
        MeasurementError: naming both numbers.
    """
    if found < least:
        raise MeasurementError(
            f"{name} over {found} {what} has no interval that can be relied on: at least {least} are needed",
            f"give evaluation data with {least} {what} or more, or use a metric that is a mean of items, such as top1",
        )


class BinaryFunctional:
    """What the metrics of the positive class have in common.

    Attributes:
        name: of the metric.
    """

    name: str
    span: float = 1.0
    groups: int = 0
    libraries: tuple[str, ...] = ("sklearn",)

    def check(self, records: Records) -> None:
        """Refuse too few items or positives.

        Raises:
            MeasurementError: naming how many there are and how many are needed.
        """
        require(self.name, "items", len(records), LEAST_ITEMS)
        require(self.name, "positive items", int(read_truth(records).sum()), LEAST_OF_A_KIND)

    def right(self, records: Records) -> NDArray[np.bool_]:
        """Items whose predicted class is the true one, ``[n]``."""
        right: NDArray[np.bool_] = records[:, PREDICTED] == records[:, TRUTH]
        return right
