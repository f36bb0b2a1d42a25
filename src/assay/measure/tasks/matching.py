"""Matches detections with objects as COCO's evaluator does; overlaps by pycocotools, which is imported when needed."""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import RequestError

OVERLAPS = np.linspace(0.5, 0.95, 10)
LEAST_OVERLAP = OVERLAPS[0]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def match_image(boxes: Floats, kinds: Floats, objects: Floats, object_kinds: Floats) -> NDArray[np.int64]:
    """Which overlaps each detection of one image matches an object at, as bits, ``[d] int64``.

    Each detection in turn, the best first, takes the free object of its class that it overlaps most, where the two
    share enough of their union (Lin et al., Microsoft COCO: Common objects in context, 2014).

    Args:
        boxes: ``[d, 4]`` corners x0, y0, x1, y1 of the detections, the highest score first.
        kinds: ``[d]`` their classes.
        objects: ``[m, 4]`` corners of the objects.
        object_kinds: ``[m]`` their classes.

    Raises:
        RequestError: pycocotools is not installed.
    """
    bits = np.zeros(len(boxes), dtype=np.int64)
    if not len(boxes) or not len(objects):
        return bits
    shared = find_overlaps(boxes, objects)
    shared = np.where(kinds[:, None] == object_kinds, shared, 0.0)
    free = np.ones((len(OVERLAPS), len(objects)), dtype=np.bool_)
    for place in np.flatnonzero(shared.max(axis=1) >= LEAST_OVERLAP):
        bits[place] = _take_object(shared[place], free)
    return bits


def find_overlaps(boxes: Floats, others: Floats) -> Floats:
    """Intersection over union of each box with each of the others, ``[d, m]``; NaN where both have no area.

    Args:
        boxes: ``[d, 4]`` corners, at least one box.
        others: ``[m, 4]`` corners, at least one box.

    Raises:
        RequestError: pycocotools is not installed.
    """
    return np.asarray(_load_masks().iou(_to_extents(boxes), _to_extents(others), [0] * len(others)))


def _take_object(shared: Floats, free: Bools) -> int:
    """Overlaps at which a detection finds a free object, as bits; the object is free there no more."""
    fitting = free & (shared >= np.minimum(OVERLAPS, 1 - 1e-10)[:, None])
    # Of equal overlaps COCO's evaluator takes the last one.
    best = len(shared) - 1 - np.argmax(np.where(fitting, shared, -1.0)[:, ::-1], axis=1)
    hit = fitting.any(axis=1)
    free[hit, best[hit]] = False
    return int((hit << np.arange(len(OVERLAPS))).sum())


def _to_extents(corners: Floats) -> Floats:
    """Corners as ``[d, 4]`` x, y, width, height; a box inside out has no extent."""
    extents = np.maximum(corners[:, 2:] - corners[:, :2], 0)
    return np.ascontiguousarray(np.concatenate([corners[:, :2], extents], axis=1))


def _load_masks() -> ModuleType:
    try:
        from pycocotools import mask  # noqa: PLC0415 - an extra
    except ImportError as err:
        message = "the task 'detection' needs pycocotools, which is not installed"
        raise RequestError(message, "pip install 'assay-precision[detection]'") from err
    masks: ModuleType = mask
    return masks
