"""Whether sets drawn alike would do as much harm: random splits of the items of both sets.

The ranges of a set are known exactly, but which items came into it is chance. Ranges hang on the few largest values,
so two small sets of one source differ, the more the heavier the tails. Under random splits of all items of both sets
into two of the same sizes, whatever the values are, the split at hand is one like the others; harm that none of them
reaches is therefore no chance. Statistics know items by groups, so groups are what a split deals out; noise comes from
their coarse histograms, for the split at hand as for the others.

Source: Pitman 1937, "Significance tests which may be applied to samples from any populations"; stopping at the first
split as harmful: Besag and Clifford 1991, "Sequential Monte Carlo p-values".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from assay.calibrate.fitness.harm import LOST_DB, UNFIT_DB, WEIGHT_NOISE, TensorHarm
from assay.calibrate.fitness.noise import describe_density, read_edges
from assay.calibrate.ranges.solve import solve_range
from assay.core.calibration import COARSE_BINS, GROUPS, Calibration, TensorRange, TensorStatistics
from assay.core.plan import Scheme

SPLITS = 99
"""The smallest p-value is 1 in 100."""

FINE_BINS = 65_536 // COARSE_BINS
"""Bins of a whole histogram for each one of a group's."""

SLACK = 1e-9
"""Relative slack for float sums: a split that equals the one at hand must count."""


@dataclass(frozen=True, slots=True)
class Both:
    """A tensor's values in both sets, by group.

    Attributes:
        groups: ``[2 GROUPS, COARSE_BINS] int64``, of the calibration set and then of the other.
        whole: statistics whose minimum and maximum hold all values of both sets.
    """

    groups: NDArray[np.int64]
    whole: TensorStatistics

    def gather(self, taken: NDArray[np.bool_]) -> TensorStatistics:
        """Statistics of the groups that are taken, as far as a range is solved from them; sixteen times the counts."""
        counts = self.groups[taken].sum(axis=0)
        edges = read_edges(np.flatnonzero(counts), COARSE_BINS)
        fine = np.repeat(counts, FINE_BINS)
        for zero in (0, COARSE_BINS // 2):  # the bin of zero is its own first fine one
            fine[zero * FINE_BINS : (zero + 1) * FINE_BINS] = 0
            fine[zero * FINE_BINS] = counts[zero] * FINE_BINS
        low, high = np.clip([edges.min(initial=0.0), edges.max(initial=0.0)], self.whole.low, self.whole.high)
        return replace(
            self.whole, histogram=fine, low=float(low), high=float(high), count=int(fine.sum()), groups=None, sums=None
        )

    def measure_ratio(self, taken: NDArray[np.bool_], scheme: Scheme) -> tuple[float, float]:
        """Noise-to-signal ratio of what is left under the range of what is taken, and under its own."""
        dialect = scheme.dialect
        calibration, sample = self.gather(taken), self.gather(~taken)
        density = describe_density(self.groups[~taken].sum(axis=0, keepdims=True), sample)
        energy = float(density.energy[0])
        if energy == 0:
            return WEIGHT_NOISE, WEIGHT_NOISE

        def measure(statistics: TensorStatistics) -> float:
            limits = TensorRange(0.0, 0.0)
            if statistics.count:
                limits = solve_range(statistics, scheme.ranges, dialect.activation, symmetric=dialect.symmetric)
            return float(density.measure_noise(limits, dialect)[0]) / energy + WEIGHT_NOISE

        return measure(calibration), measure(sample)


def find_chance(
    calibration: Calibration,
    sample: Calibration,
    harms: Sequence[TensorHarm],
    scheme: Scheme,
    rng: np.random.Generator,
) -> float:
    """p-value of the harm against that of sets drawn alike, at least 0.01; 1.0 where no tensor is known by group.

    Harm is the larger of the excess noise over all tensors, in units of what makes a set unfit, and that of the worst
    single tensor, in units of what makes a tensor lost.

    Args:
        calibration: statistics of the set that is judged, with a sketch.
        sample: of the other set, with a sketch.
        harms: tensors that are judged.
        scheme: how ranges are solved and what codes they have.
        rng: draws the splits.
    """
    tensors = list(_list_tensors(calibration, sample, harms))
    if not tensors:
        return 1.0
    sizes = np.concatenate([count_items(calibration), count_items(sample)])
    first = np.arange(2 * GROUPS) < GROUPS
    observed = _measure(tensors, first, scheme)
    for drawn in range(1, SPLITS + 1):
        taken = draw_split(sizes, calibration.items, rng)
        if _measure(tensors, taken, scheme) >= observed * (1 - SLACK):
            return 1 / drawn
    return 1 / (SPLITS + 1)


def count_items(calibration: Calibration) -> NDArray[np.float64]:
    """``[GROUPS]`` items of each group; from the sketch where this does not hold all of them."""
    sketch = calibration.sketch
    if sketch is None:
        return np.zeros(GROUPS)
    groups = (sketch.hashes % np.uint64(GROUPS)).astype(np.int64)
    counts = np.bincount(groups, weights=sketch.repeats, minlength=GROUPS)
    return np.asarray(counts * (calibration.items / max(1, sketch.repeats.sum())), np.float64)


def draw_split(sizes: NDArray[np.float64], items: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Groups in random order up to about so many items; at least one group on either side.

    Args:
        sizes: ``[U]`` items of each group, of which two or more hold one.
        items: wanted on the one side.
        rng: draws the order.

    Returns:
        ``[U]``, whether the group is on that side.
    """
    held = rng.permutation(np.flatnonzero(sizes))
    reached = np.cumsum(sizes[held])[:-1]
    taken = np.zeros(len(sizes), np.bool_)
    taken[held[: int(np.abs(reached - items).argmin()) + 1]] = True
    return taken


def _list_tensors(calibration: Calibration, sample: Calibration, harms: Sequence[TensorHarm]) -> Iterator[Both]:
    for harm in harms:
        one, other = calibration.tensors[harm.fitness.tensor], sample.tensors[harm.fitness.tensor]
        if one.groups is not None and other.groups is not None:
            extremes = replace(other, low=min(one.low, other.low), high=max(one.high, other.high))
            yield Both(np.concatenate([one.groups, other.groups]), extremes)


def _measure(tensors: Sequence[Both], taken: NDArray[np.bool_], scheme: Scheme) -> float:
    """Harm of a split, 1 where unfit begins."""
    ratios = np.array([tensor.measure_ratio(taken, scheme) for tensor in tensors])
    total = 10 * np.log10(ratios[:, 0].sum() / ratios[:, 1].sum())
    single = 10 * np.log10(ratios[:, 0] / ratios[:, 1])
    return float(max(total / UNFIT_DB, single.max() / LOST_DB))
