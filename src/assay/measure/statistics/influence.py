"""Interval of the difference of two functionals, from what each item does to them.

The difference of a functional between variant and reference is, to first order, the mean over the items of the
difference of their influences; the rest is of the order 1/n. So its interval is one of a mean: by empirical
likelihood (Owen, Empirical likelihood ratio confidence intervals for a single functional, Biometrika 75, 1988), which
takes its shape from the items and so follows skewed differences, as rare flips make them, where ``mean +- z s`` does
not.

Each bound counts one item more than there are: the worst that could have been drawn on its side (in the manner of
Chen, Variyath and Abraham, Adjusted empirical likelihood and its properties, J. Comput. Graph. Stat. 17, 2008). n items
without any change thus bound the difference by ``3.65 worst / n`` at 95%, close to the ``3.0 / n`` of an exact bound of
a proportion, and never by 0.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import MeasurementError, RequestError
from assay.core.session import Metric, Scores
from assay.core.trial import WIDEST, Quality
from assay.measure.functionals.functional import Biased, Functional, Records
from assay.measure.functionals.table import load_functional

INFLUENCE = "influence functions, empirical likelihood (asymptotic)"
JACKKNIFE = "delete-group jackknife, empirical likelihood (asymptotic)"
NEAREST, FARTHEST = math.log(1e-12), math.log(1e6)
"""Where the tilt is looked for, as logarithms in units of the values' range."""
HALVINGS = 26

TOO_FEW = "none: too few items for an interval"


def compare_functional(metric: Metric, reference: Scores, variant: Scores, confidence: float) -> Quality:
    """Compare a variant with the reference by a functional of the items.

    Each bound of ``value - reference`` holds at one-sided ``confidence`` in the limit of many items. Flips are items
    that are right in one and wrong in the other, or whose influence fell and rose where an item is neither.

    Args:
        metric: with a ``functional`` and a ``record``.
        reference: of the FP32 model.
        variant: of the same items in the same order.
        confidence: one-sided, between 0 and 1.

    Raises:
        RequestError: the record was not kept, or a library is missing.
        MeasurementError: the items are too few for the functional, or not the same.
    """
    functional, before, after = _read_pair(metric, reference, variant)
    old, new = functional.value(before), functional.value(after)
    low, high, changes = _bound_combination(functional, before, after, 1.0, confidence)
    fell, rose = _count_flips(functional, before, after, changes)
    lost, won = (fell, rose) if metric.higher_is_better or functional.right(before) is not None else (rose, fell)
    agrees = (reference.predictions == variant.predictions) & (reference.predictions >= 0)
    return Quality(
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        reference=old,
        value=new,
        difference=new - old,
        low=max(low, -functional.span),
        high=min(high, functional.span),
        confidence=confidence,
        n=len(before),
        flips_lost=lost,
        flips_won=won,
        agreement=float(np.mean(agrees)),
        method=JACKKNIFE if functional.groups else INFLUENCE,
        asymptotic=True,
    )


def bound_excess(
    metric: Metric, reference: Scores, variant: Scores, amount: float, confidence: float
) -> tuple[float, float]:
    """Bounds of the loss beyond a share of the reference's value, which is itself measured on the same items.

    The loss may be at most ``amount |reference|``; what exceeds that is a difference of the variant and a multiple of
    the reference, whose influence is the same combination of both influences. So what is not known of the reference,
    and how it goes together with the loss, is counted in.

    Args:
        metric: with a ``functional`` and a ``record``.
        reference: of the FP32 model.
        variant: of the same items in the same order.
        amount: tolerated share of the reference, in (0, 1).
        confidence: one-sided, of each bound.

    Returns:
        Lower and upper bound of the excess, in the metric's own unit; at most 0 where the tolerance is kept.

    Raises:
        RequestError: the record was not kept, or a library is missing.
        MeasurementError: the items are too few for the functional, or not the same.
    """
    functional, before, after = _read_pair(metric, reference, variant)
    sign = 1.0 if functional.value(before) >= 0 else -1.0
    kept = 1 - amount * sign if metric.higher_is_better else 1 + amount * sign
    low, high, _ = _bound_combination(functional, before, after, kept, confidence)
    return (-high, -low) if metric.higher_is_better else (low, high)


def _read_pair(metric: Metric, reference: Scores, variant: Scores) -> tuple[Functional, Records, Records]:
    """The metric's functional and the records of both, checked.

    Raises:
        RequestError: the record was not kept, or a library is missing.
        MeasurementError: the items are too few for the functional, or not the same.
    """
    functional = load_functional(metric.functional)
    before, after = (_read_records(metric, scores) for scores in (reference, variant))
    if before.shape != after.shape:
        raise MeasurementError(f"{before.shape} records of the reference cannot be paired with {after.shape}")
    functional.check(before)
    return functional, before, after


def _bound_combination(
    functional: Functional, before: Records, after: Records, kept: float, confidence: float
) -> tuple[float, float, NDArray[np.float64]]:
    """Bounds of ``variant - kept * reference``, and the items' differences of influence."""
    old, new = functional.value(before), functional.value(after)
    changes = functional.influence(after) - kept * functional.influence(before)
    worst = max(1.0, kept) * max(functional.worst(before), functional.worst(after)) * len(changes) / len(before)
    difference = new - kept * old
    high = float(bound_above(np.array(difference), changes, np.array(worst), confidence))
    low = -float(bound_above(np.array(-difference), -changes, np.array(worst), confidence))
    if isinstance(functional, Biased):
        shift = functional.debiased(after) - kept * functional.debiased(before) - difference
        low, high = low + min(shift, 0.0), high + max(shift, 0.0)
    return low, high, changes


