"""Items that alone set the range of tensors: far beyond whatever the other set holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.calibrate.fitness.harm import TensorHarm
from assay.core.calibration import ItemSketch

FAR = 2.0
"""An item is outlying where its values alone make a tensor's range this many times as wide: one bit is lost."""

MINORITY = 1 / 20
"""Where a larger share of the items lies as far out, the whole set is blamed instead."""


@dataclass(frozen=True, slots=True)
class Outlier:
    """An outlying item.

    Attributes:
        position: in the calibration set.
        tensor: whose range it widens most.
        reach: how many times as wide that range becomes.
        tensors: how many tensors it widens so far.
        value: the item's own extreme value of that tensor.
    """

    position: int
    tensor: str
    reach: float
    tensors: int
    value: float


def find_outliers(sketch: ItemSketch, harms: Sequence[TensorHarm]) -> tuple[Outlier, ...]:
    """Outlying items of a calibration set, the farthest first; none where they are no small minority.

    Args:
        sketch: of the calibration set, with features ``TENSOR:low`` and ``TENSOR:high``.
        harms: tensors with what the other set reaches.
    """
    columns = {name: index for index, name in enumerate(sketch.names)}
    judged = [harm for harm in harms if f"{harm.fitness.tensor}:low" in columns]
    if not judged or not len(sketch.hashes):
        return ()
    low = sketch.features[:, [columns[f"{harm.fitness.tensor}:low"] for harm in judged]].astype(np.float64)
    high = sketch.features[:, [columns[f"{harm.fitness.tensor}:high"] for harm in judged]].astype(np.float64)
    reach = _find_reach(low, high, judged)
    far = np.flatnonzero((reach >= FAR).any(axis=1))
    if len(far) > max(1, MINORITY * len(reach)):
        return ()
    outliers = []
    for item in far[np.argsort(-reach[far].max(axis=1), kind="stable")]:
        worst = int(reach[item].argmax())
        ends = (float(low[item, worst]), float(high[item, worst]))
        outliers.append(
            Outlier(
                position=int(sketch.positions[item]),
                tensor=judged[worst].fitness.tensor,
                reach=float(reach[item, worst]),
                tensors=int((reach[item] >= FAR).sum()),
                value=max(ends, key=abs),
            )
        )
    return tuple(outliers)


def _find_reach(
    low: NDArray[np.float64], high: NDArray[np.float64], judged: Sequence[TensorHarm]
) -> NDArray[np.float64]:
    """``[K, T]`` width of the range that holds the other set, zero and the item, over that without the item."""
    lowest = np.minimum([harm.reached.low for harm in judged], 0.0)
    highest = np.maximum([harm.reached.high for harm in judged], 0.0)
    width = np.maximum(high, highest) - np.minimum(low, lowest)
    return np.asarray(width / (highest - lowest), np.float64)
