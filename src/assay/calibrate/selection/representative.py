"""A small subset of many items whose features are spread like those of all.

The subset of least maximum mean discrepancy under a Gaussian kernel (Gretton et al. 2012, "A kernel two-sample test"),
sought by exchanging one item after the other for the best of all others. The kernel is one of random Fourier features
(Rahimi and Recht 2007), so that an exchange costs one pass over the items. Where bulk and tails of the pool are in the
subset at their own weight, ranges solved from it are those of the pool. Methods that seek coverage alone (farthest
points, cluster centres) were worse than chance: they overweight the tails, or leave them out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import RequestError

FREQUENCIES = 256
SWEEPS = 2
"""Times that each chosen item is offered for exchange."""
SAMPLED = 256
"""Items whose distances set the width of the kernel."""
QUARTILES_OF_NORMAL = 1.349
"""Distance of the quartiles of a normal distribution, in standard deviations."""


def choose_spread(features: NDArray[np.float32], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Items whose features are spread like those of all; of equal ones, the first comes first and the others last.

    Takes time in proportion to ``N (n + F)``.

    Args:
        features: ``[N, F]``, such as a sketch's; features that are not finite on every item are left out.
        n: items to choose (>= 1); all where there are fewer.
        rng: draws the start and the kernel.

    Returns:
        ``[min(n, N)]`` rising indices.

    Raises:
        RequestError: ``n`` is below 1.
    """
    if n < 1:
        raise RequestError(f"{n} items are asked for", "give 1 or more")
    features = features[:, np.isfinite(features).all(axis=0)]
    _, firsts = np.unique(features, axis=0, return_index=True)
    firsts = np.sort(firsts)
    if n >= len(firsts):
        others = np.setdiff1d(np.arange(len(features)), firsts)
        more = rng.permutation(others)[: n - len(firsts)]
        return np.sort(np.concatenate([firsts, more])).astype(np.int64)
    standard = standardise(features[firsts])
    chosen = _exchange(_map_to_kernel(standard, rng), n, rng)
    return np.sort(firsts[chosen]).astype(np.int64)


def standardise(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Features with median 0 and the spread of a standard normal; what lies further out counts by its logarithm.

    Args:
        features: ``[N, F]``, finite.

    Returns:
        ``[N, G]``, without features that are constant.
    """
    values = features.astype(np.float64)
    low, median, high = np.percentile(values, [25, 50, 75], axis=0)
    spread = np.where(high > low, (high - low) / QUARTILES_OF_NORMAL, values.std(axis=0))
    moving = spread > 0
    scaled = (values[:, moving] - median[moving]) / spread[moving]
    far = np.abs(scaled)
    bent: NDArray[np.float64] = np.sign(scaled) * np.minimum(far, 1 + np.log(np.maximum(far, 1)))
    return bent


def _map_to_kernel(points: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float32]:
    """Random Fourier features, centred, so that sums near zero mean a subset like the whole; ``[N, 512]``."""
    sample = points[rng.permutation(len(points))[:SAMPLED]]
    squares = np.square(sample).sum(axis=1)
    distances = squares[:, None] + squares - 2 * sample @ sample.T
    positive = distances[np.triu_indices(len(sample), 1)]
    positive = positive[positive > 0]
    width = float(np.sqrt(np.median(positive))) if positive.size else 1.0
    frequencies = rng.normal(0, 1 / width, (points.shape[1], FREQUENCIES))
    phases = (points @ frequencies).astype(np.float32)
    mapped = np.concatenate([np.cos(phases), np.sin(phases)], axis=1)
    mapped -= mapped.mean(axis=0)
    return mapped


def _exchange(mapped: NDArray[np.float32], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``n`` rows whose sum is near zero: from random ones, each in turn gives way to the best of the others."""
    chosen = rng.permutation(len(mapped))[:n]
    squares = np.square(mapped).sum(axis=1)
    free = np.ones(len(mapped), dtype=np.bool_)
    free[chosen] = False
    total = mapped[chosen].sum(axis=0)
    for place in np.tile(np.arange(n), SWEEPS):
        total -= mapped[chosen[place]]
        free[chosen[place]] = True
        best = int(np.argmin(np.where(free, 2 * (mapped @ total) + squares, np.inf)))
        chosen[place] = best
        free[best] = False
        total += mapped[best]
    return chosen
