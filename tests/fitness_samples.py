"""Statistics of made-up items, as an observation would give them, for tests of fitness."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from assay.calibrate.statistics import observe_array
from assay.core.calibration import COARSE_BINS, GROUPS, Calibration, ItemSketch, TensorStatistics
from assay.core.plan import IntegerDialect, Scheme
from assay.core.precision import IntegerFormat, Placement, RangeMethod

U8S8 = IntegerDialect(IntegerFormat.U8, symmetric=False)
S8S8 = IntegerDialect(IntegerFormat.S8, symmetric=True)
MIN_MAX = Scheme(U8S8, Placement.CHAIN, RangeMethod.MIN_MAX)
LEAST_SQUARES = Scheme(U8S8, Placement.CHAIN, RangeMethod.MSE)
SYMMETRIC = Scheme(S8S8, Placement.CHAIN, RangeMethod.MIN_MAX)
FEATURES = ("mean", "rms", "low", "high")

Values = NDArray[np.float32]


def observe_items(tensors: Mapping[str, Values]) -> Calibration:
    """Statistics of tensors ``[N, ...]``; the items' hashes are of the first tensor."""
    first = next(iter(tensors.values()))
    hashes = [_hash(item) for item in first]
    groups = np.array([value % GROUPS for value in hashes])
    return Calibration(
        tensors={name: _observe_tensor(values, groups) for name, values in tensors.items()},
        data="made up",
        items=len(first),
        sketch=_sketch(tensors, hashes),
    )


def _hash(item: Values) -> int:
    return int.from_bytes(hashlib.blake2b(np.ascontiguousarray(item).tobytes(), digest_size=8).digest(), "big")


def _observe_tensor(values: Values, groups: NDArray[np.int64]) -> TensorStatistics:
    whole = observe_array(values)
    parts = np.zeros((GROUPS, COARSE_BINS), np.int64)
    for group in np.unique(groups):
        parts[group] = observe_array(values[groups == group]).histogram.reshape(COARSE_BINS, -1).sum(axis=1)
    flat = values.reshape(len(values), -1)
    return TensorStatistics(
        **{name: getattr(whole, name) for name in ("histogram", "low", "high", "count", "total", "total_squares")},
        zeros=whole.zeros,
        nonfinite=whole.nonfinite,
        items=len(values),
        total_low=float(flat.min(axis=1).sum()),
        total_high=float(flat.max(axis=1).sum()),
        groups=parts,
    )


def _sketch(tensors: Mapping[str, Values], hashes: list[int]) -> ItemSketch:
    distinct = sorted(set(hashes))
    positions = [hashes.index(one) for one in distinct]
    columns = []
    for values in tensors.values():
        flat = values.reshape(len(values), -1)[positions].astype(np.float64)
        columns += [flat.mean(axis=1), np.sqrt(np.square(flat).mean(axis=1)), flat.min(axis=1), flat.max(axis=1)]
    return ItemSketch(
        hashes=np.array(distinct, np.uint64),
        repeats=np.array([hashes.count(one) for one in distinct], np.int64),
        positions=np.array(positions, np.int64),
        names=tuple(f"{name}:{feature}" for name in tensors for feature in FEATURES),
        features=np.stack(columns, axis=1).astype(np.float32),
    )
