"""Average recall of a detector: the share of the objects that some detection matches, by class and overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.measure.functionals.boxes import OVERLAPS, check_boxes, find_right, split_classes, weigh_heaviest
from assay.measure.functionals.functional import Records


class BoxRecall:
    """COCO's average recall over the overlaps 0.50 to 0.95, from the record ``boxes``."""

    span: float = 1.0
    groups: int = 0
    libraries: tuple[str, ...] = ()

    def check(self, records: Records) -> None:
        """Refuse too few images, or too few of a class.

        Raises:
            MeasurementError: naming how many there are and how many are needed.
        """
        check_boxes("recall", records)

    def value(self, records: Records) -> float:
        """Mean over classes and overlaps; 0 where there is no object."""
        shares = [boxes.hits.sum() / boxes.objects.sum() / OVERLAPS for boxes in split_classes(records, OVERLAPS)]
        return float(np.mean(shares)) if shares else 0.0

    def influence(self, records: Records) -> NDArray[np.float64]:
        """Of a mean of ratios of means, ``[n]``."""
        parts = [np.zeros(len(records))]
        for boxes in split_classes(records, OVERLAPS):
            total = boxes.objects.sum()
            share = float(boxes.hits.sum()) / total / OVERLAPS
            found = np.bincount(boxes.images, weights=boxes.hits.mean(axis=1), minlength=len(records))
            parts.append((found - share * boxes.objects) / total)
        influence: NDArray[np.float64] = np.sum(parts, axis=0) * (len(records) / max(len(parts) - 1, 1))
        return influence

    def worst(self, records: Records) -> float:
        """All objects of the heaviest image are missed."""
        return weigh_heaviest(records)

    def right(self, records: Records) -> NDArray[np.bool_]:
        """Images whose best detections are their objects."""
        return find_right(records)
