"""Histograms that are mostly zero, held in memory only where something was counted."""

from __future__ import annotations

import math
import mmap
import sys

import numpy as np
from numpy.typing import NDArray


def make_counts(*shape: int) -> NDArray[np.int64]:
    """Zeros that take memory page by page, as they are written.

    Not ``np.zeros``: once a process has given large arrays back, its allocator may take one of them and clear it,
    which writes every page: 1 MiB a tensor where some 50 KiB are needed.
    """
    size = math.prod(shape) * 8
    if sys.platform == "win32":
        return np.frombuffer(mmap.mmap(-1, size), np.int64).reshape(shape)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if sys.platform == "linux":
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, np.int64).reshape(shape)


def add_counts(into: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
    """Add counts that are mostly zero, writing only where they are not; ``into`` is C-contiguous."""
    filled = np.flatnonzero(counts)
    into.reshape(-1)[filled] += counts.reshape(-1)[filled]


def copy_counts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """A copy that takes memory only where something was counted."""
    copy = make_counts(*counts.shape)
    add_counts(copy, counts)
    return copy
