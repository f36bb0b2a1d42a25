"""Places labels beside points so that they cover neither each other nor what is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

DIRECTIONS = (
    *((1.0, 0.0), (0.0, -1.0), (0.0, 1.0), (-1.0, 0.0), (1.0, -1.0), (1.0, 1.0), (-1.0, -1.0), (-1.0, 1.0)),
    *((1.0, -0.4), (1.0, 0.4), (-1.0, -0.4), (-1.0, 0.4), (0.4, -1.0), (0.4, 1.0), (-0.4, -1.0), (-0.4, 1.0)),
)
DISTANCES = (10.0, 16.0, 24.0, 34.0, 46.0, 60.0, 78.0)
LEADER_FROM = 20.0
"""Distance from which a line must show what a label belongs to."""
LEADER_STEPS = 12
CROSSING = 40.0
"""Covered area, in square pixels, that one step of a leader through another label is as bad as."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A point that wants a label.

    Attributes:
        x: of the point, in pixels.
        y: of the point, in pixels.
        width: of the label.
        height: of the label.
    """

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a label stands.

    Attributes:
        box: of the label.
        leader: it stands so far off that a line must lead to it.
    """

    box: Box
    leader: bool


def place_labels(anchors: Sequence[Anchor], obstacles: Iterable[Box], frame: Box) -> tuple[Spot, ...]:
    """A spot for each anchor, the first ones served first.

    Greedy: of the spots around a point, the one that covers least, then the nearest.

    Args:
        anchors: in order of importance.
        obstacles: boxes of what is drawn.
        frame: box that labels stay inside where they can.
    """
    taken = list(obstacles)
    spots: list[Spot] = []
    for anchor in anchors:
        labels = [spot.box for spot in spots]
        reach = [(distance, box) for distance in DISTANCES for box in _around(anchor, distance)]
        areas = _cover([box for _, box in reach], taken, frame)
        options = [
            (area + _cross(anchor, box, distance, labels), distance, index, box)
            for index, ((distance, box), area) in enumerate(zip(reach, areas, strict=True))
        ]
        _, distance, _, box = min(options)
        taken.append(box)
        if distance >= LEADER_FROM:
            taken += [(x - 1, y - 1, x + 1, y + 1) for x, y in _lead(anchor, box)]
        spots.append(Spot(box, distance >= LEADER_FROM))
    return tuple(spots)


def find_end(anchor: Anchor, box: Box) -> tuple[float, float]:
    """Where a leader from a point meets its label."""
    return min(max(anchor.x, box[0]), box[2]), min(max(anchor.y, box[1]), box[3])


def _lead(anchor: Anchor, box: Box) -> Iterable[tuple[float, float]]:
    """Points along a leader, outside the point's mark."""
    end = find_end(anchor, box)
    for step in range(3, LEADER_STEPS):
        share = step / LEADER_STEPS
        yield anchor.x + (end[0] - anchor.x) * share, anchor.y + (end[1] - anchor.y) * share


def _cross(anchor: Anchor, box: Box, distance: float, labels: Sequence[Box]) -> float:
    """What it costs that a leader runs through other labels."""
    if distance < LEADER_FROM:
        return 0.0
    return CROSSING * sum(
        left <= x <= right and top <= y <= bottom for x, y in _lead(anchor, box) for left, top, right, bottom in labels
    )


def _around(anchor: Anchor, distance: float) -> Iterable[Box]:
    """Boxes around a point, one per direction, their near edge at the distance."""
    for dx, dy in DIRECTIONS:
        gap = distance / math.hypot(dx, dy)
        x = anchor.x + dx * (gap + anchor.width / 2)
        y = anchor.y + dy * (gap + anchor.height / 2)
        yield (x - anchor.width / 2, y - anchor.height / 2, x + anchor.width / 2, y + anchor.height / 2)


def _cover(boxes: Sequence[Box], taken: Sequence[Box], frame: Box) -> list[float]:
    """Area that each box would cover of what stands already, and of what lies outside the frame."""
    candidates = np.asarray(boxes, dtype=np.float64)
    areas = (candidates[:, 2] - candidates[:, 0]) * (candidates[:, 3] - candidates[:, 1])
    outside = areas - _overlap(candidates, np.asarray([frame], dtype=np.float64))
    covered = _overlap(candidates, np.asarray(taken, dtype=np.float64).reshape(-1, 4))
    return [float(area) for area in np.round(covered + 4 * outside, 3)]


def _overlap(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area that each of ``[n, 4]`` boxes shares with all of ``[m, 4]`` others, ``[n]``."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    sides: NDArray[np.float64] = np.clip(high - low, 0, None)
    shared: NDArray[np.float64] = np.sum(sides[..., 0] * sides[..., 1], axis=1)
    return shared
