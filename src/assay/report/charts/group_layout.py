"""Places the groups of a model: columns in the order of execution, wrapped into rows as words into lines; pure.

Groups that can run side by side share a column, in lanes. A way between neighbouring columns runs straight; any other
runs as a bus along a track above the boxes, one for each writer, and goes on in the next row where the row ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MOST_LANES = 8
Edge = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a box stands.

    Attributes:
        row: from the top.
        column: of the row, from the left.
        lane: of the column, from the top.
    """

    row: int
    column: int
    lane: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Boxes and ways.

    Attributes:
        width: columns of a row.
        places: of the groups.
        straight: ways between neighbouring columns.
        buses: all other ways, with the track of each, 0 the nearest to the boxes.
        lanes: of each row.
        tracks: of each row.
    """

    width: int
    places: tuple[Place, ...]
    straight: tuple[Edge, ...]
    buses: tuple[tuple[Edge, int], ...]
    lanes: tuple[int, ...]
    tracks: tuple[int, ...]


def lay_out(count: int, edges: Sequence[Edge], most: int) -> Layout:
    """Place groups in as few rows as they need, which are about equally long.

    Args:
        count: of groups; at least one.
        edges: pairs of indices; the first is the smaller one.
        most: columns of a row.
    """
    columns = find_columns(count, edges)
    needed = max(columns) + 1
    width = math.ceil(needed / math.ceil(needed / most))
    lanes = find_lanes(columns, edges)
    places = tuple(Place(column // width, column % width, lane) for column, lane in zip(columns, lanes, strict=True))
    rows = max(columns) // width + 1
    heights = [1 + max((place.lane for place in places if place.row == row), default=0) for row in range(rows)]

    def is_straight(edge: Edge) -> bool:
        one, other = (places[index] for index in edge)
        if columns[edge[1]] != columns[edge[0]] + 1:
            return False
        return one.row == other.row or one.lane == other.lane

    buses = assign_tracks(columns, [edge for edge in edges if not is_straight(edge)])
    tracks = [0] * rows
    for (source, target), track in buses:
        for row in range(columns[source] // width, columns[target] // width + 1):
            tracks[row] = max(tracks[row], track + 1)
    straight = tuple(edge for edge in edges if is_straight(edge))
    return Layout(width, places, straight, buses, tuple(heights), tuple(tracks))


def find_columns(count: int, edges: Sequence[Edge]) -> list[int]:
    """A column for each group: behind all that it reads from; one that reads from none stands before its reader."""
    layers = [0] * count
    for source, target in sorted(edges):
        layers[target] = max(layers[target], layers[source] + 1)
    reading = {target for _, target in edges}
    for index in range(count):
        readers = [layers[target] for source, target in edges if source == index]
        if index not in reading and readers:
            layers[index] = max(0, min(readers) - 1)
    columns, column = [0] * count, 0
    for layer in sorted(set(layers)):
        members = [index for index in range(count) if layers[index] == layer]
        for start in range(0, len(members), MOST_LANES):
            for index in members[start : start + MOST_LANES]:
                columns[index] = column
            column += 1
    return columns


def find_lanes(columns: Sequence[int], edges: Sequence[Edge]) -> list[int]:
    """A lane for each group: the topmost of those that it reads from, else the topmost one that is free."""
    lanes = [0] * len(columns)
    feeders: dict[int, list[int]] = {}
    for source, target in edges:
        feeders.setdefault(target, []).append(source)
    for column in range(max(columns) + 1):
        members = [index for index, own in enumerate(columns) if own == column]
        wanted = sorted(
            (min((lanes[f] for f in feeders.get(index, ())), default=MOST_LANES), index) for index in members
        )
        taken: set[int] = set()
        for lane, index in wanted:
            free = next(i for i in range(len(members) + MOST_LANES) if i not in taken)
            lanes[index] = free if lane == MOST_LANES or lane in taken else lane
            taken.add(lanes[index])
    return lanes


def assign_tracks(columns: Sequence[int], edges: Sequence[Edge]) -> tuple[tuple[Edge, int], ...]:
    """A track for each writer's bus, such that none overlaps another; short ones lie beneath long ones."""
    ends: dict[int, int] = {}
    for source, target in edges:
        ends[source] = max(ends.get(source, 0), columns[target])
    tracks: dict[int, int] = {}
    for source in sorted(ends, key=lambda index: (ends[index] - columns[index], index)):
        rivals = {
            track for other, track in tracks.items() if columns[other] < ends[source] and columns[source] < ends[other]
        }
        tracks[source] = next(track for track in range(len(ends)) if track not in rivals)
    return tuple((edge, tracks[edge[0]]) for edge in edges)
