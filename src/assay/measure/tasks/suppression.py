"""From a box and a score for every class at every place to the detections of an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.measure.tasks.boxes import COLUMNS
from assay.measure.tasks.matching import find_overlaps

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Dense:
    """A detector's decoded head.

    Attributes:
        corners: ``[n, places, 4] float64`` x0, y0, x1, y1 in pixels of the model's input.
        scores: ``[n, places, classes] float64``.
        names: the outputs that this was read from.
    """

    corners: Floats
    scores: Floats
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which places and classes of an image are detections.

    Attributes:
        least_score: a lower score is none; nor is one of 0 or below.
        most_overlap: what overlaps a better one of its class by more is suppressed; 1 suppresses nothing.
        candidates: the best of an image that are looked at.
        most: detections of an image.
    """

    least_score: float
    most_overlap: float
    candidates: int
    most: int


def select_rows(dense: Dense, selection: Selection, size: tuple[int, int] | None) -> Floats:
    """The detections of every image, ``[n, most, 6]``: corners clipped to the picture, score, class; rows of 0 fill up.

    Args:
        dense: the decoded head.
        selection: which of it are detections.
        size: height and width of the model's input, None where it is not known; nothing is clipped then.
    """
    rows = np.zeros((len(dense.scores), selection.most, COLUMNS))
    for row, corners, scores in zip(rows, dense.corners, dense.scores, strict=True):
        found = _select_image(corners, scores, selection, size)
        row[: len(found)] = found
    return rows


def suppress(corners: Floats, kinds: NDArray[np.int64], most_overlap: float) -> NDArray[np.bool_]:
    """Which boxes no better box of their class overlaps too much, ``[d] bool``.

    Greedy, as the operator NonMaxSuppression of ONNX is; overlaps are pycocotools'.

    Args:
        corners: ``[d, 4]``, the best first.
        kinds: ``[d]`` classes.
        most_overlap: intersection over union up to which both stay.
    """
    kept = np.ones(len(corners), dtype=np.bool_)
    if most_overlap >= 1:
        return kept
    for kind in np.unique(kinds):
        places = np.flatnonzero(kinds == kind)
        # Boxes without area have no overlap: NaN is not above the limit.
        close = find_overlaps(corners[places], corners[places]) > most_overlap
        alive = np.ones(len(places), dtype=np.bool_)
        for place in range(len(places)):
            if alive[place]:
                alive[place + 1 :] &= ~close[place, place + 1 :]
        kept[places] = alive
    return kept


def clip_corners(corners: Floats, size: tuple[int, int] | None) -> Floats:
    """Corners ``[..., 4]`` within a picture of this height and width; as they are where it is not known."""
    return corners if size is None else np.clip(corners, 0.0, np.array([size[1], size[0]] * 2, dtype=np.float64))


def _select_image(corners: Floats, scores: Floats, selection: Selection, size: tuple[int, int] | None) -> Floats:
    """Detections of one image, ``[d, 6]``, the best first."""
    likely = scores >= selection.least_score if selection.least_score > 0 else scores > 0
    finite = np.isfinite(corners).all(axis=1, keepdims=True) & np.isfinite(scores)
    places, kinds = np.nonzero(likely & finite)
    values = scores[places, kinds]
    best = np.argsort(-values, kind="stable")[: selection.candidates]
    boxes, values, kinds = clip_corners(corners[places[best]], size), values[best], kinds[best]
    kept = np.flatnonzero(suppress(boxes, kinds, selection.most_overlap))[: selection.most]
    return np.concatenate([boxes[kept], values[kept, None], kinds[kept, None].astype(np.float64)], axis=1)
