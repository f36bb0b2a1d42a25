"""The record ``pairs``: ``[n, 2]`` a number that the model says of each item, and the true one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import MeasurementError
from assay.measure.functionals.binary import require
from assay.measure.functionals.functional import Records

LEAST_ITEMS = 200


def read_pairs(records: Records) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is said and what is true, ``[n]`` each.

    NaN or infinity said counts as the number farthest from the truth that is said of any item.
    """
    said, truth = records[:, 0], records[:, 1]
    finite = np.isfinite(said)
    if finite.all():
        return said, truth
    low, high = (float(said[finite].min()), float(said[finite].max())) if finite.any() else (0.0, 0.0)
    farthest = np.where(truth - low > high - truth, low, high)
    return np.where(finite, said, farthest), truth


def require_spread(name: str, said: NDArray[np.float64], truth: NDArray[np.float64]) -> None:
    """Refuse a correlation with what does not vary.

    Raises:
        MeasurementError: naming which of the two is the same for all items.
    """
    for what, values in (("the target", truth), ("what the reference says", said)):
        if values.min() == values.max():
            message = f"{name} is not defined: {what} is {values[0]:g} for all {len(values)} items"
            raise MeasurementError(message, "check the targets and the model, or take another metric")


def standardise(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values less their mean over their standard deviation; zeros where they do not vary."""
    centred = values - values.mean()
    largest = float(np.abs(centred).max())
    if largest == 0 or values.min() == values.max():
        return np.zeros(len(values))
    centred = centred / largest  # squares of very small or large numbers must stay numbers
    standard: NDArray[np.float64] = centred / np.sqrt(np.mean(centred**2))
    return standard


class PairsFunctional:
    """What the metrics of two numbers have in common.

    Attributes:
        name: of the metric.
    """

    name: str
    groups: int = 0
    libraries: tuple[str, ...] = ()

    def check(self, records: Records) -> None:
        """Refuse too few items.

        Raises:
            MeasurementError: naming how many there are and how many are needed.
        """
        require(self.name, "items", len(records), LEAST_ITEMS)

    def right(self, records: Records) -> NDArray[np.bool_] | None:
        """Numbers are neither right nor wrong."""
        del records
        return None


class Correlation(PairsFunctional):
    """A metric of two numbers that is not defined where one of them does not vary."""

    span: float = 2.0

    def check(self, records: Records) -> None:
        """Refuse too few items, or none that vary.

        Raises:
            MeasurementError: naming how many there are and how many are needed.
        """
        super().check(records)
        require_spread(self.name, *read_pairs(records))
