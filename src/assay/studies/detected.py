"""What the chosen artifact of a detector finds of each class, beside FP32."""

from __future__ import annotations

from assay.core.detected import DetectedClasses
from assay.core.trial import Trial
from assay.measure.functionals.by_class import compare_classes
from assay.measure.tasks.detection import RECORD
from assay.studies.scoring import read_scores
from assay.studies.workspace import Workspace


def describe_detected(space: Workspace, reference: Trial, shown: Trial | None) -> DetectedClasses | None:
    """Metrics by class of the trial that is shown, on the items that both were scored on; None where nothing is.

    Raises:
        StoreError: the scores are missing.
    """
    if shown is None or space.metric.record != RECORD:
        return None
    variant, known = read_scores(space, shown.candidate), read_scores(space, reference.candidate)
    items = min(len(variant), len(known))
    pair = (scores.select(slice(0, items)).records[RECORD] for scores in (known, variant))
    return DetectedClasses(shown.id, items, compare_classes(*pair))
