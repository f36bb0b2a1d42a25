"""Places labels beside points so that they cover neither each other nor what is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
        options = [
            (_cover(box, taken, frame) + _cross(anchor, box, distance, labels), distance, index, box)
            for distance in DISTANCES
            for index, box in enumerate(_around(anchor, distance))
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


def _cover(box: Box, taken: Sequence[Box], frame: Box) -> float:
    """Area that a label would cover of what stands already, and of what lies outside the frame."""
    covered = sum(_overlap(box, other) for other in taken)
    area = (box[2] - box[0]) * (box[3] - box[1])
    return round(covered + 4 * (area - _overlap(box, frame)), 3)


def _overlap(one: Box, other: Box) -> float:
    """Area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0
