"""Populations of items whose functionals a variant changes by a known loss, for ``asymptotic_coverage.py``.

Each maker takes what breaks (in words), a share, the share of items that flip, and a generator; it gives the records
of the reference and of the variant.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Population = tuple[Floats, Floats]
"""Records of the reference and of the variant."""
POPULATION = 200_000


def make_scored(breaks: str, share: float, flips: float, rng: np.random.Generator) -> Population:
    """Scores of two classes 1.8 standard deviations apart, moved by 0.02; what breaks says something else."""
    truth = rng.random(POPULATION) < share
    score = rng.standard_normal(POPULATION) + 1.8 * truth
    moved = score + 0.02 * rng.standard_normal(POPULATION)
    broken = rng.random(POPULATION) < flips
    if breaks == "noise":
        moved = score + np.sqrt(5 * flips) * rng.standard_normal(POPULATION)
    else:
        moved[broken] = -3.0 if breaks == "dead" else rng.permutation(score)[broken]
    before, after = (np.column_stack([said, said > 1.2, truth]).astype(np.float64) for said in (score, moved))
    return before, after


def make_pairs(breaks: str, share: float, flips: float, rng: np.random.Generator) -> Population:
    """Numbers with a correlation of ``share``, moved by 0.02 everywhere; what breaks says something else."""
    truth = rng.standard_normal(POPULATION)
    said = share * truth + np.sqrt(1 - share**2) * rng.standard_normal(POPULATION)
    moved = said + 0.02 * rng.standard_normal(POPULATION)
    broken = rng.random(POPULATION) < flips
    if breaks == "noise":
        moved = said + np.sqrt(5 * flips) * rng.standard_normal(POPULATION)
    else:
        moved[broken] = {"dead": 0 * said, "turned": -said, "unrelated": rng.permutation(said)}[breaks][broken]
    return np.column_stack([said, truth]), np.column_stack([moved, truth])


def make_documents(breaks: str, share: float, flips: float, rng: np.random.Generator) -> Population:
    """Documents of 20 to 400 tokens (share 0: of 128), 3.2 +- 0.5 nats a token; what breaks loses twice as much."""
    tokens = rng.integers(20, 400, POPULATION) if share else np.full(POPULATION, 128)
    loss = np.clip(rng.normal(3.2, 0.5, POPULATION), 0.3, None)
    rise = 0.002 + 0.02 * rng.standard_normal(POPULATION)
    if breaks == "noise":
        rise = flips / 2 + 0.2 * rng.standard_normal(POPULATION)
    else:
        rise = np.where(rng.random(POPULATION) < flips, loss, rise)
    return np.column_stack([loss * tokens, tokens]), np.column_stack([(loss + rise) * tokens, tokens])


def make_clicks(breaks: str, share: float, flips: float, rng: np.random.Generator) -> Population:
    """Click rates around ``share``, logits moved by 0.02; what breaks gets another's rate, or next to none."""
    logit = np.log(share / (1 - share)) + rng.standard_normal(POPULATION)
    clicked = rng.random(POPULATION) < 1 / (1 + np.exp(-logit))
    moved = logit + 0.02 * rng.standard_normal(POPULATION)
    broken = rng.random(POPULATION) < flips
    if breaks == "noise":
        moved = logit + np.sqrt(5 * flips) * rng.standard_normal(POPULATION)
    else:
        moved[broken] = -6.0 if breaks == "dead" else rng.permutation(logit)[broken]
    before, after = (np.column_stack([1 / (1 + np.exp(-said)), clicked]) for said in (logit, moved))
    return before.astype(np.float64), after.astype(np.float64)


def make_labels(breaks: str, share: float, flips: float, rng: np.random.Generator) -> Population:
    """Five labels, the rarest with this share and each next one more frequent; in what breaks, all are missed."""
    frequency = np.minimum(0.5, share * 1.5 ** np.arange(5))
    truth = rng.random((POPULATION, 5)) < frequency
    said = np.where(truth, rng.random(truth.shape) < 0.85, rng.random(truth.shape) < 0.15 * frequency)
    if breaks == "all missed":
        moved = said & (rng.random((POPULATION, 1)) >= flips)
    else:
        moved = said ^ (rng.random(truth.shape) < flips * frequency)
    return np.stack([said, truth], axis=2).astype(np.float64), np.stack([moved, truth], axis=2).astype(np.float64)


def make_classes(breaks: str, share: float, flips: float, rng: np.random.Generator) -> Population:
    """Four classes, the rarest with this share, 85% right; what breaks is taken for another or for the first class."""
    rest = (1 - share) * np.array([0.5, 0.3, 0.2])
    truth = rng.choice(4, POPULATION, p=[*rest, share])
    other = rng.integers(0, 4, POPULATION)
    said = np.where(rng.random(POPULATION) < 0.85, truth, other)
    moved = np.where(rng.random(POPULATION) < flips, 0 if breaks == "dead" else rng.permutation(other), said)
    return np.column_stack([said, truth]).astype(np.float64), np.column_stack([moved, truth]).astype(np.float64)
