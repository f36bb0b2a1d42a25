"""Mean absolute error of what the model says; lower is better."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from assay.measure.functionals.binary import require
from assay.measure.functionals.functional import Records
from assay.measure.functionals.pairs import read_pairs

LEAST_ITEMS = 200


class Mae:
    """``mean |said - truth|``, from the record ``pairs``, in the target's unit: a mean of unbounded numbers."""

    span: float = math.inf
    groups: int = 0
    libraries: tuple[str, ...] = ()

    def check(self, records: Records) -> None:
        """Refuse too few items.

        Raises:
            MeasurementError: naming how many there are and how many are needed.
        """
        require("mae", "items", len(records), LEAST_ITEMS)

    def value(self, records: Records) -> float:
        """The error."""
        said, truth = read_pairs(records)
        return float(np.mean(np.abs(said - truth)))

    def influence(self, records: Records) -> NDArray[np.float64]:
        """The item's error less the mean, ``[n]``."""
        said, truth = read_pairs(records)
        errors = np.abs(said - truth)
        influence: NDArray[np.float64] = errors - errors.mean()
        return influence

    def worst(self, records: Records) -> float:
        """An item one standard deviation out that is put as far on the other side, or the farthest there is."""
        _, truth = read_pairs(records)
        return max(2 * float(np.std(truth)), float(np.abs(self.influence(records)).max()))

    def right(self, records: Records) -> NDArray[np.bool_] | None:
        """Numbers are neither right nor wrong."""
        del records
        return None
