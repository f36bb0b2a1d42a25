"""A test of a mean loss that may be looked at at any time, and stopped at any of the looks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.core.certificate import CertificateStatus, Look
from assay.core.errors import MeasurementError
from assay.measure.statistics.wealth import BLOCK, Floats, Tally, Wealth

GRID = 40
FINEST = 0.05
"""The confidence sequence knows losses to this share of the margin, and farther from it to a quarter."""
USUAL_GAP = 0.01
"""Stands for a margin of 0, of which nothing is known."""
LOOK_GROWTH = 1.2
FIRST_LOOK_SLACK = 1.05
"""The first look is a little beyond the fewest items, since bets are never quite the largest."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and variance of losses.

    Attributes:
        n: how many.
        variance: of the losses themselves, divided by n.
    """

    n: int
    mean: float
    variance: float

    @classmethod
    def of(cls, losses: Floats) -> Moments:
        """Of losses ``[n]``.

        Raises:
            MeasurementError: there are none, or one is outside [-1, 1].
        """
        if not losses.size:
            raise MeasurementError("there are no losses to take moments of", "give at least one item")
        _check(losses, 0)
        return cls(int(losses.size), float(losses.mean()), float(losses.var()))

    def tally(self) -> Tally:
        """The same as sums."""
        sums = (self.n, self.n * self.mean, self.n * (self.variance + self.mean**2))
        return Tally(*(np.array(float(one)) for one in sums))


class SequentialTest:
    """Is the mean loss below the margin, or above it? Items come in chunks; after each one the test may be stopped.

    Two families of betting martingales (``wealth.py``), over a fixed grid of candidate means that holds the margin:
    one rejects "the loss is at least c", the other "the loss is at most c". The upper bound is the lowest c from which
    on all candidates of the first kind are rejected; it is too low with probability ``1 - confidence`` at most, over
    all looks together, since that takes the rejection of the candidate next below the true loss. Lower bound alike.
    ``certified`` is an upper bound at the margin, ``worse`` a lower bound at it; once decided, it stays decided.

    Neither the decision nor the bounds depend on how the items are cut into chunks. Memory is constant.

    Args:
        margin: tolerated mean loss, in (-1, 1).
        confidence: of each of the two statements, over all looks together.
        prior: moments of independent losses, such as those of a search split; they size the bets.
        gap: distance of the loss to the margin if nothing changes; by default the margin.

    Raises:
        MeasurementError: a margin, confidence or gap out of range.
    """

    def __init__(
        self, margin: float, confidence: float, prior: Moments | None = None, gap: float | None = None
    ) -> None:
        if not -1 < margin < 1 or not 0 < confidence < 1:
            raise MeasurementError(
                f"a margin of {margin} at confidence {confidence} cannot be tested",
                "the margin lies between -1 and 1, the confidence between 0 and 1",
            )
        self.margin = margin
        self.confidence = confidence
        self.prior = prior
        self.gap = choose_gap(margin, prior) if gap is None else gap
        if not 0 < self.gap <= 1:
            raise MeasurementError(f"a gap of {self.gap} below the margin is not between 0 and 1")
        self._grid = lay_grid(margin, self.gap)
        known = suppose(margin, self.gap, prior)
        goal = -math.log1p(-confidence)
        self._above = Wealth(self._grid, goal, self.gap, known)
        self._below = Wealth(-self._grid[::-1], goal, self.gap, known.mirror())
        self._seen = Tally.none()
        self._status = CertificateStatus.OPEN
        self._looks: list[Look] = []

    @property
    def status(self) -> CertificateStatus:
        """Open until decided."""
        return self._status

    @property
    def looks(self) -> tuple[Look, ...]:
        """One for every chunk."""
        return tuple(self._looks)

    @property
    def n(self) -> int:
        """Items seen."""
        return int(self._seen.n)

    @property
    def loss(self) -> float:
        """Mean loss of the items seen.

        Raises:
            MeasurementError: none was seen.
        """
        return self.moments.mean

    @property
    def moments(self) -> Moments:
        """Of the items seen.

        Raises:
            MeasurementError: none was seen.
        """
        if not self.n:
            raise MeasurementError("no item was seen, so there is no loss", "add a chunk of losses first")
        mean = float(self._seen.total) / self.n
        return Moments(self.n, mean, max(0.0, float(self._seen.squares) / self.n - mean**2))

    def add(self, losses: Floats) -> Look:
        """Take in the next items and look.

        Args:
            losses: ``[n]`` of items in an order that does not depend on them; each in [-1, 1], positive is worse.

        Returns:
            The look; its bounds hold at all looks together, and are widened where the mean itself lies outside.

        Raises:
            MeasurementError: no losses, or one outside [-1, 1].
        """
        if losses.ndim != 1 or not losses.size:
            raise MeasurementError(f"losses of shape {list(losses.shape)} are no chunk", "give at least one item")
        _check(losses, self.n)
        for start in range(0, losses.size, BLOCK):
            block = np.asarray(losses[start : start + BLOCK], np.float64)
            self._above.add(block)
            self._below.add(-block)
            self._seen = self._seen + Tally.of(block)
        low, high = self._bound()
        if self._status is CertificateStatus.OPEN:
            if high <= self.margin:
                self._status = CertificateStatus.CERTIFIED
            elif low >= self.margin:
                self._status = CertificateStatus.WORSE
        look = Look(self.n, self.loss, min(low, self.loss), max(high, self.loss))
        self._looks.append(look)
        return look

    def _bound(self) -> tuple[float, float]:
        """The confidence sequence, rounded outwards to the grid."""
        high = _end_of_run(self._grid, self._above.crossed[::-1] > 0)
        low = -_end_of_run(-self._grid[::-1], self._below.crossed[::-1] > 0)
        return low, high


def choose_gap(margin: float, prior: Moments | None) -> float:
    """Distance of the loss to the margin if nothing is lost, where nobody tells it."""
    if margin > 0:
        return margin
    known = 0.0 if prior is None else margin - prior.mean
    return known if known > 0 else USUAL_GAP


def suppose(margin: float, gap: float, prior: Moments | None) -> Tally:
    """What bets start from."""
    supposed = Tally.suppose(margin - gap, gap)
    return supposed if prior is None else supposed + prior.tally()


def lay_grid(margin: float, gap: float) -> Floats:
    """Candidate means, ascending: the margin, and others ever farther from it."""
    offsets = np.geomspace(FINEST * gap, 2, GRID)
    grid = np.concatenate([margin - offsets[::-1], [margin], margin + offsets])
    inside: Floats = grid[(grid > -1) & (grid < 1)]
    return inside


def plan_looks(n: int, margin: float, confidence: float) -> tuple[int, ...]:
    """How many items are to be seen at each look of a sequential test, ascending; the last is n.

    The first look is where it could be certified if nothing flips; each further one after a fifth more items.

    Args:
        n: items at hand (>= 1).
        margin: tolerated loss, in (0, 1); of a relative tolerance the amount times the reference, or the amount.
        confidence: of the sequential test.

    Raises:
        MeasurementError: no items, or a margin or confidence out of range.
    """
    if n < 1 or not 0 < margin < 1 or not 0 < confidence < 1:
        raise MeasurementError(f"no looks at {n} items can be planned for a margin of {margin} at {confidence}")
    ends: list[int] = []
    end = math.ceil(FIRST_LOOK_SLACK * math.log1p(-confidence) / math.log1p(-margin))
    while end < n:
        ends.append(end)
        end = math.ceil(end * LOOK_GROWTH)
    # A last chunk that is hardly one joins the one before.
    if len(ends) > 1 and n - ends[-1] < (LOOK_GROWTH - 1) / 2 * ends[-1]:
        ends.pop()
    return (*ends, n)


def find_crossings(losses: Floats, margin: float, confidence: float, prior: Tally, gap: float) -> NDArray[np.int64]:
    """When many streams at once would be certified, for simulations: by the very bets of the test, at the margin only.

    Args:
        losses: ``[streams, n]``.
        margin: tolerated loss.
        confidence: of the sequential test.
        prior: ``[streams]`` sums over independent losses.
        gap: as in the test.

    Returns:
        ``[streams]`` items seen when the margin is first rejected, 0 where it never is. The test itself asks for the
        rejection of larger losses as well, and so is certified later, if ever.
    """
    known = Tally.suppose(margin - gap, gap) + prior + Tally(*(np.zeros(len(losses)) for _ in range(3)))
    wealth = Wealth(np.array([margin]), -math.log1p(-confidence), gap, known)
    wealth.add(losses)
    return wealth.crossed[:, 0]


def _end_of_run(candidates: Floats, rejected_from_top: NDArray[np.bool_]) -> float:
    """The lowest of the candidates down to which all are rejected; 1 where not even the top one is."""
    run = int(rejected_from_top.argmin()) if not rejected_from_top.all() else rejected_from_top.size
    return float(candidates[len(candidates) - run]) if run else 1.0


def _check(losses: Floats, seen: int) -> None:
    """Refuse what is no loss."""
    outside = np.flatnonzero(~((losses >= -1) & (losses <= 1)))
    if outside.size:
        index = int(outside[0])
        raise MeasurementError(
            f"the loss of item {seen + index} is {losses[index]}, outside [-1, 1]",
            "a test that may be stopped at any time needs bounded losses",
        )
