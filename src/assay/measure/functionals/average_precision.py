"""Mean average precision of a detector, as COCO's evaluator defines it, with what each image does to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.measure.functionals.boxes import OVERLAPS, ClassBoxes, check_boxes, find_right, split_classes, weigh_heaviest
from assay.measure.functionals.functional import Records

LEVELS = np.linspace(0, 1, 101)
"""Recalls at which the precision is read."""


class AveragePrecision:
    """mAP over the overlaps 0.50 to 0.95, from the record ``boxes``: mean over the classes that have an object."""

    name: str = "map50-95"
    span: float = 1.0
    groups: int = 0
    libraries: tuple[str, ...] = ()
    overlaps: int = OVERLAPS

    def check(self, records: Records) -> None:
        """Refuse too few images, or too few of a class.

        Raises:
            MeasurementError: naming how many there are and how many are needed.
        """
        check_boxes(self.name, records)

    def value(self, records: Records) -> float:
        """COCO's 101-point average precision, all object sizes; 0 where there is no object."""
        return _mean([float(_read_levels(boxes).mean()) for boxes in split_classes(records, self.overlaps)])

    def debiased(self, records: Records) -> float:
        """The area under the precision as it is: the highest of noisy precisions is too high on few images."""
        return _mean([_measure_area(boxes, highest=False) for boxes in split_classes(records, self.overlaps)])

    def area(self, records: Records) -> float:
        """The area under the interpolated precision: what the interval is of, and the 101 points approximate."""
        return _mean([_measure_area(boxes, highest=True) for boxes in split_classes(records, self.overlaps)])

    def influence(self, records: Records) -> NDArray[np.float64]:
        """Of the area under the interpolated precision, which the 101 points sample, ``[n]``.

        With weights on the images the area is ``sum_j w_j hit_j p_j / P``, p_j the highest precision at or behind
        detection j and P the weighted number of objects; by the envelope theorem its derivative is that at the place
        where the precision is highest.
        """
        found = [_differentiate(boxes) for boxes in split_classes(records, self.overlaps)]
        return len(records) * np.mean(found, axis=0) if found else np.zeros(len(records))

    def worst(self, records: Records) -> float:
        """All objects of the heaviest image are missed."""
        return weigh_heaviest(records)

    def right(self, records: Records) -> NDArray[np.bool_]:
        """Images whose best detections are their objects."""
        return find_right(records)


class AveragePrecision50(AveragePrecision):
    """mAP at the overlap 0.50."""

    name: str = "map50"
    overlaps: int = 1


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _read_levels(boxes: ClassBoxes) -> NDArray[np.float64]:
    """Interpolated precision at each recall and overlap, ``[101, overlaps]``; 0 beyond the highest recall."""
    hits = np.cumsum(boxes.hits, axis=0, dtype=np.float64)
    count = np.arange(1.0, len(hits) + 1)[:, None]
    highest = np.maximum.accumulate((hits / count)[::-1], axis=0)[::-1]
    levels = np.zeros((len(LEVELS), hits.shape[1]))
    for overlap, recall in enumerate((hits / boxes.objects.sum()).T):
        places = np.searchsorted(recall, LEVELS, side="left")
        reached = places < len(recall)
        levels[reached, overlap] = highest[places[reached], overlap]
    return levels


def _measure_area(boxes: ClassBoxes, *, highest: bool) -> float:
    """Area under the precision as it is, or under the highest at or behind each place; mean over the overlaps."""
    precision = np.cumsum(boxes.hits, axis=0) / np.arange(1.0, len(boxes.hits) + 1)[:, None]
    if highest:
        precision = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    return float((boxes.hits * precision).sum(axis=0).mean() / boxes.objects.sum())


def _differentiate(boxes: ClassBoxes) -> NDArray[np.float64]:
    """Derivative of the area by the weight of each image, ``[n]``, mean over the overlaps."""
    total, size = boxes.objects.sum(), len(boxes.hits)
    hit = boxes.hits.astype(np.float64)
    count = np.arange(1.0, size + 1)[:, None]
    precision = np.cumsum(hit, axis=0) / count
    highest = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    # Where the precision that counts for a detection is reached: at the nearest maximum behind it.
    places = np.where(precision == highest, np.arange(size)[:, None], size)
    source = np.minimum.accumulate(places[::-1], axis=0)[::-1] if size else places
    used = np.zeros(hit.shape)
    np.add.at(used, (source, np.arange(hit.shape[1])[None, :]), hit)
    gain = np.cumsum((used / count)[::-1], axis=0)[::-1]
    cost = np.cumsum((used * precision / count)[::-1], axis=0)[::-1]
    per_detection = (hit * (highest + gain) - cost).mean(axis=1)
    area = float((hit * highest).sum(axis=0).mean()) / total
    found = np.bincount(boxes.images, weights=per_detection, minlength=len(boxes.objects))
    derivative: NDArray[np.float64] = (found - area * boxes.objects) / total
    return derivative
