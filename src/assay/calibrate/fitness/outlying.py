"""Items that alone set the range of tensors: far beyond whatever the other set holds.

How far honest items lie depends on their tails: among normal values one twice as large as all others is no chance,
among incomes it is. So the widest items of the other set give the index of its tail (Hill 1975, "A simple general
approach to inference about the tail of a distribution"), and that the chance of an item so far out (Weissman 1978,
"Estimation of parameters and large quantiles based on the k largest observations"). The index counts with its lower
bound: the sum of k logarithms that it comes from is Gamma-distributed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from assay.calibrate.fitness.harm import TensorHarm
from assay.calibrate.fitness.jackknife import CONFIDENCE
from assay.core.calibration import ItemSketch

FAR = 2.0
"""An item is outlying where its values alone make a tensor's range this many times as wide: one bit is lost."""

MINORITY = 1 / 20
"""Where a larger share of the items lies as far out, the whole set is blamed instead."""

TAIL = 1 / 10
"""Share of the other set's items whose widths tell its tail."""

FEWEST_TAIL = 2


@dataclass(frozen=True, slots=True)
class Outlier:
    """An outlying item.

    Attributes:
        position: in the calibration set.
        tensor: whose range it widens most.
        reach: how many times as wide that range becomes.
        tensors: how many tensors it widens so far.
        value: the item's own extreme value of that tensor.
        chance: probability that a set of so many items, drawn like the other one, holds an item so wide.
    """

    position: int
    tensor: str
    reach: float
    tensors: int
    value: float
    chance: float


def find_outliers(sketch: ItemSketch, sample: ItemSketch, harms: Sequence[TensorHarm]) -> tuple[Outlier, ...]:
    """Outlying items of a calibration set, the farthest first; none where they are no small minority.

    Args:
        sketch: of the calibration set, with features ``TENSOR:low`` and ``TENSOR:high``.
        sample: of the other set, with the same features.
        harms: tensors with what the other set reaches.
    """
    judged = [harm for harm in harms if {*_name_ends(harm)} <= {*sketch.names} & {*sample.names}]
    if not judged or not len(sketch.hashes):
        return ()
    low, high = _read_ends(sketch, judged)
    least, most = _read_ends(sample, judged)
    widths = _find_widths(least, most)
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
                chance=find_tail_chance(widths[:, worst], max(ends[1], 0.0) - min(ends[0], 0.0), len(reach)),
            )
        )
    return tuple(outliers)


def find_tail_chance(widths: NDArray[np.float64], width: float, items: int) -> float:
    """Probability that one of so many items is at least so wide, by the tail of others; 1.0 where these are too few.

    Args:
        widths: ``[K]`` of the others, at least zero.
        width: beyond all of them.
        items: that are drawn.
    """
    rising = np.sort(widths[widths > 0])
    count = min(round(TAIL * len(widths)), len(rising) - 1)
    if count < FEWEST_TAIL:
        return 1.0
    start = rising[-count - 1]
    logs = float(np.log(rising[-count:] / start).sum())
    if width <= start:
        return 1.0
    if logs == 0:  # the widest are all equally wide: a tail that ends
        return 0.0
    index = special.gammaincinv(count, 1 - CONFIDENCE) / logs
    beyond = count / len(widths) * float(width / start) ** -index
    return float(-np.expm1(items * np.log1p(-min(beyond, 0.5))))


def _name_ends(harm: TensorHarm) -> tuple[str, str]:
    return f"{harm.fitness.tensor}:low", f"{harm.fitness.tensor}:high"


def _read_ends(sketch: ItemSketch, judged: Sequence[TensorHarm]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``[K, T]`` smallest and largest value of every item."""
    columns = {name: index for index, name in enumerate(sketch.names)}
    ends = np.array([[columns[end] for end in _name_ends(harm)] for harm in judged])
    features = sketch.features.astype(np.float64)
    return features[:, ends[:, 0]], features[:, ends[:, 1]]


def _find_widths(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Widths of the ranges that hold each item and zero."""
    return np.asarray(np.maximum(high, 0.0) - np.minimum(low, 0.0), np.float64)


def _find_reach(
    low: NDArray[np.float64], high: NDArray[np.float64], judged: Sequence[TensorHarm]
) -> NDArray[np.float64]:
    """``[K, T]`` width of the range that holds the other set, zero and the item, over that without the item."""
    lowest = np.minimum([harm.reached.low for harm in judged], 0.0)
    highest = np.maximum([harm.reached.high for harm in judged], 0.0)
    width = np.maximum(high, highest) - np.minimum(low, lowest)
    return np.asarray(width / (highest - lowest), np.float64)
