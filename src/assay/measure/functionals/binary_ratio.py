"""A metric of the positive class that is a ratio of two counts: F1, precision, recall."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from assay.measure.functionals.binary import BinaryFunctional
from assay.measure.functionals.functional import Records
from assay.measure.functionals.ratio import influence_ratio, weigh


class BinaryRatio(BinaryFunctional, ABC):
    """The ratio of two means over the items, from the record ``binary``."""

    @abstractmethod
    def count(self, records: Records) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What each item adds to the numerator and to the denominator, ``[n]`` each."""

    def weigh(self, records: Records) -> tuple[float, float]:
        """The ratio, and the mean of the denominator."""
        return weigh(*self.count(records))

    def influence(self, records: Records) -> NDArray[np.float64]:
        """Of a ratio of means, ``[n]``."""
        return influence_ratio(*self.count(records))
