"""How many evaluation items would settle whether a loss is within the tolerance."""

from __future__ import annotations

import math
from statistics import NormalDist

from assay.core.trial import Quality

POWER = 0.8
MOST_ITEMS = 10_000_000
"""Beyond this, more items are no answer."""


def plan_items(quality: Quality, margin: float, confidence: float, power: float = POWER) -> int | None:
    """Items after which the bound is expected to fall on one side of the margin.

    Normal approximation: n = ((z_confidence + z_power) * s / (margin - loss))^2, with s the standard deviation of the
    paired item difference (Connor, Sample size for testing differences in proportions for the paired-sample design,
    Biometrics 43, 1987). For right/wrong metrics s comes from the flips, with half a flip added each way; for
    others from the width of the interval.

    Args:
        quality: as measured on the items at hand.
        margin: tolerated loss in the metric's own unit.
        confidence: one-sided confidence of the statement.
        power: chance that so many items settle it, should the measured loss be the true one; a gain counts as none.

    Returns:
        More items than were measured, or None where no sensible number would settle it: the loss lies on the
        margin itself.
    """
    # A measured gain counts as none: it must not make a small set look large enough.
    loss = max(0.0, -quality.difference if quality.higher_is_better else quality.difference)
    gap = abs(margin - loss)
    deviation = find_deviation(quality)
    if deviation is None or not math.isfinite(gap) or gap <= 0:
        return None
    normal = NormalDist()
    needed = ((normal.inv_cdf(confidence) + normal.inv_cdf(power)) * deviation / gap) ** 2
    if loss <= margin < 1 and margin > 0:
        needed = max(needed, count_items_without_flips(margin, confidence))
    if not math.isfinite(needed) or needed > MOST_ITEMS:
        return None
    return max(math.ceil(needed), quality.n + 1)


def is_right_or_wrong(quality: Quality) -> bool:
    """Whether the metric's item scores are 0 or 1, so that flips are all there is to its difference."""
    flips = abs(quality.flips_won - quality.flips_lost) / quality.n if quality.n else math.nan
    return math.isclose(abs(quality.difference), flips, abs_tol=1e-9)


def count_items_without_flips(margin: float, confidence: float) -> int:
    """Fewest items that bound a loss by the margin when not one of them flips.

    No flip in n items still allows a loss of ``1 - (1 - confidence)^(1/n)`` (the rule of three at 95%; Hanley and
    Lippman-Hand, JAMA 249, 1983). Fewer items than this cannot resolve the margin, whatever they show.
    """
    return math.ceil(math.log(1 - confidence) / math.log1p(-margin))


def find_deviation(quality: Quality) -> float | None:
    """Standard deviation of the paired item difference; None where the measurement does not give one."""
    n = quality.n
    if n < 1:
        return None
    if is_right_or_wrong(quality):
        lost = (quality.flips_lost + 0.5) / (n + 1)
        won = (quality.flips_won + 0.5) / (n + 1)
        return math.sqrt(lost + won - (lost - won) ** 2)
    quantile = NormalDist().inv_cdf(quality.confidence)
    width = quality.high - quality.low
    if quantile <= 0 or not 0 < width < math.inf or quality.allows_anything:
        return None
    return width / 2 / quantile * math.sqrt(n)
