"""Classification: one label per item, from class scores or from one score."""

from __future__ import annotations

import re
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import DataError, ModelError
from assay.core.session import Batch, Metric, Scores
from assay.core.tensor import Array, Outputs, Signature
from assay.measure.tasks.agreement import AGREEMENT
from assay.measure.tasks.binary import (
    BINARY_METRICS,
    CLICKS,
    NORMALIZED_ENTROPY,
    RECORD,
    record_binary,
    record_clicks,
)
from assay.measure.tasks.certainty import measure_certainty
from assay.measure.tasks.declared import list_widths
from assay.measure.tasks.positive import SCORE, read_positive

TOP1 = Metric("top1", higher_is_better=True, labelled=True)
CLASSES = "classes"
RANK = "rank"
TOP5 = Metric("top5", higher_is_better=True, labelled=True, record=RANK, cut=5)
F1_MACRO = Metric("f1-macro", higher_is_better=True, labelled=True, functional="f1-macro-classes", record=CLASSES)
NO_PREDICTION = -1
LEAST_SAMPLE = 8
"""Items from which the range of a single score tells probabilities from logits."""


class Classification:
    """Right or wrong per item.

    The model gives class scores ``[n, classes]`` (logits or probabilities; trailing axes of size 1 are dropped), or
    one logit per item, ``[n, 1]`` or ``[n]``, which says class 1 where it is above 0 and class 0 elsewhere. The first
    floating-point output of the first form is taken, else the first of the second form. Targets are integers ``[n]``
    or ``[n, 1]``.

    Equal scores rank by class index, the lower first. An item whose scores contain NaN or +Inf, or nothing above
    -Inf, has no prediction (-1) and is wrong: -Inf alone masks a class. ``topK``, such as ``top3``, exists where there
    are more than K classes; ``f1``, ``precision``, ``recall``, ``auc`` and ``average-precision`` of class 1 where there
    are two, and ``normalized-entropy`` where one logit tells their probability.
    """

    name: str = "classification"
    metrics: tuple[Metric, ...] = (TOP1, TOP5, AGREEMENT, F1_MACRO, *BINARY_METRICS, NORMALIZED_ENTROPY)
    threshold: ClassVar[float] = 0.0
    pattern: str = "topK"

    def make_metric(self, name: str) -> Metric | None:
        """``top3``, or with any other number: the share of items whose true class is among so many best scores."""
        match = re.fullmatch(r"top(?P<cut>[1-9][0-9]{0,5})", name)
        cut = int(match["cut"]) if match else 0
        return Metric(name, higher_is_better=True, labelled=True, record=RANK, cut=cut) if cut else None

    def check(self, signature: Signature, sample: Batch, outputs: Outputs) -> None:
        """Refuse a model or data that do not fit, before anything is measured.

        A sample without targets passes: ``agreement`` needs none.

        Raises:
            ModelError: no output is suitable; all outputs are named with their shapes.
            DataError: a target is not an integer, out of range, or missing for an item.
        """
        name, scores = self._select(outputs, sample.size)
        if name not in {spec.name for spec in signature.outputs}:
            raise ModelError(f"output {name!r} is not in the model's signature")
        if scores.shape[1] == 1:
            self._check_single(name, scores)
        if sample.targets is not None:
            _check_targets(sample.targets, sample.size, max(scores.shape[1], 2), sample.start)

    def check_labels(self, targets: Array, signature: Signature) -> None:
        """Refuse labels that the model has no class for, all of them at once and before anything is run.

        What the signature leaves open, or the labels are another way than integers, is for `check`.

        Raises:
            DataError: naming the first item.
        """
        classes = next((count for count in list_widths(signature) if count != 1), None)
        if isinstance(classes, int) and targets.dtype.kind in "iub":
            _check_targets(targets, len(targets), classes, start=0)

    def score(self, outputs: Outputs, targets: Array | None) -> Scores:
        """Item scores of one batch; without targets only predictions.

        Raises:
            ModelError: no output is suitable.
            DataError: a target is out of range; items count from the start of the batch.
        """
        _, scores = self._select(outputs, None if targets is None else len(targets))
        classes = max(scores.shape[1], 2)
        valid = _has_prediction(scores)
        if scores.shape[1] == 1:
            labels = (scores[:, 0] > self.threshold).astype(np.int64)
        else:
            labels = np.argmax(np.where(np.isnan(scores), -np.inf, scores), axis=1).astype(np.int64)
        predictions = np.where(valid, labels, NO_PREDICTION)
        certainty = measure_certainty(scores, valid)
        records = {SCORE: self._read_positive(scores)} if classes == 2 else {}  # noqa: PLR2004 - two classes
        if targets is None:
            return Scores(metrics={}, predictions=predictions, records=records, certainty=certainty)
        truth = _check_targets(targets, len(scores), classes, start=0)
        metrics = {TOP1.name: (predictions == truth).astype(np.float64)}
        records[CLASSES] = np.stack([predictions, truth], axis=1).astype(np.float64)
        if scores.shape[1] > 1:
            rank = np.where(valid, _rank(scores, truth), classes)
            records[RANK] = np.stack([rank, np.full(len(rank), classes)], axis=1).astype(np.float64)
        if SCORE in records:
            records[RECORD] = record_binary(records[SCORE], predictions, truth)
            probability = self._read_probability(scores)
            if probability is not None:
                records[CLICKS] = record_clicks(probability, predictions, truth)
        return Scores(metrics=metrics, predictions=predictions, records=records, certainty=certainty)

    def _select(self, outputs: Outputs, items: int | None) -> tuple[str, NDArray[np.float32]]:
        """The output with the class scores, as ``[n, classes]`` or ``[n, 1]`` float32."""
        single: tuple[str, NDArray[np.float32]] | None = None
        for name, value in outputs.items():
            scores = _to_matrix(value)
            if scores is None or (items is not None and len(scores) != items):
                continue
            if scores.shape[1] > 1:
                return name, scores
            single = single or (name, scores)
        if single is not None:
            return single
        found = ", ".join(f"{name!r} {value.dtype.name}{list(value.shape)}" for name, value in outputs.items())
        wanted = f"n = {items}" if items is not None else "n items"
        raise ModelError(
            f"no output can be read as class scores [n, classes], {wanted}; the outputs are {found or 'none'}",
            "classification needs one floating-point output with one row per item",
        )

    def _read_positive(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """What is held against a threshold, ``[n]``: the logit, or the difference of two scores."""
        return read_positive(scores)

    def _read_probability(self, scores: NDArray[np.float32]) -> NDArray[np.float64] | None:
        """Probability of class 1 by its logit, ``[n]``; None of two scores, which may be logits or probabilities."""
        if scores.shape[1] > 1:
            return None
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-scores[:, 0].astype(np.float64))))

    def _check_single(self, name: str, scores: NDArray[np.float32]) -> None:
        """Refuse a single score that is a probability where a logit is expected."""
        if len(scores) >= LEAST_SAMPLE and scores.min() >= 0 and scores.max() <= 1:
            raise ModelError(
                f"output {name!r} gives one score per item, all within [0, 1]: it looks like a probability, "
                f"and {self.name!r} takes one score as a logit (class 1 above 0)",
                "use the task 'binary-probability' (class 1 above 0.5)",
            )


