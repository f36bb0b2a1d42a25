"""A variant's metric beside the reference's, on the same items, with an interval of their difference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import MeasurementError, RequestError
from assay.core.session import Metric, Scores
from assay.core.trial import Quality
from assay.measure.statistics.betting import bound_difference
from assay.measure.statistics.influence import compare_functional
from assay.measure.statistics.losses import pair_scores
from assay.measure.statistics.trinomial import bound_loss, confine_rate
from assay.measure.tasks.agreement import AGREEMENT, is_relative

EXACT = "exact paired trinomial (Berger-Boos)"
BETTING = "betting (Waudby-Smith and Ramdas)"
BINOMIAL = "exact binomial (Clopper-Pearson)"


def compare(metric: Metric, reference: Scores, variant: Scores, confidence: float) -> Quality:
    """Compare a variant with the reference, item by item.

    The difference is ``value - reference``; each of its bounds holds at one-sided ``confidence`` and at every number
    of items, as far as the items are a random sample. Scores of 0 and 1 get an exact interval, other scores in [0, 1]
    one from a betting martingale, agreement the exact interval of a binomial proportion. Flips are items whose score
    changed: lost for the worse, won for the better. A metric that is a functional of all items, no mean of item scores,
    gets an interval that holds in the limit of many items.

    Args:
        metric: what to compare; ``agreement`` compares predictions, others their item scores.
        reference: of the FP32 model.
        variant: of the same items in the same order.
        confidence: one-sided, between 0 and 1.

    Raises:
        RequestError: the metric was not scored.
        MeasurementError: no items, unequal numbers of items, scores outside [0, 1], or too few for a functional.
    """
    if not 0 < confidence < 1:
        raise MeasurementError(f"confidence {confidence} is not between 0 and 1", "give a value such as 0.95")
    n = len(reference.predictions)
    if n != len(variant.predictions):
        raise MeasurementError(f"{n} items of the reference cannot be paired with {len(variant.predictions)}")
    if n == 0:
        raise MeasurementError("there are no items to compare", "give at least one evaluation item")
    if metric.functional:
        return compare_functional(metric, reference, variant, confidence)
    # -1 is no prediction, and agrees with nothing.
    agrees = (reference.predictions == variant.predictions) & (reference.predictions >= 0)
    if metric.name == AGREEMENT.name:
        return _compare_predictions(agrees, confidence)
    if is_relative(metric):
        before, after = pair_scores(metric, reference, variant)
    else:
        before, after = (_read_scores(metric, scores, n) for scores in (reference, variant))
    fell, rose = int(np.count_nonzero(after < before)), int(np.count_nonzero(after > before))
    if _is_binary(before) and _is_binary(after):
        difference, method = (rose - fell) / n, EXACT
        low, high = -bound_loss(fell, rose, n, confidence), bound_loss(rose, fell, n, confidence)
    else:
        difference, method = float(np.mean(after - before)), BETTING
        low, high = bound_difference(after - before, confidence)
    return Quality(
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        reference=float(np.mean(before)),
        value=float(np.mean(after)),
        difference=difference,
        low=min(low, difference),
        high=max(high, difference),
        confidence=confidence,
        n=n,
        flips_lost=fell if metric.higher_is_better else rose,
        flips_won=rose if metric.higher_is_better else fell,
        agreement=float(np.mean(agrees)),
        method=method,
    )


def _read_scores(metric: Metric, scores: Scores, n: int) -> NDArray[np.float64]:
    """Item scores of a metric, checked."""
    values = scores.of(metric)
    if values is None:
        raise RequestError(
            f"metric {metric.name!r} was not scored; scored are {', '.join(scores.metrics) or 'predictions only'}",
            "labelled metrics need targets, and topK needs more than K classes",
        )
    if values.shape != (n,):
        raise MeasurementError(f"metric {metric.name!r} has scores of shape {list(values.shape)} for {n} items")
    outside = np.flatnonzero(~((values >= 0) & (values <= 1)))
    if outside.size:
        index = int(outside[0])
        raise MeasurementError(
            f"metric {metric.name!r}: the score of item {index} is {values[index]}, outside [0, 1]",
            "an interval that holds at every sample size needs bounded scores",
        )
    return values


def _is_binary(values: NDArray[np.float64]) -> bool:
    """Right or wrong, nothing between."""
    return bool(((values == 0) | (values == 1)).all())


def _compare_predictions(agrees: NDArray[np.bool_], confidence: float) -> Quality:
    """Agreement: the reference agrees with itself on every item, so that flips go one way only."""
    n = len(agrees)
    flips = n - int(np.count_nonzero(agrees))
    share = (n - flips) / n
    least, most = confine_rate(flips, n, 2 * (1 - confidence))
    return Quality(
        metric=AGREEMENT.name,
        higher_is_better=True,
        reference=1.0,
        value=share,
        difference=-flips / n,
        low=-max(most, flips / n),
        high=0.0 - min(least, flips / n),
        confidence=confidence,
        n=n,
        flips_lost=flips,
        flips_won=0,
        agreement=share,
        method=BINOMIAL,
    )
