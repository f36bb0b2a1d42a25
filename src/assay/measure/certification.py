"""Certifying one variant against its reference, on items that are drawn only as far as they are needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from assay.core.certificate import Certificate, CertificateStatus, Design, Look, SliceCertificate
from assay.core.requirements import SliceRule, Tolerance, ToleranceKind
from assay.core.session import Metric, Scores
from assay.core.trial import Quality
from assay.measure.statistics.ending import finish, finish_relative, is_hopeless
from assay.measure.statistics.influence import bound_excess
from assay.measure.statistics.losses import pair_scores, reference_scores
from assay.measure.statistics.paired import compare
from assay.measure.statistics.power import count_least_items
from assay.measure.statistics.relative import bound_reference, relative_losses
from assay.measure.statistics.sequential import Moments, SequentialTest, plan_looks
from assay.measure.statistics.slices import (
    DEAD_LOSS,
    certify_slices,
    describe_slices,
    find_dead_classes,
    judge_slices,
)
from assay.measure.statistics.trinomial import GAMMA_SHARE
from assay.measure.tasks.agreement import AGREEMENT

Draw = Callable[[int], tuple[Scores, Scores]]
"""Scores of reference and variant on the first so many items, in one random order."""
SEQUENTIAL = "betting at every look, exact at the last"
LEAST_LOOKS = 2
"""Times as many items as could certify without a flip from which on peeking pays."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be certified.

    Attributes:
        metric: that may not get worse by more than the tolerance.
        confidence: one-sided, of the whole certificate.
        slices: what every slice is held to besides.
        sequential: stop as soon as the items tell.
        give_up: stop where the other items could hardly certify any more, although they might prove it worse.
    """

    metric: Metric
    tolerance: Tolerance
    confidence: float
    slices: tuple[SliceRule, ...] = ()
    sequential: bool = True
    give_up: bool = True

    @property
    def is_relative(self) -> bool:
        """The tolerance is a share of the reference's value."""
        return self.tolerance.kind is ToleranceKind.RELATIVE


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate, and the metric of both on the items that it rests on."""

    certificate: Certificate
    quality: Quality


def choose_design(question: Question, available: int) -> Design:
    """Whether to peek.

    Peeking costs half of the error rate. It pays where there are plenty of items; with few, all are needed anyway, and
    slices need all of them. A metric that is no mean of item scores is looked at once.
    """
    if question.metric.functional or question.slices or not question.sequential:
        return Design.FIXED
    # Where the reference is not known yet, its largest value gives the largest margin.
    margin = question.tolerance.margin(1.0)
    if not 0 < margin < 1:
        return Design.FIXED
    least = count_least_items(margin, _halve(question.confidence))
    return Design.SEQUENTIAL if available >= LEAST_LOOKS * least else Design.FIXED


def certify(
    question: Question,
    draw: Draw,
    available: int,
    search: tuple[Scores, Scores] | None = None,
    on_look: Callable[[Look], None] | None = None,
) -> Certified:
    """Certify one variant.

    Sequential: after every look a betting test at half of the error rate says certified, worse, or go on; where the
    items are used up, the exact test of a fixed number of items at the other half has the last word. Fixed: one exact
    test of all items at the whole error rate; for a metric that is no mean of item scores, one asymptotic test.

    Args:
        question: metric, tolerance, confidence.
        draw: gives the scores of the first so many items.
        available: items that may be drawn (>= 1).
        search: scores of both on other items of the same kind, by which bets are sized; they never touch validity.
        on_look: told of every look.

    Raises:
        MeasurementError: too few items for the metric's method, or scores outside [0, 1].
        BackendError: scoring failed.
    """
    if choose_design(question, available) is Design.FIXED:
        found = _certify_once(question, draw, available)
    else:
        found = _certify_in_sequence(question, draw, available, search, on_look)
    reference, variant = draw(found.certificate.n)
    return replace(found, certificate=_add_slices(question, found.certificate, reference, variant))


def find_margin(question: Question, reference: Scores) -> tuple[float, float]:
    """Tolerated loss, and the confidence that is left for the one test of the loss.

    A relative tolerance is a share of a value that is itself measured: its lower bound is taken, and pays with a
    small part of the error rate. A functional has no such bound: what its loss exceeds the share by is bounded at once.
    """
    if not question.is_relative or question.metric.functional:
        return question.tolerance.margin(0.0), question.confidence
    gamma = GAMMA_SHARE * (1 - question.confidence)
    lowest = bound_reference(reference_scores(question.metric, reference), gamma)
    return question.tolerance.margin(lowest), question.confidence + gamma


def judge(loss_low: float, loss_high: float, margin: float) -> CertificateStatus:
    """Certified, worse or open, from the bounds of a loss."""
    if loss_high <= margin:
        return CertificateStatus.CERTIFIED
    return CertificateStatus.WORSE if loss_low > margin else CertificateStatus.OPEN


def losses_of(quality: Quality) -> tuple[float, float, float]:
    """Loss with its lower and its upper bound; positive is worse."""
    if quality.higher_is_better:
        return 0.0 - quality.difference, 0.0 - quality.high, 0.0 - quality.low
    return quality.difference, quality.low, quality.high


def _halve(confidence: float) -> float:
    """The confidence of a test that may spend half of the error rate."""
    return 1 - (1 - confidence) / 2


def _certify_once(question: Question, draw: Draw, available: int) -> Certified:
    """One look at all items."""
    reference, variant = draw(available)
    margin, confidence = find_margin(question, reference)
    quality = compare(question.metric, reference, variant, confidence)
    if question.metric.functional and question.is_relative:
        margin = question.tolerance.margin(quality.reference)
        low, high = bound_excess(question.metric, reference, variant, question.tolerance.amount, confidence)
        low, high = margin + low, margin + high
        if quality.higher_is_better:
            low, high = 0.0 - high, 0.0 - low
        quality = replace(quality, low=low, high=high)
    quality = replace(quality, confidence=question.confidence)
    loss, low, high = losses_of(quality)
    certificate = Certificate(
        status=judge(low, high, margin),
        metric=question.metric.name,
        margin=margin,
        loss=loss,
        low=low,
        high=high,
        confidence=question.confidence,
        n=available,
        available=available,
        design=Design.FIXED,
        method=quality.method,
        asymptotic=quality.asymptotic,
    )
    return Certified(certificate, quality)


def _certify_in_sequence(
    question: Question,
    draw: Draw,
    available: int,
    search: tuple[Scores, Scores] | None,
    on_look: Callable[[Look], None] | None,
) -> Certified:
    """Look after look, until the items tell, can no longer tell, or are used up."""
    confidence = _halve(question.confidence)
    losses = _Losses(question)
    prior = None if search is None else Moments.of(losses.take(*search))
    test = SequentialTest(losses.margin, confidence, prior, losses.gap)
    looks, reason = _look_on(question, losses, test, draw, available, on_look)
    status, last, margin = test.status, looks[-1], losses.shown_margin
    if status is CertificateStatus.OPEN and test.n == available:
        status, last, margin = losses.finish(test, confidence)
        looks[-1] = last
    reference, variant = draw(test.n)
    quality = compare(question.metric, reference, variant, confidence)
    low, high = (-last.high, -last.low) if quality.higher_is_better else (last.low, last.high)
    quality = replace(quality, low=low + 0.0, high=high + 0.0, confidence=question.confidence, method=SEQUENTIAL)
    certificate = Certificate(
        status=status,
        metric=question.metric.name,
        margin=margin,
        loss=last.loss,
        low=last.low,
        high=last.high,
        confidence=question.confidence,
        n=test.n,
        available=available,
        design=Design.SEQUENTIAL,
        method=SEQUENTIAL,
        looks=tuple(looks),
        reason=reason,
    )
    return Certified(certificate, quality)


def _look_on(
    question: Question,
    losses: _Losses,
    test: SequentialTest,
    draw: Draw,
    available: int,
    on_look: Callable[[Look], None] | None,
) -> tuple[list[Look], str]:
    """Look until the test ends or the items do; the looks in the metric's own unit, and why it was given up."""
    confidence = _halve(question.confidence)
    looks: list[Look] = []
    for count in plan_looks(available, losses.margin or question.tolerance.margin(1.0), confidence):
        values = losses.take(*draw(count))
        test.add(values[test.n :])
        looks.append(losses.show(test.looks[-1]))
        if on_look is not None:
            on_look(looks[-1])
        if test.status is not CertificateStatus.OPEN:
            break
        if question.give_up and count < available and is_hopeless(test, available - count, confidence):
            return looks, f"stopped after {count:,} of {available:,} items: the others could hardly settle it"
    return looks, ""


