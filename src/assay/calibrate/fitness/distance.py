"""How far apart the values of a tensor lie in two sets, and how much of a range a set reaches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.calibrate.fitness.jackknife import clip_estimate, estimate_jackknife
from assay.calibrate.fitness.noise import read_edges
from assay.core.calibration import COARSE_BINS, TensorRange, TensorStatistics
from assay.core.estimate import Estimate

STEPS = 255


def list_groups(statistics: TensorStatistics) -> NDArray[np.int64]:
    """``[G, 4096]`` histograms by group of items, or of all values as one group where groups were not kept."""
    if statistics.groups is not None:
        return statistics.groups
    return np.asarray(statistics.histogram.reshape(1, COARSE_BINS, -1).sum(axis=2), np.int64)


def estimate_distance(one: TensorStatistics, other: TensorStatistics, items: int) -> Estimate:
    """Hellinger distance between the values of a tensor in two sets, 0 (equal) to 1 (disjoint).

    Magnitudes below half a step of eight bits over the larger set's range count as zero: no code tells them apart.

    Args:
        one: statistics of the first set.
        other: of the second set.
        items: of both sets.
    """
    largest = max(one.largest, other.largest)
    first, second = (_merge_tiny(list_groups(statistics), largest) for statistics in (one, other))
    total, rest = first.sum(axis=0), second.sum(axis=0)
    value = float(_find_hellinger(total[np.newaxis], rest[np.newaxis])[0])
    replicates = (
        _find_hellinger((total - first)[first.any(axis=1)], rest[np.newaxis]),
        _find_hellinger((rest - second)[second.any(axis=1)], total[np.newaxis]),
    )
    return clip_estimate(estimate_jackknife(value, replicates, "1", items), 0.0, 1.0)


def _merge_tiny(histogram: NDArray[np.int64], largest: float) -> NDArray[np.float64]:
    """Columns that hold a value, with the magnitudes that round to zero in the first one."""
    edges = read_edges(np.arange(histogram.shape[1]), histogram.shape[1])
    tiny = np.abs(edges).max(axis=0) <= largest / STEPS / 2
    zeros = histogram[:, tiny].sum(axis=1, keepdims=True)
    return np.concatenate([zeros, histogram[:, ~tiny]], axis=1).astype(np.float64)


def _find_hellinger(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[R]`` distances between rows of counts; sets without values are disjoint from all others."""
    sizes = first.sum(axis=1) * second.sum(axis=1)
    overlap = np.sqrt(first * second).sum(axis=1) / np.sqrt(np.maximum(sizes, 1))
    return np.asarray(np.sqrt(np.clip(1 - overlap, 0, 1)), np.float64)


def estimate_unused(limits: TensorRange, statistics: TensorStatistics, items: int) -> Estimate:
    """Share of a range that a set of so many items never reaches; zero counts as reached."""
    groups = list_groups(statistics)
    index = np.flatnonzero(groups.any(axis=0))
    edges = np.clip(read_edges(index, groups.shape[1]), statistics.low, statistics.high)
    held = groups.any(axis=1)
    left = (groups.sum(axis=0) - groups[held])[:, index] > 0
    low = np.where(left, edges[0], np.inf).min(axis=1, initial=np.inf)
    high = np.where(left, edges[1], -np.inf).max(axis=1, initial=-np.inf)
    value = float(_find_unused(limits, np.array([statistics.low]), np.array([statistics.high]))[0])
    return clip_estimate(estimate_jackknife(value, (_find_unused(limits, low, high),), "1", items), 0.0, 1.0)


def _find_unused(limits: TensorRange, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    width = limits.high - limits.low
    if width == 0:
        return np.zeros(len(low))
    reached = np.clip(high, 0, limits.high) - np.clip(low, limits.low, 0)
    return np.asarray(1 - reached / width, np.float64)
