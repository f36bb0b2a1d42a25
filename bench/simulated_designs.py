"""What `false_accepts.py` simulates: flips and losses of a known mean, and the designs that certify them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from assay.measure.statistics.betting import exceeds
from assay.measure.statistics.ending import HOPELESS, LIKELY, foresee
from assay.measure.statistics.sequential import find_crossings, plan_looks
from assay.measure.statistics.trinomial import GAMMA_SHARE, compute_p_value, confine_rate
from assay.measure.statistics.wealth import Tally

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
ALPHA = 0.05
HALF = 1 - ALPHA / 2
SEARCH_SHARE, MOST_SEARCH = 0.2, 1000
CANDIDATES = 20
CORRELATION = 0.6


@dataclass(frozen=True)
class Cell:
    """What is simulated."""

    design: str
    losses: str
    n: int
    margin: float
    rate: float
    factor: float


def split_rates(cell: Cell) -> tuple[float, float]:
    """Rates of lost and of won flips."""
    loss = cell.margin * cell.factor
    rate = max(cell.rate, loss)
    return (rate + loss) / 2, (rate - loss) / 2


def draw_flips(cell: Cell, rng: np.random.Generator) -> Draw:
    """Losses of -1, 0 and 1."""
    lost_rate, won_rate = split_rates(cell)

    def draw(streams: int) -> Floats:
        uniform = rng.random((streams, cell.n), dtype=np.float32)
        return (uniform < lost_rate).astype(np.float64) - (uniform > 1 - won_rate)

    return draw


def draw_bounded(cell: Cell, rng: np.random.Generator) -> Draw:
    """Losses as of NDCG (a share of the queries changes by a Beta(1, 4) up or down), or of a rare total loss."""
    loss = cell.margin * cell.factor

    def draw_changes(streams: int) -> Floats:
        rate = max(cell.rate, 5 * loss)
        which = rng.random((streams, cell.n), dtype=np.float32)
        sign = 2.0 * (which < (rate + 5 * loss) / 2) - (which < rate)
        return (1 - np.sqrt(np.sqrt(rng.random((streams, cell.n))))) * sign

    def draw_rare(streams: int) -> Floats:
        gain = cell.margin
        return np.where(rng.random((streams, cell.n)) < (loss + gain) / (1 + gain), 1.0, -gain)

    return draw_changes if cell.losses == "changes" else draw_rare


def draw_candidates(cell: Cell, true: Floats, streams: int, rng: np.random.Generator) -> Floats:
    """Losses ``[streams, candidates, n]`` of candidates with these true losses, correlated by a Gaussian copula.

    What is hard for one candidate is hard for all.
    """
    shared = math.sqrt(CORRELATION) * rng.standard_normal((streams, cell.n))
    uniform = rng.random((streams, len(true), cell.n), dtype=np.float32)
    losses = np.empty(uniform.shape)
    for loss in np.unique(true):
        rate = max(cell.rate, cell.margin * cell.factor)
        own = math.sqrt(1 - CORRELATION)
        lost = special.ndtr((shared + special.ndtri((rate + loss) / 2)) / own).astype(np.float32)[:, None]
        won = special.ndtr((special.ndtri((rate - loss) / 2) - shared) / own).astype(np.float32)[:, None]
        those = true == loss
        losses[:, those] = (uniform[:, those] < lost).astype(np.float64) - (uniform[:, those] > 1 - won)
    return losses


LIMITS: dict[tuple[int, float, float], dict[int, int]] = {}
"""Most lost flips with which the exact test certifies, by flips; for each number of items, margin and confidence."""


def find_limits(flips: NDArray[np.int64], n: int, margin: float, confidence: float) -> NDArray[np.int64]:
    """Most lost flips with which the exact test certifies, for ascending numbers of flips; -1 where it never does."""
    known = LIMITS.setdefault((n, margin, confidence), {})
    gamma = (1 - confidence) * GAMMA_SHARE
    critical = -stats.norm.ppf(confidence)
    for count in flips.tolist():
        rates = confine_rate(count, n, gamma)
        spread = math.sqrt(max(count, n * margin) + count / 2 - n * margin**2)
        if count not in known:
            lost = int(np.clip((count + n * margin + critical * spread) / 2, 0, count))
            while lost >= 0 and compute_p_value(lost, count - lost, n, margin, rates, gamma) > 1 - confidence:
                lost -= 1
            while 0 <= lost < count:
                if compute_p_value(lost + 1, count - lost - 1, n, margin, rates, gamma) > 1 - confidence:
                    break
                lost += 1
            known[count] = lost
        # The statistic at which it certifies hardly depends on the flips: the next number is begun from here.
        critical = (2 * known[count] + 1 - count - n * margin) / spread
    return np.array([known[count] for count in flips.tolist()])


def certify(lost: NDArray[np.int64], won: NDArray[np.int64], n: int, margin: float, confidence: float) -> Bools:
    """The exact test of many streams, by its critical values."""
    flips, where = np.unique(lost + won, return_inverse=True)
    accepted: Bools = lost <= find_limits(flips, n, margin, confidence)[where].reshape(lost.shape)
    return accepted


def accept_exactly(n: int, margin: float, lost_rate: float, won_rate: float) -> float:
    """Probability that the exact test certifies."""
    rate = lost_rate + won_rate
    low, high = stats.binom.ppf([1e-7, 1 - 1e-7], n, rate).astype(int)
    flips = np.arange(low, high + 1)
    limits = find_limits(flips, n, margin, 1 - ALPHA)
    below = np.where(limits < 0, 0.0, stats.binom.cdf(limits, flips, lost_rate / rate))
    return float((stats.binom.pmf(flips, n, rate) * below).sum())


Draw = Callable[[int], Floats]
"""Losses of so many streams, ``[streams..., n]``."""
Finish = Callable[[Floats, float], Bools]
"""Whether the test of a fixed number of items certifies each stream, at a confidence."""


def run_sequence(losses: Floats, margin: float, searched: int, finish: Finish) -> tuple[Bools, NDArray[np.int64]]:
    """The sequential design for streams ``[streams, n]``: certified or not, and items used of the certification."""
    prior, rest = Tally.of(losses[:, :searched]), losses[:, searched:]
    available = rest.shape[1]
    crossings = find_crossings(rest, margin, HALF, prior, margin)
    certified, done = np.zeros(len(losses), bool), np.zeros(len(losses), bool)
    used = np.full(len(losses), available)
    seen, last = Tally.none(), 0
    for look in plan_looks(available, margin, HALF):
        seen, last = seen + Tally.of(rest[:, last:look]), look
        crossed = ~done & (crossings > 0) & (crossings <= look)
        certified |= crossed
        hopeless = np.zeros_like(done)
        if look < available:
            lost = foresee(seen, prior, available - look, margin, HALF) < HOPELESS
            unproven = foresee(seen.mirror(), prior.mirror(), available - look, -margin, HALF) < LIKELY
            hopeless = ~done & ~crossed & lost & unproven
        used[crossed | hopeless] = look
        done |= crossed | hopeless
    left = np.flatnonzero(~done)
    if left.size:
        certified[left] = finish(rest[left], margin)
    return certified, used


def finish_flips(losses: Floats, margin: float) -> Bools:
    """The exact test of flips at half of the error rate."""
    lost, won = (losses > 0).sum(axis=1), (losses < 0).sum(axis=1)
    return certify(lost, won, losses.shape[1], margin, HALF)


def finish_bounded(losses: Floats, margin: float, confidence: float = HALF) -> Bools:
    """The betting bound of a fixed number of items."""
    return exceeds((1 - losses) / 2, (1 - margin) / 2, confidence)


def count_searched(n: int) -> int:
    """Items of the search split."""
    return min(int(SEARCH_SHARE * n), MOST_SEARCH)


def choose(losses: Floats, costs: Floats, margin: float) -> tuple[NDArray[np.int64], Floats]:
    """Index of the chosen candidate for each replication, -1 for none; and items used, per item of the certification.

    Candidates are tested in the order of a bound of their loss on the search items, those only that are cheaper than
    all before; testing ends at the first that is not certified.
    """
    size, _, n = losses.shape
    searched = count_searched(n)
    search = losses[..., :searched]
    mean, flips = search.mean(axis=2), np.abs(search).sum(axis=2)
    upper = mean + stats.norm.ppf(1 - ALPHA) * np.sqrt((flips + 2) / searched - mean**2) / np.sqrt(searched)
    if n - searched >= 2 * plan_looks(n, margin, HALF)[0]:
        flat, used = run_sequence(losses.reshape(-1, n), margin, searched, finish_flips)
        certified, used = flat.reshape(size, -1), used.reshape(size, -1)
    else:
        rest = losses[..., searched:]
        certified = certify((rest > 0).sum(axis=2), (rest < 0).sum(axis=2), n - searched, margin, 1 - ALPHA)
        used = np.full((size, CANDIDATES), n - searched)
    chosen, spent = np.full(size, -1), np.zeros(size)
    going, cheapest = np.ones(size, bool), np.full(size, np.inf)
    every = np.arange(size)
    for candidate in np.argsort(upper, axis=1).T:
        cost = costs[every, candidate]
        tested = going & (cost < cheapest)
        passed = certified[every, candidate]
        spent += np.where(tested, used[every, candidate], 0)
        chosen = np.where(tested & passed, candidate, chosen)
        cheapest = np.where(tested, cost, cheapest)
        going &= ~tested | passed
    return chosen, spent / (n - searched)
