"""A variant's metric beside the reference's, on the same items, with an interval of their difference."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import MeasurementError, RequestError
from assay.core.session import Metric, Scores
from assay.core.trial import Quality
from assay.measure.statistics.betting import bound_difference
from assay.measure.statistics.influence import compare_functional
from assay.measure.statistics.trinomial import GAMMA_SHARE, bound_loss, compute_p_value, confine_rate
from assay.measure.tasks.agreement import AGREEMENT

EXACT = "exact paired trinomial (Berger-Boos)"
BETTING = "betting (Waudby-Smith and Ramdas)"
BINOMIAL = "exact binomial (Clopper-Pearson)"
LEAST_GAP = 0.05
"""A loss nearer to the margin than this share of it is about the margin."""
MOST_ITEMS = 10_000_000
MOST_ITEMS_EXACT = 200_000
"""Beyond this the normal approximation and the exact test ask for the same number."""
GROWTH = 1.01


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


def items_to_resolve(
    flip_lost_rate: float, flip_won_rate: float, margin: float, confidence: float, power: float = 0.8
) -> int | None:
    """How many items would let the interval of the loss decide, were these the true flip rates.

    A loss below the margin is decided when its upper bound is; a loss above it, when its lower bound is. The number
    comes from ``n = ((z_confidence + z_power) s / (margin - loss))^2`` with s the standard deviation of one item's
    difference (Connor, Sample size for testing differences in proportions for the paired-sample design, Biometrics
    43, 1987), and grows until the exact test decides with flips as unlucky as ``power`` allows.

    Args:
        flip_lost_rate: share of items that flip from right to wrong.
        flip_won_rate: share of items that flip from wrong to right.
        margin: tolerated loss, as a fraction.
        confidence: one-sided.
        power: chance that the interval decides.

    Returns:
        None where the loss is about the margin, so that no sensible number decides.

    Raises:
        MeasurementError: a rate is no rate, or a confidence or power not between 0 and 1.
    """
    rates = (flip_lost_rate, flip_won_rate)
    if min(rates) < 0 or sum(rates) > 1 or not 0 < confidence < 1 or not 0 < power < 1:
        raise MeasurementError(f"flip rates {rates}, confidence {confidence} or power {power} is out of range")
    if flip_lost_rate - flip_won_rate > margin:
        # Deciding that a loss exceeds the margin is deciding that the gain falls short of it.
        flip_lost_rate, flip_won_rate, margin = flip_won_rate, flip_lost_rate, -margin
    gap = margin - (flip_lost_rate - flip_won_rate)
    if gap <= LEAST_GAP * abs(margin) or gap <= 0:
        return None
    variance = sum(rates) - (flip_lost_rate - flip_won_rate) ** 2
    normal = NormalDist()
    luck = normal.inv_cdf(power)
    needed = max(1.0, variance * ((normal.inv_cdf(confidence) + luck) / gap) ** 2)
    if 0 < margin < 1:
        # Without a flip, n items bound the loss by 1 - (1 - confidence)^(1/n) at best.
        needed = max(needed, math.log1p(-confidence) / math.log1p(-margin))
    while needed <= MOST_ITEMS_EXACT:
        n = math.ceil(needed)
        unlucky = luck * math.sqrt(n * variance) / 2
        lost, won = round(n * flip_lost_rate + unlucky), max(0, round(n * flip_won_rate - unlucky))
        if _decides(min(lost, n - won), won, n, margin, confidence):
            return n
        needed = max(needed * GROWTH, needed + 1)
    return math.ceil(needed) if needed <= MOST_ITEMS else None


def _decides(lost: int, won: int, n: int, margin: float, confidence: float) -> bool:
    """Whether the exact test rejects a loss of the margin or more."""
    gamma = (1 - confidence) * GAMMA_SHARE
    return compute_p_value(lost, won, n, margin, confine_rate(lost + won, n, gamma), gamma) <= 1 - confidence


def _read_scores(metric: Metric, scores: Scores, n: int) -> NDArray[np.float64]:
    """Item scores of a metric, checked."""
    values = scores.metrics.get(metric.name)
    if values is None:
        raise RequestError(
            f"metric {metric.name!r} was not scored; scored are {', '.join(scores.metrics) or 'predictions only'}",
            "labelled metrics need targets, and top5 needs at least 6 classes",
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