def _add_slices(question: Question, certificate: Certificate, reference: Scores, variant: Scores) -> Certificate:
    """The certificate with those of the slices, which may take it back.

    Where the user asked for none, a class that is proven dead still does.
    """
    found: list[SliceCertificate] = []
    verdicts: list[CertificateStatus] = []
    for rule in question.slices:
        slices = certify_slices(question.metric, reference, variant, rule, question.confidence)
        verdicts.append(judge_slices(slices))
        found += slices
    if not question.slices:
        margin = max(DEAD_LOSS, certificate.margin)
        found += find_dead_classes(question.metric, reference, variant, question.confidence, margin)
        verdicts += [CertificateStatus.WORSE] * bool(found)
    certificate = replace(certificate, slices=tuple(found))
    if certificate.status is CertificateStatus.WORSE or not found:
        return certificate
    for verdict in (CertificateStatus.WORSE, CertificateStatus.OPEN):
        if verdict in verdicts:
            return replace(certificate, status=verdict, reason=describe_slices(found))
    return certificate


class _Losses:
    """Item losses of a question, as the sequential test takes them, and its looks in the metric's own unit.

    A relative tolerance asks whether the mean of ``loss - amount * reference`` is at most 0: nothing is left to
    estimate beside it.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        self._better = question.metric.higher_is_better or question.metric.name == AGREEMENT.name
        self._amount = question.tolerance.amount
        self.margin = 0.0 if question.is_relative else self._amount
        self.shown_margin = self.margin
        self._scale = 1.0
        self._pair = (np.empty(0), np.empty(0))

    @property
    def gap(self) -> float | None:
        """Distance of the loss to the margin where nothing changes, if it is known; the margin where it is not."""
        return self.shown_margin / self._scale if self._question.is_relative and self.shown_margin else None

    def take(self, reference: Scores, variant: Scores) -> NDArray[np.float64]:
        """Losses of these items, within [-1, 1]."""
        before, after = self._pair = pair_scores(self._question.metric, reference, variant)
        if not self._question.is_relative:
            return before - after if self._better else after - before
        relative = relative_losses(before, after, self._amount, higher_is_better=self._better)
        self._scale = relative.scale
        self.shown_margin = self._amount * float(np.mean(np.abs(before)))
        return relative.values

    def show(self, look: Look) -> Look:
        """A look in the metric's own unit."""
        if not self._question.is_relative:
            return look
        loss, low, high = (self.shown_margin + self._scale * one for one in (look.loss, look.low, look.high))
        return Look(look.n, loss, low, high)

    def finish(self, test: SequentialTest, confidence: float) -> tuple[CertificateStatus, Look, float]:
        """Status, last look and margin, now that the items are used up."""
        before, after = self._pair
        if self._question.is_relative:
            return finish_relative(test, before, after, self._amount, confidence, higher_is_better=self._better)
        losses = before - after if self._better else after - before
        return *finish(test, losses, confidence), self.margin
