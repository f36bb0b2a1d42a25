"""The record ``boxes``: ``[n, rows, 3]``, the detections and objects of each image; a row is class, score and hits.

A detection has a score above 0; its hits are a number whose bit t says that it matched an object at the t-th overlap
of COCO's (0.50, 0.55 to 0.95). An object has the score 0. A row of class -1 is empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import MeasurementError
from assay.measure.functionals.functional import Records

OVERLAPS = 10
CLASS, SCORE, HITS = 0, 1, 2
LEAST_IMAGES = 100
LEAST_IMAGES_OF_CLASS = 5


@dataclass(frozen=True, slots=True)
class ClassBoxes:
    """Detections of one class, the highest score first, and its objects.

    Attributes:
        images: ``[d] int64``, index of each detection's image.
        hits: ``[d, overlaps] bool``, whether it matched an object.
        objects: ``[n] float64``, objects of the class on each image, at least one in all.
    """

    images: NDArray[np.int64]
    hits: NDArray[np.bool_]
    objects: NDArray[np.float64]


def split_classes(records: Records, overlaps: int) -> Iterator[ClassBoxes]:
    """Each class that has an object, at the first so many overlaps.

    Args:
        records: ``[n, rows, 3]``.
        overlaps: 1 for 0.50 alone, 10 for all.
    """
    images, rows = np.nonzero(records[:, :, CLASS] >= 0)
    kinds, scores, hits = records[images, rows].T
    found = scores > 0
    for kind in np.unique(kinds[~found]):
        chosen = np.flatnonzero(found & (kinds == kind))
        # Stable, as in COCO's evaluator: equal scores stay in the order of the images.
        chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
        bits = hits[chosen].astype(np.int64)[:, None] >> np.arange(overlaps)
        objects = np.bincount(images[~found & (kinds == kind)], minlength=len(records))
        yield ClassBoxes(images[chosen], (bits & 1).astype(np.bool_), objects.astype(np.float64))


def check_boxes(name: str, records: Records) -> None:
    """Refuse images whose interval cannot be relied on.

    Raises:
        MeasurementError: there are too few images, no object, or too few images of a class.
    """
    if len(records) < LEAST_IMAGES:
        raise MeasurementError(
            f"{name} over {len(records)} images has no interval that can be relied on: {LEAST_IMAGES} are needed",
            f"give {LEAST_IMAGES} labelled images or more",
        )
    images, rows = np.nonzero((records[:, :, CLASS] >= 0) & (records[:, :, SCORE] == 0))
    if not len(images):
        raise MeasurementError(f"{name} is not defined: no image has an object", "check the targets: x0 y0 x1 y1 class")
    kinds, counts = np.unique(
        np.unique(np.stack([records[images, rows, CLASS], images]), axis=1)[0], return_counts=True
    )
    if counts.min() < LEAST_IMAGES_OF_CLASS:
        rare = int(kinds[np.argmin(counts)])
        raise MeasurementError(
            f"{name}: objects of class {rare} are on {counts.min()} images, and "
            f"{np.count_nonzero(counts < LEAST_IMAGES_OF_CLASS)} classes on fewer than {LEAST_IMAGES_OF_CLASS}",
            f"give more images of each class, {LEAST_IMAGES_OF_CLASS} at least, or leave the class out of the targets",
        )


def weigh_heaviest(records: Records) -> float:
    """Most by which one image's influence can fall: as its objects' share of their classes, times ``n``."""
    shares = [boxes.objects / boxes.objects.sum() for boxes in split_classes(records, 1)]
    return len(records) * float(np.mean(shares, axis=0).max())


def find_right(records: Records) -> NDArray[np.bool_]:
    """Images whose k objects are what the k detections of the highest scores find, at the overlap 0.50, ``[n]``."""
    objects = ((records[:, :, CLASS] >= 0) & (records[:, :, SCORE] == 0)).sum(axis=1)
    order = np.argsort(-records[:, :, SCORE], axis=1, kind="stable")
    hits = np.take_along_axis(records[:, :, HITS], order, axis=1).astype(np.int64) & 1
    foremost = np.arange(records.shape[1]) < objects[:, None]
    right: NDArray[np.bool_] = (hits * foremost).sum(axis=1) == objects
    return right
