"""Root mean square error of what the model says; lower is better."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from assay.measure.functionals.functional import Records
from assay.measure.functionals.pairs import PairsFunctional, read_pairs


class Rmse(PairsFunctional):
    """``sqrt(mean (said - truth)^2)``, from the record ``pairs``, in the target's unit."""

    name = "rmse"
    span: float = math.inf

    def value(self, records: Records) -> float:
        """The error."""
        said, truth = read_pairs(records)
        return float(np.sqrt(np.mean((said - truth) ** 2)))

    def influence(self, records: Records) -> NDArray[np.float64]:
        """``(error^2 - mean error^2) / (2 rmse)``, ``[n]``; zeros where there is no error."""
        said, truth = read_pairs(records)
        squares = (said - truth) ** 2
        mean = float(squares.mean())
        if mean == 0:
            return np.zeros(len(records))
        influence: NDArray[np.float64] = (squares - mean) / (2 * math.sqrt(mean))
        return influence

    def worst(self, records: Records) -> float:
        """An item one standard deviation out that is put as far on the other side, or the farthest there is."""
        _, truth = read_pairs(records)
        opposite = 4 * float(np.var(truth)) / (2 * self.value(records)) if self.value(records) > 0 else 0.0
        return max(opposite, 2 * float(np.std(truth)), float(np.abs(self.influence(records)).max()))
