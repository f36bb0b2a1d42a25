"""Item scores under other thresholds than the task's own: what scores above is positive, nothing is run again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import RequestError
from assay.core.session import Batch, Metric, Scores, Task
from assay.core.tensor import Array, Outputs, Signature
from assay.measure.tasks import binary, classification, multi_label
from assay.measure.tasks.positive import SCORE

NO_PREDICTION = -1


def apply_thresholds(scores: Scores, values: Sequence[float]) -> Scores:
    """The same items where other scores count as positive.

    Predictions, records and item scores follow; the score itself, and with it AUC, stays. An item without a
    prediction stays wrong.

    Args:
        scores: with the record ``score``: ``[n]`` of two classes, ``[n, labels]`` of labels.
        values: one threshold, or one for each label.

    Raises:
        RequestError: the scores have no such record, or another number of labels.
    """
    record = read_score(scores)
    if record.ndim == 1 and len(values) == 1:
        return _apply_to_classes(scores, record, values[0])
    if record.ndim > 1 and len(values) in {1, record.shape[1]}:
        return _apply_to_labels(scores, record, np.asarray(values, dtype=np.float64))
    labels = 1 if record.ndim == 1 else record.shape[1]
    raise RequestError(f"{len(values)} thresholds do not fit {labels} labels", "give one threshold")


def find_positive(scores: Scores, values: Sequence[float]) -> NDArray[np.bool_]:
    """What counts as positive, ``[n]`` or ``[n, labels]``; nothing of an item without a prediction.

    Raises:
        RequestError: nothing was kept that a threshold could be held against.
    """
    record = read_score(scores)
    valid = scores.predictions >= 0
    above = record > np.asarray(values, dtype=np.float64)
    positive: NDArray[np.bool_] = above & (valid if record.ndim == 1 else valid[:, None])
    return positive


def read_score(scores: Scores) -> NDArray[np.float64]:
    """What thresholds are held against, ``[n]`` or ``[n, labels]``.

    Raises:
        RequestError: nothing was kept that a threshold could be held against.
    """
    record = scores.records.get(SCORE)
    if record is None:
        raise RequestError(
            "a threshold needs one score for each item or label, and the task keeps none of this model",
            "leave the threshold out, or take a task of two classes or of labels",
        )
    return record


class ThresholdedTask:
    """A task whose labels hold above given thresholds.

    Args:
        task: of two classes or of labels.
        values: one threshold, or one for each label.
    """

    def __init__(self, task: Task, values: Sequence[float]) -> None:
        self._task, self._values = task, tuple(values)

    @property
    def name(self) -> str:
        """As written in a request."""
        return self._task.name

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Those of the task."""
        return self._task.metrics

    def check(self, signature: Signature, sample: Batch, outputs: Outputs) -> None:
        """Refuse what the task refuses.

        Raises:
            ModelError: the outputs do not fit.
            DataError: the targets do not fit.
        """
        self._task.check(signature, sample, outputs)

    def score(self, outputs: Outputs, targets: Array | None) -> Scores:
        """Item scores of one batch at the thresholds.

        Raises:
            DataError: a target is out of range.
            RequestError: the model has no score that a threshold could be held against.
        """
        return apply_thresholds(self._task.score(outputs, targets), self._values)


def _apply_to_classes(scores: Scores, record: NDArray[np.float64], value: float) -> Scores:
    """Of two classes."""
    valid = scores.predictions >= 0
    predictions = np.where(valid, record > value, NO_PREDICTION).astype(np.int64)
    known = scores.records.get(binary.RECORD)
    if known is None:
        return replace(scores, predictions=predictions)
    truth = known[:, 2].astype(np.int64)
    records = {**scores.records, binary.RECORD: binary.record_binary(record, predictions, truth)}
    if (classes := records.get(classification.CLASSES)) is not None:
        records[classification.CLASSES] = np.stack([predictions.astype(np.float64), classes[:, 1]], axis=1)
    metrics = {**scores.metrics, classification.TOP1.name: (predictions == truth).astype(np.float64)}
    return replace(scores, metrics=metrics, predictions=predictions, records=records)


def _apply_to_labels(scores: Scores, record: NDArray[np.float64], values: NDArray[np.float64]) -> Scores:
    """Of any number of labels."""
    valid = scores.predictions >= 0
    predicted = record > values
    predictions = np.where(valid, multi_label.number_sets(predicted), NO_PREDICTION)
    known = scores.records.get(multi_label.RECORD)
    if known is None:
        return replace(scores, predictions=predictions)
    metrics, records = multi_label.record_labels(predicted, known[:, :, 1] == 1, valid)
    return replace(
        scores,
        predictions=predictions,
        metrics={**scores.metrics, **metrics},
        records={**scores.records, **records},
    )
