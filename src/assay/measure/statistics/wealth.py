"""Wealth of gamblers who bet that a mean lies below a candidate: the engine of every sequential test.

A gambler's wealth ``prod(1 + bet_t (c - x_t))`` with ``0 <= bet_t <= 1 / (1 - c)``, each bet fixed before its number is
seen, is a nonnegative supermartingale if the mean is c or more: it ever reaches ``1 / alpha`` with probability alpha
at most (Ville's inequality; Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS B
86, 2024). Bets follow from the moments of the earlier numbers alone, so they can be of any cleverness.

Here they grow the wealth fastest if the numbers are as unkind as their mean and variance v allow: c - x is then either
at its worst, ``c - 1``, or at one other value (the extremal distribution of a function like the logarithm, whose third
derivative is positive; Karlin and Studden, Tchebycheff Systems, 1966). For two values the best bet is Kelly's::

    bet = (c - mean) / ((1 - c) (c - mean + v / (1 - mean)))

which is Kelly's bet for numbers of 0 and 1, about ``(c - mean) / v`` where the variance is large, and the largest bet
where there is no variance. The mean in it is the posterior mean given that it lies below c: a bet can be won in no
other case, so that an unlucky start does not end the betting.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

LARGEST_SHARE = 0.9999
"""Bets stay below this share of the largest one, so that no single number takes all the wealth."""
PRIOR_FLIPS = 0.1
"""Supposed flips before any is seen: surprise at the first one costs the more, the smaller this is, and a run without
flips takes longer, the larger it is (4% longer here, without items of a search)."""
FIRST_STEPS = 0.25
STEP_SHARE = 0.1
"""Bets are made anew after ``FIRST_STEPS / gap`` numbers, and then each time this share of numbers is added."""
BLOCK = 512
"""Numbers taken at once, so that memory does not grow with them."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over numbers, of one shape or of shapes that broadcast.

    Attributes:
        n: how many numbers.
        total: their sum.
        squares: sum of their squares.
    """

    n: Floats
    total: Floats
    squares: Floats

    def mirror(self) -> Tally:
        """The tally of the numbers' negatives."""
        return Tally(self.n, -self.total, self.squares)

    @classmethod
    def none(cls) -> Tally:
        """Of no numbers."""
        return cls(np.zeros(()), np.zeros(()), np.zeros(()))

    @classmethod
    def of(cls, numbers: Floats) -> Tally:
        """Sums over the last axis."""
        return cls(np.array(float(numbers.shape[-1])), numbers.sum(axis=-1), np.square(numbers).sum(axis=-1))

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @classmethod
    def suppose(cls, usual: float, gap: float) -> Tally:
        """What is believed before any number: ``1 / gap`` numbers about ``usual``, with few flips among them."""
        return cls(np.array(1 / gap), np.array(usual / gap), np.array(usual**2 / gap + PRIOR_FLIPS))


class Wealth:
    """Gamblers against "the mean is at least c", one for each candidate c, over any number of streams at once.

    The outcome depends on the order of the numbers but not on how they are cut into chunks.

    Args:
        candidates: ``[candidates]``, each in (-1, 1).
        goal: logarithm of the wealth that rejects a candidate, ``log(1 / alpha)``.
        gap: distance of the mean to the candidate of interest if nothing is lost; sets how often bets are renewed.
        prior: ``[streams...]`` independent knowledge of the numbers, supposed ones included.

    Attributes:
        crossed: ``[streams..., candidates]`` numbers seen when the candidate was first rejected; 0 while it is not.
    """

    def __init__(self, candidates: Floats, goal: float, gap: float, prior: Tally) -> None:
        shape = (*np.shape(prior.total), len(candidates))
        self._candidates = candidates
        self._goal = goal
        self._first = max(1, math.ceil(FIRST_STEPS / gap))
        self._known = prior
        self._n = 0
        self._next = 0
        self._bets: Floats = np.zeros(shape)
        self._logs: Floats = np.zeros(shape)
        self.crossed: NDArray[np.int64] = np.zeros(shape, np.int64)

    def add(self, numbers: Floats) -> None:
        """Take in further numbers ``[streams..., n]``, each in [-1, 1]."""
        start, count = 0, numbers.shape[-1]
        while start < count:
            if self._n == self._next:
                self._bets = size_bets(self._candidates, self._known)
                self._next += max(self._first, int(STEP_SHARE * self._n))
            stop = min(count, start + min(self._next - self._n, BLOCK))
            self._play(numbers[..., start:stop])
            start = stop

    def _play(self, numbers: Floats) -> None:
        """Numbers for which the bets stay as they are."""
        axes = tuple(range(self.crossed.ndim - 1))
        live = np.flatnonzero(((self.crossed == 0) & (self._bets > 0)).any(axis=axes))
        bets, candidates = self._bets[..., live, None], self._candidates[live, None]
        path = np.log(1 + bets * (candidates - numbers[..., None, :]))
        np.cumsum(path, axis=-1, out=path)
        path += self._logs[..., live, None]
        self._logs[..., live] = path[..., -1]
        reached = path >= self._goal
        before = self.crossed[..., live]
        first = self._n + 1 + reached.argmax(axis=-1)
        self.crossed[..., live] = np.where((before == 0) & reached.any(axis=-1), first, before)
        self._n += numbers.shape[-1]
        self._known = self._known + Tally.of(numbers)


def size_bets(candidates: Floats, known: Tally) -> Floats:
    """Bets against each candidate ``[streams..., candidates]``, from what is known of the numbers."""
    mean = np.clip(known.total / known.n, -1, LARGEST_SHARE)[..., None]
    variance = np.maximum((known.squares / known.n)[..., None] - mean**2, PRIOR_FLIPS / known.n[..., None])
    error = np.sqrt(variance / known.n[..., None])
    # The posterior mean given that it is below the candidate: of a normal, cut off there.
    shift = error * math.sqrt(2 / math.pi) / special.erfcx((mean - candidates) / error / math.sqrt(2))
    edge = candidates - mean + shift
    share = edge / (edge + variance / (1 - mean + shift))
    bets: Floats = np.clip(share, 0, LARGEST_SHARE) / (1 - candidates)
    return bets
