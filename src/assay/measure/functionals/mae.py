"""Mean absolute error of what the model says; lower is better."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from assay.measure.functionals.functional import Records
from assay.measure.functionals.pairs import PairsFunctional, read_pairs


class Mae(PairsFunctional):
    """``mean |said - truth|``, from the record ``pairs``, in the target's unit: a mean of unbounded numbers."""

    name = "mae"
    span: float = math.inf

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
