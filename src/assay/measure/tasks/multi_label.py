"""Multi-label classification: any number of labels per item."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import DataError, ModelError
from assay.core.session import Batch, Metric, Scores
from assay.core.tensor import Array, Outputs, Signature
from assay.measure.tasks.agreement import AGREEMENT
from assay.measure.tasks.declared import list_widths
from assay.measure.tasks.positive import SCORE

RECORD = "labels"
EXACT = Metric("exact-match", higher_is_better=True, labelled=True)
F1_MICRO = Metric("f1-micro", higher_is_better=True, labelled=True, functional="f1-micro", record=RECORD)
F1_MACRO = Metric("f1-macro", higher_is_better=True, labelled=True, functional="f1-macro", record=RECORD)
LOGIT_THRESHOLD, PROBABILITY_THRESHOLD = 0.0, 0.5
HASH_PRIME = (1 << 31) - 1


class MultiLabel:
    """Labels that hold where their logit is above 0.

    The first floating-point output ``[n, labels]`` is taken (trailing axes of size 1 are dropped). Targets are 0 or 1,
    ``[n, labels]``. An item whose scores contain NaN has no prediction, and every label of it is wrong.
    """

    name: str = "multi-label"
    metrics: tuple[Metric, ...] = (F1_MICRO, F1_MACRO, EXACT, AGREEMENT)
    threshold: float = LOGIT_THRESHOLD

    def check(self, signature: Signature, sample: Batch, outputs: Outputs) -> None:
        """Refuse a model or data that do not fit, before anything is measured.

        Raises:
            ModelError: no output is suitable, or its scores are probabilities where logits are expected, or not.
            DataError: a target is not 0 or 1, or missing for an item or a label.
        """
        name, scores = _select(outputs, sample.size)
        if name not in {spec.name for spec in signature.outputs}:
            raise ModelError(f"output {name!r} is not in the model's signature")
        self._check_range(name, scores)
        if sample.targets is not None:
            _check_targets(sample.targets, sample.size, scores.shape[1], sample.start)

    def check_labels(self, targets: Array, signature: Signature) -> None:
        """Refuse labels that are not 0 or 1, or of another number than the model's, before anything is run.

        What the signature leaves open is for `check`.

        Raises:
            DataError: naming the first item.
        """
        labels = next(iter(list_widths(signature)), None)
        if isinstance(labels, int):
            _check_targets(targets, len(targets), labels, start=0)

    def score(self, outputs: Outputs, targets: Array | None) -> Scores:
        """Labels of one batch; without targets only predictions.

        Raises:
            ModelError: no output is suitable.
            DataError: a target is not 0 or 1; items count from the start of the batch.
        """
        _, scores = _select(outputs, None if targets is None else len(targets))
        predicted = scores > self.threshold
        valid: NDArray[np.bool_] = np.asarray(~np.isnan(scores).any(axis=1))
        predictions = np.where(valid, number_sets(predicted), -1)
        kept = {SCORE: scores.astype(np.float64)}
        if targets is None:
            return Scores(metrics={}, predictions=predictions, records=kept)
        truth = _check_targets(targets, len(scores), scores.shape[1], start=0)
        metrics, records = record_labels(predicted, truth, valid)
        return Scores(metrics=metrics, predictions=predictions, records={**kept, **records})

    def _check_range(self, name: str, scores: NDArray[np.float32]) -> None:
        """Refuse probabilities."""
        if scores.min() >= 0 and scores.max() <= 1:
            raise ModelError(
                f"output {name!r} gives scores within [0, 1]: they look like probabilities, and {self.name!r} takes "
                "logits (a label holds above 0)",
                "use the task 'multi-label-probability' (a label holds above 0.5)",
            )


class MultiLabelProbability(MultiLabel):
    """Labels that hold where their probability is above 0.5."""

    name: str = "multi-label-probability"
    threshold: float = PROBABILITY_THRESHOLD

    def _check_range(self, name: str, scores: NDArray[np.float32]) -> None:
        """Refuse what is no probability."""
        if scores.min() < 0 or scores.max() > 1:
            raise ModelError(
                f"output {name!r} gives scores from {scores.min():g} to {scores.max():g}: they are no probabilities",
                "use the task 'multi-label', which takes logits (a label holds above 0)",
            )


def _select(outputs: Outputs, items: int | None) -> tuple[str, NDArray[np.float32]]:
    """The output with the scores of the labels, as ``[n, labels] float32``."""
    for name, value in outputs.items():
        # bfloat16 comes as an extension type of NumPy, whose kind is not "f".
        is_float = value.dtype.kind == "f" or value.dtype.name == "bfloat16"
        is_matrix = value.ndim > 1 and value.size > 0 and all(axis == 1 for axis in value.shape[2:])
        if is_float and is_matrix and (items is None or len(value) == items):
            with np.errstate(over="ignore"):
                return name, value.reshape(len(value), -1).astype(np.float32)
    found = ", ".join(f"{name!r} {value.dtype.name}{list(value.shape)}" for name, value in outputs.items())
    raise ModelError(
        f"no output can be read as scores [n, labels]; the outputs are {found or 'none'}",
        "multi-label classification needs one floating-point output with one row per item",
    )


def record_labels(
    predicted: NDArray[np.bool_], truth: NDArray[np.bool_], valid: NDArray[np.bool_]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """Item scores and records of labels; every label of an item without a prediction is wrong.

    Args:
        predicted: ``[n, labels]``.
        truth: ``[n, labels]``.
        valid: ``[n]`` items that have a prediction.
    """
    said = np.where(valid[:, None], predicted, ~truth)
    exact = (said == truth).all(axis=1).astype(np.float64)
    return {EXACT.name: exact}, {RECORD: np.stack([said, truth], axis=2).astype(np.float64)}


def number_sets(predicted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """A number for each item's set of labels, ``[n]``; up to 62 labels different sets have different numbers."""
    numbers = np.zeros(len(predicted), dtype=np.int64)
    for column in predicted.T:
        # Beyond 62 bits the upper ones are folded into the lower ones by a prime modulus.
        numbers = numbers * 2 + column if predicted.shape[1] <= 62 else (numbers * 2 + column) % HASH_PRIME  # noqa: PLR2004
    return numbers


def _check_targets(targets: Array, items: int, labels: int, start: int) -> NDArray[np.bool_]:
    """Targets as ``[n, labels] bool``."""
    shape = list(targets.shape)
    if targets.dtype.kind not in "iubf":
        raise DataError(f"targets have the type {targets.dtype.name}{shape}", "give 0 or 1 as int64 [n, labels]")
    if targets.ndim < 2 or targets.shape[1] != labels or targets.size != len(targets) * labels:  # noqa: PLR2004 - a matrix
        raise DataError(f"targets have the shape {shape}, and the model has {labels} labels", "give [n, labels]")
    if len(targets) != items:
        raise DataError(f"{len(targets)} targets for {items} items from item {start} on", "give one row per item")
    matrix = targets.reshape(len(targets), labels)
    wrong = np.argwhere(~((matrix == 0) | (matrix == 1)))
    if len(wrong):
        item, label = (int(index) for index in wrong[0])
        raise DataError(f"target of item {start + item}, label {label} is {matrix[item, label]}", "give 0 or 1")
    truth: NDArray[np.bool_] = matrix == 1
    return truth
