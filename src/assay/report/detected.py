"""What a detector finds of each class, for tables."""

from __future__ import annotations

from assay.core.detected import ClassMetrics, DetectedClass
from assay.decide import words
from assay.studies.record import StudyRecord

HEADER = (
    "class",
    "objects",
    "pictures",
    "AP, FP32",
    "AP, shown",
    "AP50, FP32",
    "AP50, shown",
    "recall, FP32",
    "recall, shown",
)
MOST = 30


def explain_detected(record: StudyRecord) -> str:
    """What the table is of; empty where there is none."""
    found = record.detected
    if found is None or not found.classes:
        return ""
    more = f"; {MOST} of {len(found.classes)} classes" if len(found.classes) > MOST else ""
    return (
        f"FP32 beside {found.trial} on the {words.format_count(found.items)} pictures that both were scored on, the "
        f"largest fall in recall first{more}. COCO's definitions; figures of few objects, without intervals."
    )


def list_detected(record: StudyRecord) -> tuple[tuple[str, ...], ...]:
    """A line for each class under `HEADER`."""
    if record.detected is None:
        return ()
    falls = sorted(record.detected.classes, key=lambda one: (one.variant.recall - one.reference.recall, one.kind))
    return tuple(_show(one) for one in falls[:MOST])


def _show(one: DetectedClass) -> tuple[str, ...]:
    pairs = (_list(one.reference), _list(one.variant))
    cells = (f"{value:.3f}" for both in zip(*pairs, strict=True) for value in both)
    return (str(one.kind), words.format_count(one.objects), words.format_count(one.images), *cells)


def _list(metrics: ClassMetrics) -> tuple[float, float, float]:
    return metrics.precision, metrics.precision50, metrics.recall
