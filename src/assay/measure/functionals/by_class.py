"""Average precision and recall of each class alone."""

from __future__ import annotations

import numpy as np

from assay.core.detected import ClassMetrics, DetectedClass
from assay.measure.functionals.average_precision import AveragePrecision, AveragePrecision50
from assay.measure.functionals.box_recall import BoxRecall
from assay.measure.functionals.boxes import CLASS, SCORE
from assay.measure.functionals.functional import Records


def compare_classes(reference: Records, variant: Records) -> tuple[DetectedClass, ...]:
    """Every class that has an object, in the order of their numbers.

    Args:
        reference: record ``boxes`` of the reference, ``[n, rows, 3]``.
        variant: of the same images in the same order.
    """
    objects = (reference[..., CLASS] >= 0) & (reference[..., SCORE] == 0)
    found: list[DetectedClass] = []
    for kind in np.unique(reference[..., CLASS][objects]):
        own = objects & (reference[..., CLASS] == kind)
        found.append(
            DetectedClass(
                kind=int(kind),
                objects=int(own.sum()),
                images=int(own.any(axis=1).sum()),
                reference=measure_class(reference, float(kind)),
                variant=measure_class(variant, float(kind)),
            )
        )
    return tuple(found)


def measure_class(records: Records, kind: float) -> ClassMetrics:
    """Metrics of one class that has an object."""
    alone = records.copy()
    alone[..., CLASS][records[..., CLASS] != kind] = -1
    return ClassMetrics(
        precision=AveragePrecision().value(alone),
        precision50=AveragePrecision50().value(alone),
        recall=BoxRecall().value(alone),
    )
