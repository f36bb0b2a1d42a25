"""What a detector finds of each class, the reference beside a variant."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """Metrics of one class by COCO's definitions.

    Attributes:
        precision: average precision, mean over the overlaps 0.50 to 0.95.
        precision50: average precision at the overlap 0.50.
        recall: share of the objects that are found, mean over the overlaps.
    """

    precision: float
    precision50: float
    recall: float


@dataclass(frozen=True, slots=True)
class DetectedClass:
    """One class; figures without intervals, since a class alone has few objects.

    Attributes:
        kind: number of the class.
        objects: in all.
        images: that have one.
    """

    kind: int
    objects: int
    images: int
    reference: ClassMetrics
    variant: ClassMetrics


@dataclass(frozen=True, slots=True)
class DetectedClasses:
    """All classes that have an object, on the items that both were scored on.

    Attributes:
        trial: id of the variant.
        items: images.
    """

    trial: str
    items: int
    classes: tuple[DetectedClass, ...]