class BinaryProbability(Classification):
    """Two classes from one probability per item, ``[n, 1]`` or ``[n]``: class 1 where it is above 0.5.

    Of two probabilities per item, ``[n, 2]``, the second one is held against a threshold.
    """

    name: str = "binary-probability"
    metrics: tuple[Metric, ...] = (TOP1, AGREEMENT, F1_MACRO, *BINARY_METRICS, NORMALIZED_ENTROPY)
    threshold: ClassVar[float] = 0.5
    pattern: str = ""

    def make_metric(self, name: str) -> Metric | None:  # noqa: ARG002 - there is one score, and no rank
        """None: two classes have ``top1`` only."""
        return None

    def check(self, signature: Signature, sample: Batch, outputs: Outputs) -> None:
        """Refuse a model or data that do not fit, before anything is measured.

        Raises:
            ModelError: no output is suitable, or its scores are no probabilities.
            DataError: a target is not an integer, out of range, or missing for an item.
        """
        super().check(signature, sample, outputs)
        name, scores = self._select(outputs, sample.size)
        if scores.shape[1] > 1:
            self._check_single(name, scores)

    def _read_positive(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probability of class 1, ``[n]``."""
        return scores[:, -1].astype(np.float64)

    def _read_probability(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """The same."""
        return self._read_positive(scores)

    def _check_single(self, name: str, scores: NDArray[np.float32]) -> None:
        """Refuse a single score that is no probability."""
        if scores.min() < 0 or scores.max() > 1:
            raise ModelError(
                f"output {name!r} gives scores from {scores.min():g} to {scores.max():g}: they are no probabilities",
                "use the task 'classification', which takes one score as a logit (class 1 above 0)",
            )


def _to_matrix(value: Array) -> NDArray[np.float32] | None:
    """An output as ``[n, classes]``, or None where it has another form."""
    # bfloat16 comes as an extension type of NumPy, whose kind is not "f".
    if value.dtype.kind != "f" and value.dtype.name != "bfloat16":
        return None
    if value.ndim == 0 or value.size == 0 or any(axis != 1 for axis in value.shape[2:]):
        return None
    with np.errstate(over="ignore"):
        return value.reshape(len(value), -1).astype(np.float32)


def _has_prediction(scores: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Rows that name a class: no NaN, no +Inf, something above -Inf."""
    highest = scores.max(axis=1)  # NaN where any score is
    valid: NDArray[np.bool_] = np.isfinite(highest)
    return valid


def _rank(scores: NDArray[np.float32], truth: NDArray[np.int64]) -> NDArray[np.int64]:
    """Position of the true class in its row, 0 for the highest score; ties go to the lower index."""
    true_score = np.take_along_axis(scores, truth[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < truth[:, None]
    ahead = (scores > true_score) | ((scores == true_score) & earlier)
    rank: NDArray[np.int64] = ahead.sum(axis=1, dtype=np.int64)
    return rank


def _check_targets(targets: Array, items: int, classes: int, start: int) -> NDArray[np.int64]:
    """Targets as ``[n] int64``, all in ``0..classes-1``."""
    shape = list(targets.shape)
    if targets.dtype.kind not in "iub":
        message = f"targets of items {start}..{start + len(targets) - 1} have the type {targets.dtype.name}{shape}"
        if targets.dtype.kind == "f" and targets.ndim > 1 and targets.shape[1] > 1:
            raise DataError(message, "they look one-hot: give class indices, target.argmax(axis=1)")
        raise DataError(f"{message}, not integers", "give class indices as int64 [n]")
    if targets.ndim == 0 or any(axis != 1 for axis in targets.shape[1:]):
        raise DataError(
            f"targets have the shape {shape}: one class index per item is needed", "one-hot targets: use argmax(axis=1)"
        )
    if len(targets) != items:
        message = f"{len(targets)} targets for {items} items from item {start} on"
        raise DataError(message, "give one class index per item")
    # Compared in their own type: unsigned labels beyond int64 must not wrap into range.
    truth = cast("NDArray[np.integer]", targets.reshape(-1))
    wrong = np.flatnonzero((truth < 0) | (truth >= classes))
    if wrong.size:
        index = int(wrong[0])
        raise DataError(
            f"target of item {start + index} is {int(truth[index])}, and the model has {classes} classes "
            f"(0 to {classes - 1})",
            "classes count from 0; check that labels and model come from the same data set",
        )
    return truth.astype(np.int64)