def describe_functional(metric: Metric, reference: Scores, variant: Scores, confidence: float) -> Quality:
    """Both values of a functional where the items are too few for an interval: bounds that are always true.

    Raises:
        RequestError: the record was not kept, or a library is missing.
    """
    functional = load_functional(metric.functional)
    before, after = (_read_records(metric, scores) for scores in (reference, variant))
    old, new = functional.value(before), functional.value(after)
    # Without an interval no influence is asked for, since that may take more items.
    lost, won = _count_flips(functional, before, after, np.zeros(0))
    agrees = (reference.predictions == variant.predictions) & (reference.predictions >= 0)
    span = min(functional.span, WIDEST)
    return Quality(
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        reference=old,
        value=new,
        difference=new - old,
        low=-span,
        high=span,
        confidence=confidence,
        n=len(before),
        flips_lost=lost,
        flips_won=won,
        agreement=float(np.mean(agrees)),
        method=TOO_FEW,
        asymptotic=True,
    )


def bound_above(
    difference: NDArray[np.float64],
    changes: NDArray[np.float64],
    worst: NDArray[np.float64],
    confidence: float,
    counts: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Upper bounds of the difference of two functionals, ``[...]``, of many samples at once.

    Args:
        difference: ``[...]`` as computed from all items, around which the bound is put.
        changes: ``[..., k]`` differences of influence, of an item each.
        worst: ``[...]`` most by which one item's influence could change.
        confidence: one-sided.
        counts: ``[..., k]`` how many items have each of the changes; one each by default.
    """
    counts = np.ones_like(changes) if counts is None else counts
    mean = (changes * counts).sum(axis=-1) / counts.sum(axis=-1)
    centred = changes + np.asarray(difference - mean)[..., None]
    seen = np.where(counts > 0, np.abs(centred), 0.0).max(axis=-1)
    reach = np.maximum(worst, seen)[..., None]
    values = np.concatenate([centred, reach], axis=-1)
    weights = np.concatenate([counts, np.ones_like(reach)], axis=-1)
    return np.maximum(bound_mean_above(values, weights, confidence), difference)


def bound_mean_above(
    values: NDArray[np.float64], counts: NDArray[np.float64], confidence: float
) -> NDArray[np.float64]:
    """Upper bounds of means by empirical likelihood, ``[...]``.

    The bound is the largest mean that a reweighting of the values has whose likelihood is at least
    ``exp(-z^2 / 2)`` of the greatest; its weights are ``1 / (t - value)`` for a number t above all values.

    Args:
        values: ``[..., k]``.
        counts: ``[..., k]`` how often each value was drawn; not all 0.
        confidence: one-sided.
    """
    greatest = np.where(counts > 0, values, -np.inf).max(axis=-1, keepdims=True)
    gaps = np.where(counts > 0, greatest - values, 0.0)
    reach = gaps.max(axis=-1, keepdims=True)
    gaps = gaps / np.where(reach > 0, reach, 1.0)
    total = counts.sum(axis=-1)
    allowed = max(0.0, NormalDist().inv_cdf(confidence)) ** 2 / 2
    near, far = np.full(total.shape, NEAREST), np.full(total.shape, FARTHEST)
    for _ in range(HALVINGS):
        middle = (near + far) / 2
        distances = gaps + np.exp(middle)[..., None]
        mass = np.log((counts / distances).sum(axis=-1) / total)
        unlikely = (counts * np.log(distances)).sum(axis=-1) + total * mass > allowed
        near, far = np.where(unlikely, middle, near), np.where(unlikely, far, middle)
    tilted = counts / (gaps + np.exp(near)[..., None])
    fall = (tilted * gaps).sum(axis=-1) / tilted.sum(axis=-1)
    bound: NDArray[np.float64] = greatest[..., 0] - reach[..., 0] * fall
    return bound


def _read_records(metric: Metric, scores: Scores) -> Records:
    """The records that the metric's functional takes."""
    records = scores.records.get(metric.record)
    if records is None:
        raise RequestError(
            f"metric {metric.name!r} needs the record {metric.record!r}, which was not kept; "
            f"kept are {', '.join(scores.records) or 'none'}",
            "the model or the task has another form than the metric needs, or the data has no targets",
        )
    if len(records) != len(scores.predictions):
        raise MeasurementError(f"metric {metric.name!r} has {len(records)} records of {len(scores.predictions)} items")
    return records


def _count_flips(
    functional: Functional, before: Records, after: Records, changes: NDArray[np.float64]
) -> tuple[int, int]:
    """Items that got worse and better by right and wrong, else that lower and raise the functional."""
    was, is_now = functional.right(before), functional.right(after)
    if was is None or is_now is None:
        return int(np.count_nonzero(changes < 0)), int(np.count_nonzero(changes > 0))
    return int(np.count_nonzero(was & ~is_now)), int(np.count_nonzero(~was & is_now))
