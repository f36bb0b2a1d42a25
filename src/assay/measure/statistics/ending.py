"""How a sequential test ends: with an exact test when its items are used up, or early where that has no chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from assay.core.certificate import CertificateStatus, Look
from assay.core.errors import MeasurementError
from assay.measure.statistics.betting import bound_difference
from assay.measure.statistics.relative import confine_reference
from assay.measure.statistics.sequential import SequentialTest
from assay.measure.statistics.trinomial import GAMMA_SHARE, bound_loss
from assay.measure.statistics.wealth import Floats, Tally

HOPELESS = 0.02
"""A test goes on while the chance that it is certified in the end is above this."""
LIKELY = 0.5
"""A test that is not certified any more goes on while the chance that it is proven worse is above this."""
OPTIMISM = 0.99
"""That chance is taken at the lower bound of the loss at this confidence, with the items of the search counted."""
LEAST_FLIPS = 1.0
"""Flips supposed for the variance, so that an early look without any says little."""


def confine_loss(losses: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Lower and upper bound of the mean loss, each at one-sided confidence, valid at every number of items.

    Args:
        losses: ``[n]``, each in [-1, 1], n >= 1. Losses of -1, 0 and 1 get the exact bounds of a paired trinomial,
            others those of a betting martingale.
        confidence: one-sided.
    """
    if np.isin(losses, (-1.0, 0.0, 1.0)).all():
        lost, won, n = int((losses > 0).sum()), int((losses < 0).sum()), losses.size
        return -bound_loss(won, lost, n, confidence), bound_loss(lost, won, n, confidence)
    return bound_difference(losses, confidence)


def finish(test: SequentialTest, losses: NDArray[np.float64], confidence: float) -> tuple[CertificateStatus, Look]:
    """Conclude a sequential test whose items are used up.

    What the test has decided stands. Else the bounds for a fixed number of items decide; they take the error that
    the sequential test was not given, so that both together err with probability
    ``(1 - test.confidence) + (1 - confidence)`` at most, and so does the intersection of their intervals.

    Args:
        test: that has seen the losses.
        losses: ``[n]`` all of them.
        confidence: of the bounds for a fixed number of items.

    Raises:
        MeasurementError: the test has seen another number of items.
    """
    _match(test, losses.size)
    low, high = confine_loss(losses, confidence)
    seen = test.looks[-1]
    status = test.status
    if status is CertificateStatus.OPEN:
        status = _judge(low, high, (test.margin, test.margin))
    return status, _hold(Look(seen.n, seen.loss, max(low, seen.low), min(high, seen.high)))


def finish_relative(
    test: SequentialTest,
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    amount: float,
    confidence: float,
    *,
    higher_is_better: bool,
) -> tuple[CertificateStatus, Look, float]:
    """Conclude the sequential test of a relative tolerance, which has seen ``relative_losses``.

    Sharper than `finish`, where the scores are 0 and 1: the exact test is one of the plain losses against the amount
    times a bound of the reference, which takes ``GAMMA_SHARE`` of its error.

    Args:
        test: that has seen the relative losses, at margin 0.
        before: ``[n]`` all the reference's item scores.
        after: ``[n]`` the variant's.
        amount: tolerated share of the reference.
        confidence: of the bounds for a fixed number of items.
        higher_is_better: direction of the metric.

    Returns:
        Status, a look whose loss and bounds are those of the plain loss, and the margin that held in the exact test.

    Raises:
        MeasurementError: the test has seen another number of items.
    """
    _match(test, before.size)
    losses = before - after if higher_is_better else after - before
    gamma = GAMMA_SHARE * (1 - confidence)
    low, high = confine_loss(losses, confidence + gamma)
    least, most = confine_reference(before, gamma)
    status = test.status
    if status is CertificateStatus.OPEN:
        status = _judge(low, high, (amount * least, amount * most))
    return status, _hold(Look(losses.size, float(losses.mean()), low, high)), amount * least


def is_hopeless(test: SequentialTest, remaining: int, confidence: float) -> bool:
    """Whether the exact test at the end has next to no chance to certify, and hardly one to prove it worse.

    To stop then leaves the test open, so that it can only lower the probability of a false certificate.

    Args:
        test: so far.
        remaining: items not yet seen.
        confidence: of the exact test at the end.
    """
    if test.status is not CertificateStatus.OPEN or not test.n:
        return False
    prior = Tally.none() if test.prior is None else test.prior.tally()
    seen = test.moments.tally()
    if foresee(seen, prior, remaining, test.margin, confidence) >= HOPELESS:
        return False
    # What can still be proven worse is worth its items: an answer is better than none.
    return bool(foresee(seen.mirror(), prior.mirror(), remaining, -test.margin, confidence) < LIKELY)


def foresee(seen: Tally, prior: Tally, remaining: int, margin: float, confidence: float) -> Floats:
    """Chance that an exact test of all items certifies the margin, by a normal approximation; of many streams at once.

    The loss of the items to come is supposed to be the lower bound of the loss at confidence ``OPTIMISM``.

    Args:
        seen: sums over the losses seen, at least one.
        prior: sums over independent losses.
        remaining: items not yet seen.
        margin: tolerated loss.
        confidence: of the test.
    """
    known, n = seen + prior, seen.n + remaining
    mean = known.total / known.n
    variance = np.maximum(known.squares / known.n - mean**2, 0.0) + LEAST_FLIPS / known.n
    hoped = np.maximum(mean + special.ndtri(1 - OPTIMISM) * np.sqrt(variance / known.n), -1.0)
    # Where all flips are losses, fewer losses are less variance.
    kinder = np.maximum(variance + hoped - mean, np.maximum(np.abs(hoped) * (1 - np.abs(hoped)), LEAST_FLIPS / n))
    spent = seen.squares - seen.total**2 / seen.n
    needed = margin - special.ndtri(confidence) * np.sqrt((spent + remaining * kinder) / n / n)
    expected = (seen.total + remaining * hoped) / n
    spread = np.sqrt(max(remaining, LEAST_FLIPS) * kinder) / n
    chance: Floats = special.ndtr((needed - expected) / spread)
    return chance


def _judge(low: float, high: float, margins: tuple[float, float]) -> CertificateStatus:
    """Of an interval beside the least and the most that the margin may be."""
    if high <= margins[0]:
        return CertificateStatus.CERTIFIED
    return CertificateStatus.WORSE if low > margins[1] else CertificateStatus.OPEN


def _hold(look: Look) -> Look:
    """A look whose bounds hold its loss."""
    return Look(look.n, look.loss, min(look.low, look.loss), max(look.high, look.loss))


def _match(test: SequentialTest, n: int) -> None:
    """Refuse losses that are not those of the test."""
    if not n or test.n != n:
        raise MeasurementError(f"a test that has seen {test.n} items cannot be concluded from {n}")
