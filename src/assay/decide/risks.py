"""How the noises of quantized groups add up, learned from settings that were measured; pure.

Errors of different origin hardly correlate, so their powers add. Two groups that share a tensor do not have two errors
there, though: it is rounded once as soon as one of them is quantized. So each group has a noise of its own, and each
shared tensor one that comes with the first group that touches it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from assay.core.mixing import Boundary

RIDGE = 0.02
"""Weight of the pull towards small and even noises, where the settings leave several answers."""
FLOOR = 1e-3
"""Noises below this share of the largest are fitted as well as that one: they decide nothing."""


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """Noise powers that add up.

    Attributes:
        groups: ``[groups] float64``, of each group's own; infinite where it must not be quantized.
        shared: ``[boundaries] float64``, of each boundary that two groups or more touch, else 0.
        touching: ``[boundaries, groups] bool``, which groups those are.
    """

    groups: NDArray[np.float64]
    shared: NDArray[np.float64]
    touching: NDArray[np.bool_]

    def predict(self, quantized: NDArray[np.bool_]) -> float:
        """Noise of a setting.

        Args:
            quantized: ``[groups] bool``.
        """
        touched = (self.touching & quantized).any(axis=1)
        return float(self.groups[quantized].sum() + self.shared[touched].sum())


def list_touching(boundaries: Sequence[Boundary], groups: int) -> NDArray[np.bool_]:
    """``[boundaries, groups] bool``: the groups that write or read each boundary's integers."""
    touching = np.zeros((len(boundaries), groups), np.bool_)
    for row, boundary in zip(touching, boundaries, strict=True):
        row[list(boundary.readers)] = True
        if boundary.writer is not None:
            row[boundary.writer] = True
    return touching


def fit_noises(settings: NDArray[np.bool_], noises: NDArray[np.float64], boundaries: Sequence[Boundary]) -> NoiseModel:
    """The noises of groups and shared tensors that explain measured settings best, none negative.

    Relative errors are made small: a mixed plan is chosen among small noises, which the large ones must not drown.

    Args:
        settings: ``[settings, groups] bool``, True where a group is quantized; every group alone among them.
        noises: ``[settings] float64``, infinite where a value was not finite.
        boundaries: tensors between the groups.
    """
    count = settings.shape[1]
    touching = list_touching(boundaries, count)
    shared = touching.sum(axis=1) > 1
    known = np.isfinite(noises)
    alone = settings.sum(axis=1) == 1
    broken = settings[alone & ~known].any(axis=0)
    features = np.hstack([settings, (settings[:, None, :] & touching[shared]).any(axis=2)]).astype(np.float64)[known]
    wanted = noises[known]
    found = np.zeros(features.shape[1])
    if wanted.size and wanted.max() > 0:
        weights = 1 / np.maximum(wanted, FLOOR * wanted.max())
        typical = np.median(wanted[alone[known]]) if alone[known].any() else wanted.max()
        pull = np.eye(features.shape[1]) * RIDGE / max(typical, FLOOR * wanted.max())
        rows = np.vstack([features * weights[:, None], pull])
        found, _ = nnls(rows, np.concatenate([wanted * weights, np.zeros(len(pull))]))
    own = np.where(broken, np.inf, found[:count])
    between = np.zeros(len(boundaries))
    between[shared] = found[count:]
    return NoiseModel(own, between, touching)
