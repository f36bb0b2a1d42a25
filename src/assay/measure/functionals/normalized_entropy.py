"""Normalized entropy of predicted click probabilities; lower is better."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from assay.measure.functionals.binary import require
from assay.measure.functionals.functional import Records

LEAST_ITEMS = 200
LEAST_OF_EACH = 30
LEAST_PROBABILITY = 2.0**-23
"""Probabilities are clipped to this from either end, float32's resolution below 1: a loss stays a number."""
DEEP = 10.0
"""Times that the worst item is less likely by its prediction than by the rate alone: where few items break by far, less
would accept more than 6% of the variants that it should not (``bench/asymptotic_coverage.py``)."""


class NormalizedEntropy:
    """Mean log loss over the entropy of the mean click rate, from the record ``clicks``.

    1 says no more than the rate itself does. The record is ``[n, 2]``: the predicted probability and the outcome, 0
    or 1. A probability that is NaN counts as the worst one for its outcome.

    He and others, Practical lessons from predicting clicks on ads at Facebook, ADKDD 2014, section 2.
    """

    span: float = math.inf
    groups: int = 0
    libraries: tuple[str, ...] = ()

    def check(self, records: Records) -> None:
        """Refuse too few impressions, or too few with or without a click.

        Raises:
            MeasurementError: naming how many there are and how many are needed.
        """
        clicks = int(records[:, 1].sum())
        require("normalized entropy", "items", len(records), LEAST_ITEMS)
        require("normalized entropy", "positive items", clicks, LEAST_OF_EACH)
        require("normalized entropy", "negative items", len(records) - clicks, LEAST_OF_EACH)

    def value(self, records: Records) -> float:
        """The ratio; where the rate is 0 or 1 and has no entropy, the mean log loss itself."""
        return float(_read_losses(records).mean()) / _find_entropy(records)

    def influence(self, records: Records) -> NDArray[np.float64]:
        """Of the loss, and of the click on the rate whose entropy it is held against, ``[n]``."""
        losses, clicks = _read_losses(records), records[:, 1]
        entropy, rate = _find_entropy(records), float(clicks.mean())
        slope = math.log((1 - rate) / rate) if 0 < rate < 1 else 0.0
        influence: NDArray[np.float64] = (losses - losses.mean()) / entropy
        return influence - float(losses.mean()) * slope / entropy**2 * (clicks - rate)

    def worst(self, records: Records) -> float:
        """An impression of the rarer outcome predicted at a tenth of its rate, or one as far off as the farthest is."""
        rate = float(records[:, 1].mean())
        rarer = max(min(rate, 1 - rate) / DEEP, LEAST_PROBABILITY)
        return max(-math.log(rarer) / _find_entropy(records), float(np.abs(self.influence(records)).max()))

    def right(self, records: Records) -> NDArray[np.bool_] | None:
        """An impression is neither right nor wrong."""
        del records
        return None


def _read_losses(records: Records) -> NDArray[np.float64]:
    """Log loss of each impression in nats."""
    probability, clicked = records[:, 0], records[:, 1] == 1
    right = np.where(clicked, probability, 1 - probability)
    losses: NDArray[np.float64] = -np.log(np.clip(np.nan_to_num(right, nan=0.0), LEAST_PROBABILITY, 1.0))
    return losses


def _find_entropy(records: Records) -> float:
    """Entropy of the mean click rate in nats; 1 where there is none."""
    rate = float(records[:, 1].mean())
    return -rate * math.log(rate) - (1 - rate) * math.log(1 - rate) if 0 < rate < 1 else 1.0
