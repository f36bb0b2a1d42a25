"""How many times faster: the median of ratios paired by round."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import MeasurementError
from assay.core.estimate import Estimate
from assay.measure.statistics.quantile import estimate_quantile

MEDIAN = 0.5


def estimate_ratio(reference: NDArray[np.float64], variant: NDArray[np.float64], confidence: float) -> Estimate:
    """Median over the rounds of ``reference / variant``, with the interval of the sign test.

    What slows a whole round (a busy neighbour, a lower clock) slows both and leaves their ratio.

    Args:
        reference: ``[rounds]`` times, one a round.
        variant: ``[rounds]`` times of the same rounds, in the same unit.
        confidence: one-sided confidence of each bound; a bound at 95% needs 5 rounds.

    Raises:
        MeasurementError: the rounds are not paired, there are none, or a time is not positive.
    """
    if reference.shape != variant.shape or reference.ndim != 1:
        raise MeasurementError(
            f"{reference.shape} and {variant.shape} times cannot be paired", "time both in the same rounds"
        )
    if not (np.all(reference > 0) and np.all(variant > 0)):
        raise MeasurementError("a measured time is not positive", "the clock is too coarse or unstable")
    return estimate_quantile(reference / variant, MEDIAN, confidence, "1")
