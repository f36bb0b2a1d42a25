"""Pearson's correlation of what the model says with the truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr

from assay.measure.functionals.functional import Records
from assay.measure.functionals.pairs import Correlation, read_pairs, standardise

OPPOSITE = 4.0
"""Change of the influence of an item that lies sqrt(2) standard deviations out and is put as far on the other side."""


class Pearson(Correlation):
    """The linear correlation, from the record ``pairs``; 0 where a side does not vary."""

    name = "pearson"

    def value(self, records: Records) -> float:
        """The correlation by SciPy."""
        said, truth = (standardise(part) for part in read_pairs(records))
        if not (said.any() and truth.any()):
            return 0.0
        return float(pearsonr(said, truth).statistic)

    def influence(self, records: Records) -> NDArray[np.float64]:
        """In standard units, ``x y - r (x^2 + y^2) / 2``, ``[n]``.

        Devlin, Gnanadesikan and Kettenring, Robust estimation and outlier detection with correlation coefficients,
        Biometrika 62, 1975.
        """
        said, truth = (standardise(part) for part in read_pairs(records))
        correlation = float(np.mean(said * truth))
        influence: NDArray[np.float64] = said * truth - correlation * (said**2 + truth**2) / 2
        influence -= influence.mean()
        return influence

    def worst(self, records: Records) -> float:
        """An item put on the other side, or as far off as the farthest is: correlations have no bound of their own."""
        return max(OPPOSITE, float(np.abs(self.influence(records)).max()))
