"""Heads that give, level by level, scores and the distances from a cell's centre to the four sides of its box.

A side is one number, or a distribution over 0, 1, 2, ... strides whose mean is the distance (Li et al., Generalized
Focal Loss, 2020).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from assay.core.decoding import Decoding
from assay.core.errors import ModelError
from assay.measure.tasks.heads import (
    CORNERS,
    Floats,
    count_cells,
    find_strides,
    name_kind,
    place_cells,
    require_classes,
)

SINGLE_STRIDES = (4, 8, 16, 32, 64, 128)
PARTS = 2
"""Outputs of a level: scores and distances."""


@dataclass(frozen=True, slots=True)
class Cells:
    """One output of one level, or of all.

    Attributes:
        name: of the output.
        values: ``[n, cells, numbers]``.
        strides: that give so many cells.
        is_map: the numbers were the channels of a map.
    """

    name: str
    values: Floats
    strides: tuple[int, ...]
    is_map: bool


def read_levels(
    outputs: Mapping[str, Floats], decoding: Decoding, size: tuple[int, int]
) -> tuple[Floats, Floats, tuple[str, ...]] | None:
    """Corners ``[n, cells, 4]`` in pixels and raw scores ``[n, cells, classes]`` of all levels, and the outputs' names.

    None where the outputs are no levels.

    Raises:
        ModelError: nothing tells scores from distances.
    """
    cells = list(_list_cells(outputs, decoding, size))
    groups: dict[tuple[int, ...], list[Cells]] = {}
    for one in cells:
        groups.setdefault(one.strides, []).append(one)
    corners, scores, names = [], [], []
    for strides in sorted(groups):
        parts = _split(groups[strides], decoding)
        if parts is None:
            return None
        found, distances = parts
        corners.append(_measure_boxes(distances, strides, decoding, size))
        scores.append(found)
        names += [one.name for one in groups[strides]]
    if not scores or len({one.shape[2] for one in scores}) > 1:
        return None
    return np.concatenate(corners, axis=1), np.concatenate(scores, axis=1), tuple(names)


def _list_cells(outputs: Mapping[str, Floats], decoding: Decoding, size: tuple[int, int]) -> Iterator[Cells]:
    """Every output that has as many cells as a level, or all of them, has."""
    allowed = SINGLE_STRIDES if decoding.strides is None else decoding.strides
    for name, wide in outputs.items():
        if wide.ndim == 4:  # noqa: PLR2004 - images, channels, rows, columns
            for stride in allowed:
                if wide.shape[2:] == count_cells(size, stride):
                    yield Cells(name, wide.reshape(*wide.shape[:2], -1).transpose(0, 2, 1), (stride,), is_map=True)
                    break
                if wide.shape[1:3] == count_cells(size, stride):
                    yield Cells(name, wide.reshape(len(wide), -1, wide.shape[3]), (stride,), is_map=True)
                    break
        elif wide.ndim == 3:  # noqa: PLR2004 - images, cells, numbers
            for axis in (1, 2):
                strides = _find_level(size, wide.shape[axis], decoding)
                if strides is not None:
                    yield Cells(name, wide if axis == 1 else wide.transpose(0, 2, 1), strides, is_map=False)
                    break


def _find_level(size: tuple[int, int], cells: int, decoding: Decoding) -> tuple[int, ...] | None:
    """The stride that gives so many cells, or the strides that do so together."""
    for stride in SINGLE_STRIDES if decoding.strides is None else decoding.strides:
        if math.prod(count_cells(size, stride)) == cells and cells > 1:
            return (stride,)
    return find_strides(size, cells, decoding.strides)


def _split(parts: list[Cells], decoding: Decoding) -> tuple[Floats, Floats] | None:
    """Scores and distances of a level.

    Raises:
        ModelError: nothing tells which is which.
    """
    if len(parts) == 1:
        return _split_joined(parts[0], decoding)
    if len(parts) != PARTS:
        return None
    one, two = parts
    for scores, distances in ((one, two), (two, one)):
        if distances.values.shape[2] % CORNERS:
            continue
        told = decoding.classes == scores.values.shape[2] != distances.values.shape[2]
        named = decoding.classes in (None, scores.values.shape[2]) and (
            name_kind(scores.name) == "scores" or name_kind(distances.name) == "boxes"
        )
        if told or named or scores.values.shape[2] % CORNERS:
            return scores.values, distances.values
    widths = f"{one.values.shape[2]} and {two.values.shape[2]}"
    message = f"nothing tells which of {one.name!r} and {two.name!r} holds the scores: they have {widths} numbers"
    raise ModelError(message, "give decoding.classes, or name the outputs")


def _split_joined(part: Cells, decoding: Decoding) -> tuple[Floats, Floats]:
    """Scores and distances out of one output: a map has the distances first, rows have the scores first.

    Raises:
        ModelError: the number of classes is not said, or does not fit.
    """
    width = part.values.shape[2]
    if decoding.classes is None:
        message = f"output {part.name!r} holds scores and distances in {width} numbers, and nothing tells which"
        raise ModelError(message, "give decoding.classes")
    classes = require_classes(width - CORNERS, decoding.classes, (part.name,))
    if (width - classes) % CORNERS:
        message = f"output {part.name!r}: {width} numbers less {classes} classes are no four sides"
        raise ModelError(message, "mend decoding.classes")
    if part.is_map:
        return part.values[..., width - classes :], part.values[..., : width - classes]
    return part.values[..., :classes], part.values[..., classes:]


def _measure_boxes(distances: Floats, strides: tuple[int, ...], decoding: Decoding, size: tuple[int, int]) -> Floats:
    """Corners ``[n, cells, 4]`` from distances ``[n, cells, 4 * bins]`` in strides."""
    sides = distances.reshape(*distances.shape[:2], CORNERS, -1)
    bins = sides.shape[3]
    if bins > 1:
        share = np.exp(sides - sides.max(axis=3, keepdims=True))
        far = (share @ np.arange(bins)) / share.sum(axis=3)
    else:
        far = sides[..., 0]
    centres, steps = place_cells(size, strides, 0.5 if decoding.centre is None else decoding.centre)
    reach = far * steps
    return np.concatenate([centres - reach[..., :2], centres + reach[..., 2:]], axis=2)
