"""The metrics that hold a variant against what the reference says, rather than against the truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.core.session import Metric

AGREEMENT = Metric("agreement", higher_is_better=True, labelled=False)
"""Share of items predicted as the reference predicts them; it has no item scores of its own and needs no targets."""
EMBEDDING = "embedding"
COSINE = Metric("cosine", higher_is_better=True, labelled=False, record=EMBEDDING)
"""Mean over items of the cosine of a vector with the reference's; negative ones count as 0. It needs no targets."""


def is_relative(metric: Metric) -> bool:
    """Whether the metric is of what the reference says, so that the reference's own value is 1 on every item."""
    return metric.name in {AGREEMENT.name, COSINE.name}


def align(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine of each item's vectors, ``[n]``, within 0 to 1; 0 where one has no direction or is not finite.

    Args:
        before: ``[n, d]`` of the reference.
        after: ``[n, d]`` of the variant.
    """
    return np.clip(compare_vectors(before, after), 0.0, 1.0)


def compare_vectors(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosines along the last axis; 0 for vectors without a direction, or with a NaN or infinity."""
    left, right = (np.nan_to_num(values, posinf=0.0, neginf=0.0) for values in (one, other))
    lengths = np.linalg.norm(left, axis=-1) * np.linalg.norm(right, axis=-1)
    sound = np.isfinite(one).all(axis=-1) & np.isfinite(other).all(axis=-1) & (lengths > 0)
    cosines: NDArray[np.float64] = np.where(sound, (left * right).sum(axis=-1) / np.where(sound, lengths, 1.0), 0.0)
    return cosines
