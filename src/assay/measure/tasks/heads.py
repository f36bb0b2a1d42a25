"""Finding the parts of a detector's outputs, in whatever order of axes they come."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from assay.core.decoding import BoxForm, BoxUnit
from assay.core.errors import ModelError
from assay.core.tensor import Array, Outputs

Floats = NDArray[np.float64]

CORNERS = 4
SCORE_WORDS = ("score", "conf", "prob", "cls", "class", "logit", "label")
BOX_WORDS = ("box", "loc", "reg", "dist", "delta", "bin")
STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32), (8, 16, 32, 64, 128), (4, 8, 16, 32, 64), (16,))
"""Levels that detectors have, tried in this order."""


def list_outputs(outputs: Outputs) -> str:
    """Outputs with their types and shapes, in words."""
    return ", ".join(f"{name!r} {value.dtype.name}{list(value.shape)}" for name, value in outputs.items()) or "none"


def widen(value: Array) -> Floats:
    """As double precision, without axes of length 1 behind the first that make it more than three."""
    wide = value.astype(np.float64)
    while wide.ndim > 3 and 1 in wide.shape[1:]:  # noqa: PLR2004 - images, places, columns
        wide = wide.squeeze(1 + wide.shape[1:].index(1))
    return wide


def name_kind(name: str) -> str:
    """``scores`` or ``boxes`` where the name of an output tells, else empty."""
    low = name.lower()
    score, box = (any(word in low for word in words) for words in (SCORE_WORDS, BOX_WORDS))
    return "" if score == box else "scores" if score else "boxes"


def count_cells(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Rows and columns of a level."""
    return math.ceil(size[0] / stride), math.ceil(size[1] / stride)


def find_strides(size: tuple[int, int], places: int, given: Sequence[int] | None) -> tuple[int, ...] | None:
    """Strides whose cells are so many places together; None where none are."""
    for strides in STRIDES if given is None else (tuple(given),):
        if sum(math.prod(count_cells(size, stride)) for stride in strides) == places:
            return strides
    return None


def place_cells(size: tuple[int, int], strides: Sequence[int], centre: float) -> tuple[Floats, Floats]:
    """Centres ``[places, 2]`` x, y in pixels and strides ``[places, 1]``, level by level, row by row."""
    centres, steps = [], []
    for stride in strides:
        y, x = (axis.ravel() for axis in np.mgrid[tuple(slice(count) for count in count_cells(size, stride))])
        centres.append((np.stack([x, y], axis=1) + centre) * stride)
        steps.append(np.full((len(x), 1), float(stride)))
    return np.concatenate(centres), np.concatenate(steps)


def to_corners(boxes: Floats, form: BoxForm) -> Floats:
    """Boxes ``[..., 4]`` of any form as x0, y0, x1, y1."""
    if form is BoxForm.XYXY:
        return boxes
    if form is BoxForm.YXYX:
        return boxes[..., [1, 0, 3, 2]]
    start, extent = boxes[..., :2], boxes[..., 2:]
    if form is BoxForm.CXCYWH:
        start = start - extent / 2
    return np.concatenate([start, start + extent], axis=-1)


def to_pixels(corners: Floats, unit: BoxUnit, size: tuple[int, int] | None) -> Floats:
    """Corners in pixels of the model's input.

    Raises:
        ModelError: they are fractions of a size that nobody says.
    """
    if unit is BoxUnit.PIXELS:
        return corners
    height, width = require_size(size)
    return corners * np.array([width, height, width, height], dtype=np.float64)


def require_size(size: tuple[int, int] | None) -> tuple[int, int]:
    """Height and width of the model's input.

    Raises:
        ModelError: the model leaves them open, and the request does not say them.
    """
    if size is None:
        message = "the model leaves the size of its input open, and its boxes cannot be read without it"
        raise ModelError(message, "give decoding.size = [height, width]")
    return size


def require_classes(have: int, classes: int | None, names: Sequence[str]) -> int:
    """How many classes there are.

    Raises:
        ModelError: fewer than the request says, or none.
    """
    found = have if classes is None else classes
    if not 1 <= found <= have:
        held = f"output {names[0]!r} holds {max(have, 0)} classes"
        raise ModelError(
            held if classes is None else f"{held} and decoding.classes is {classes}", "is it the right decoder?"
        )
    return found


def split_boxes_scores(outputs: Mapping[str, Floats]) -> tuple[str, str] | None:
    """Names of the boxes ``[n, places, 4]`` and the scores ``[n, places, classes]`` or the reverse; None without."""
    for boxes, wide in outputs.items():
        if wide.ndim != 3 or wide.shape[2] != CORNERS or name_kind(boxes) == "scores":  # noqa: PLR2004 - images, places, columns
            continue
        for scores, other in outputs.items():
            fits = other.ndim == 3 and len(other) == len(wide) and wide.shape[1] in other.shape[1:]  # noqa: PLR2004 - the same
            if scores != boxes and fits and name_kind(scores) != "boxes":
                return boxes, scores
    return None
