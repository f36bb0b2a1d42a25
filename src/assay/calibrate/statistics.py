"""Streaming statistics of a tensor: one pass, no range needed beforehand, merged without loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from assay.core.calibration import TensorStatistics
from assay.core.tensor import Array

BINS = 1 << 16
CHUNK = 1 << 18
"""Elements handled at once: the temporaries of ``bincount`` (8 bytes an element) stay in the cache."""

INFINITY_BIN = 0x7F80
"""First bin of +Inf and NaN; the negative ones start at this bin with the sign bit set."""
SIGN_BIN = 0x8000
UPPER_HALF = 1 if np.little_endian else 0


class StatisticsBuilder:
    """Accumulates arrays into the statistics of one tensor; memory does not grow with what is added.

    The sums are kept exactly, so the same arrays in another order give the same statistics bit for bit.
    """

    def __init__(self) -> None:
        self._histogram = np.zeros(BINS, np.int64)
        self._low = math.inf
        self._high = -math.inf
        self._total = Fraction(0)
        self._total_squares = Fraction(0)
        self._zeros = 0

    def add(self, values: Array) -> int:
        """Take in all values of an array of any shape, as float32.

        Returns:
            The number of NaN and infinite values in it.
        """
        flat = np.ascontiguousarray(values, np.float32).reshape(-1)
        return sum(self._add_chunk(flat[start : start + CHUNK]) for start in range(0, flat.size, CHUNK))

    def _add_chunk(self, chunk: NDArray[np.float32]) -> int:
        counts = np.bincount(chunk.view(np.uint16)[UPPER_HALF::2], minlength=BINS)
        self._histogram += counts
        nonfinite = count_nonfinite(counts)
        finite = chunk[np.isfinite(chunk)] if nonfinite else chunk
        if finite.size:
            self._low = min(self._low, float(finite.min()))
            self._high = max(self._high, float(finite.max()))
            wide = finite.astype(np.float64)
            self._total += Fraction(float(wide.sum()))
            # Not a dot product: a threaded BLAS sums in an order that depends on the number of threads.
            self._total_squares += Fraction(float(np.square(wide, out=wide).sum()))
        if counts[0] or counts[SIGN_BIN]:
            self._zeros += chunk.size - int(np.count_nonzero(chunk))
        return nonfinite

    def build(self) -> TensorStatistics:
        """Statistics of everything added so far; ``low`` and ``high`` are 0 where nothing finite was."""
        nonfinite = count_nonfinite(self._histogram)
        count = int(self._histogram.sum()) - nonfinite
        return TensorStatistics(
            histogram=self._histogram.copy(),
            low=self._low if count else 0.0,
            high=self._high if count else 0.0,
            count=count,
            total=float(self._total),
            total_squares=float(self._total_squares),
            zeros=self._zeros,
            nonfinite=nonfinite,
        )


def count_nonfinite(histogram: NDArray[np.int64]) -> int:
    """Number of NaN and infinite values in a ``[65536]`` histogram."""
    return int(histogram[INFINITY_BIN:SIGN_BIN].sum() + histogram[SIGN_BIN + INFINITY_BIN :].sum())


def observe_array(values: Array) -> TensorStatistics:
    """Statistics of one array."""
    builder = StatisticsBuilder()
    builder.add(values)
    return builder.build()


def merge(parts: Sequence[TensorStatistics]) -> TensorStatistics:
    """Statistics of the union of what the parts observed.

    One call gives the same bits whatever the order of the parts. Merging merged statistics again rounds the two
    sums once per merge; everything else stays exact.

    Raises:
        ValueError: there are no parts.
    """
    if not parts:
        raise ValueError("nothing to merge")
    histogram = np.zeros(BINS, np.int64)
    for part in parts:
        histogram += part.histogram
    observed = [part for part in parts if part.count]
    return TensorStatistics(
        histogram=histogram,
        low=min((part.low for part in observed), default=0.0),
        high=max((part.high for part in observed), default=0.0),
        count=sum(part.count for part in parts),
        total=math.fsum(part.total for part in parts),
        total_squares=math.fsum(part.total_squares for part in parts),
        zeros=sum(part.zeros for part in parts),
        nonfinite=sum(part.nonfinite for part in parts),
    )
