"""Refusing labels that cannot support the metric, as soon as the reference has been scored."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import MeasurementError
from assay.core.plan import Candidate, Plan
from assay.core.precision import Precision
from assay.core.requirements import ToleranceKind
from assay.core.session import Dataset, Metric, Scores
from assay.core.tensor import Array
from assay.decide import words
from assay.measure.functionals.boxes import CLASS, SCORE
from assay.measure.functionals.functional import Functional, Records
from assay.measure.functionals.table import load_functional
from assay.measure.statistics.influence import bound_above
from assay.measure.tasks.binary import RECORD as BINARY
from assay.measure.tasks.detection import RECORD as BOXES
from assay.measure.tasks.multi_label import RECORD as LABELS
from assay.measure.tasks.positive import SCORE as OWN_SCORE
from assay.measure.tuning import require_positives
from assay.studies.scoring import read_scores
from assay.studies.workspace import Workspace

CHUNK = 256
PLENTY = 100
"""Positive certification items that the search items promise, from which on nobody counts them."""


def refuse_few_positives(space: Workspace, candidate: Candidate) -> None:
    """Refuse a metric of positive items where there are none, too few, or too few for the tolerance.

    Args:
        space: the study.
        candidate: what was just scored on the search items; only FP32 as it stands tells what there is.

    Raises:
        MeasurementError: naming how many there are, and how many would do.
        DataError: an item cannot be read.
    """
    metric = space.metric
    if candidate.plan == Plan(Precision.FP32) and metric.record == BOXES:
        refuse_no_objects(read_scores(space, candidate).records[BOXES])
    if candidate.plan != Plan(Precision.FP32) or not metric.functional or metric.record not in {BINARY, LABELS}:
        return
    scores = read_scores(space, candidate).select(slice(0, space.split.search))
    functional, records = load_functional(metric.functional), scores.records[metric.record]
    if expect_positives(records, space.split.certification) < PLENTY:
        check_targets(space, metric, functional)
    if not space.request.accept_unresolvable and set(space.request.precisions) != {Precision.FP32}:
        refuse_unresolvable(space, functional, records)


def refuse_no_objects(records: Records) -> None:
    """Refuse pictures of which none has an object: every detector is as good on them.

    Args:
        records: ``boxes`` of the search items.

    Raises:
        MeasurementError: with the number of pictures.
    """
    if not ((records[..., CLASS] >= 0) & (records[..., SCORE] == 0)).any():
        message = f"none of the {len(records)} pictures that were drawn to search with has an object"
        raise MeasurementError(message, "check the targets: rows of x0, y0, x1, y1, class; -1 fills up")


def expect_positives(records: Records, items: int) -> float:
    """Positive ones among so many items like these, of the rarest label."""
    truth = records[:, 2] if records.ndim == 2 else records[:, :, 1]  # noqa: PLR2004 - two classes
    return float(truth.mean(axis=0).min()) * items


def check_targets(space: Workspace, metric: Metric, functional: Functional) -> None:
    """Hold the targets of the certification items against what the metric needs, supposing that all are found.

    Raises:
        MeasurementError: there are none, or too few, of a kind.
    """
    targets = read_targets(space.evaluation)[space.split.order]
    truth = targets.reshape(len(targets), -1).astype(np.float64)
    functional.check(require_truth(metric, truth)[space.split.search :])


def read_targets(dataset: Dataset) -> Array:
    """Targets of all items in their order, ``[n, ...]``.

    Raises:
        DataError: an item cannot be read.
    """
    parts, places = [], []
    for batch in dataset.batches(CHUNK):
        # Only the targets are kept: the inputs of all items need not fit into memory.
        parts.append(np.asarray(batch.targets))
        places.append(batch.start + np.arange(batch.size) if batch.places is None else batch.places)
    return np.concatenate(parts)[np.argsort(np.concatenate(places))]


def require_truth(metric: Metric, truth: NDArray[np.float64]) -> Records:
    """Records of a model that says what is true, of labels some of which are positive.

    Args:
        metric: whose records are wanted.
        truth: ``[n, 1]`` classes, or ``[n, labels]``.

    Raises:
        MeasurementError: none is positive.
    """
    whole = record_truth(metric, truth)
    require_positives(Scores({}, np.zeros(len(truth), np.int64), {metric.record: whole, OWN_SCORE: truth}))
    return whole


def record_truth(metric: Metric, truth: NDArray[np.float64]) -> Records:
    """Records of a model that says what is true.

    Args:
        metric: whose records are wanted.
        truth: ``[n, 1]`` classes, or ``[n, labels]``.
    """
    if metric.record == LABELS:
        return np.stack([truth, truth], axis=2)
    return np.stack([truth[:, 0]] * 3, axis=1)


def refuse_unresolvable(space: Workspace, functional: Functional, records: Records) -> None:
    """Refuse a tolerance that the certification items cannot resolve, even if no item changes.

    Raises:
        MeasurementError: naming the bound that they give, and how many items would do.
    """
    requirements, available = space.request.requirements, space.split.certification
    value, worst = functional.value(records), functional.worst(records)
    if not math.isfinite(worst) or (requirements.tolerance.kind is ToleranceKind.RELATIVE and value == 0):
        return
    margin = requirements.tolerance.margin(value)
    if bound_unchanged(worst, available, requirements.confidence) <= margin:
        return
    name, count = space.metric.name, words.format_count
    bound = bound_unchanged(worst, available, requirements.confidence)
    positives = round(expect_positives(records, available))
    needed = math.ceil(available * bound / margin / (1 - space.split.search / len(space.split))) if margin else None
    message = (
        f"{count(available)} certification items, about {count(positives)} of them positive, cannot resolve a loss of "
        f"{words.format_points(margin)} in {name} ({words.format_points(value).removesuffix(' pp')}% on the search "
        f"items): even if none of them changes, the bound is {words.format_points(bound)}"
    )
    enough = f"give {words.format_about(needed)} evaluation items like these or more" if needed else "tolerate a loss"
    raise MeasurementError(message, f"{enough}; or a larger tolerance; or accept it (--accept-unresolvable)")


def bound_unchanged(worst: float, items: int, confidence: float) -> float:
    """Upper bound of a loss where no item changes."""
    return float(bound_above(np.array(0.0), np.zeros(items), np.array(worst), confidence))
