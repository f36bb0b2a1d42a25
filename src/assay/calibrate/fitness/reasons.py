"""What speaks against a calibration set, as sentences with figures."""

from __future__ import annotations

from collections.abc import Sequence

from assay.calibrate.fitness.harm import TensorHarm
from assay.calibrate.fitness.outlying import Outlier
from assay.calibrate.fitness.shift import FeatureShift, Shift
from assay.calibrate.fitness.size import ENOUGH, UNSEEN, bound_unseen
from assay.core.estimate import Estimate

DECIBELS_PER_BIT = 6.02
NAMED = 3
PERCENT = 100
TENTH = 0.1
MOST = 0.995
"""Share of the pairs of items above which a feature separates the sets altogether."""


def describe_harm(excess: Estimate, harms: Sequence[TensorHarm]) -> str:
    """Excess noise over all tensors, and where most of it is."""
    if excess.low is None or excess.high is None:
        bounds = "with no interval, for the sample's items fall into one group"
    else:
        bounds = f"{excess.low:.1f} to {excess.high:.1f} dB"
    worst = harms[0].fitness
    added = sum(max(harm.added, 0.0) for harm in harms)
    share = harms[0].added / added if added > 0 else 0.0
    return (
        f"ranges from this set give the sample {excess.value:.1f} dB more quantization noise than its own would "
        f"({bounds}), {excess.value / DECIBELS_PER_BIT:.1f} bits; {share:.0%} of it in {worst.tensor!r}, where "
        f"{_format_share(worst.clip_rate.value)} of the values are clipped and "
        f"{_format_share(worst.unused.value)} of the range is never used"
    )


def describe_lost(lost: Sequence[TensorHarm]) -> str:
    """Tensors that the ranges spoil, though the sum over all tensors hides it."""
    named = "; ".join(_describe_lost(harm) for harm in lost[:NAMED])
    return f"ranges from this set spoil {_count(len(lost), 'tensor')}: {named}{_more(len(lost))}"


def _describe_lost(harm: TensorHarm) -> str:
    fitness = harm.fitness
    return (
        f"{fitness.excess_noise_db.value:.1f} dB more quantization noise in {fitness.tensor!r}, where "
        f"{_format_share(fitness.clip_rate.value)} of the values are clipped and "
        f"{_format_share(fitness.unused.value)} of the range is never used"
    )


def describe_chance(p: float, *, differs: bool) -> str:
    """Whether sets drawn alike do as much harm."""
    if differs:
        return f"no chance of small sets: no random split of the items of both did so much harm (p = {p:.2g})"
    return (
        f"so much may be the chance of small sets: items drawn alike do as much harm (p = {p:.2g} over random splits "
        f"of the items of both); more calibration items bring it down"
    )


def describe_outliers(outliers: Sequence[Outlier], tensors: int) -> str:
    """Outlying items, named."""
    named = "; ".join(f"item {one.position} {describe_outlier(one, tensors)}" for one in outliers[:NAMED])
    return f"{_count(len(outliers), 'item')} far beyond all others: {named}{_more(len(outliers))}"


def describe_outlier(outlier: Outlier, tensors: int) -> str:
    """What one outlying item does."""
    return (
        f"reaches {outlier.value:.4g} in {outlier.tensor!r}, {outlier.reach:.3g} times the range of the whole sample; "
        f"as far out in {outlier.tensors} of {tensors} tensors"
    )


def describe_shift(shift: Shift) -> str:
    """The test's result, and the features that differ most."""
    tensors: list[FeatureShift] = []
    for feature in shift.features:
        if all(feature.tensor != one.tensor for one in tensors):
            tensors.append(feature)
    named = "; ".join(_describe_feature(feature) for feature in tensors[:NAMED])
    return (
        f"the items are not drawn like the sample's (p = {shift.p:.4f} over {len(shift.features)} features of "
        f"single items): {named}"
    )


def _describe_feature(feature: FeatureShift) -> str:
    if feature.spread:
        return f"{feature.name} varies {'more' if feature.z > 0 else 'less'} from item to item than in the sample"
    lies, share = ("higher", feature.above) if feature.z > 0 else ("lower", 1 - feature.above)
    pairs = "all" if share > MOST else f"{share:.0%} of the"
    return f"{feature.name} lies {lies} than in the sample in {pairs} pairs of items"


def describe_size(which: str, items: int, distinct: int) -> str:
    """Too few different items to tell."""
    different = "" if distinct == items else f", {distinct:,} of them different"
    return (
        f"{which} is too small to tell: {_count(items, 'item')}{different}; up to {bound_unseen(distinct):.0%} of "
        f"further items may lie beyond everything it shows (95% confidence; {ENOUGH} different ones bring that to "
        f"{UNSEEN:.0%})"
    )


def _format_share(share: float) -> str:
    return f"{share:.0%}" if share >= TENTH else f"{share * PERCENT:.2g}%"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _more(number: int) -> str:
    return f" and {number - NAMED} more" if number > NAMED else ""
