"""Object detection: boxes with scores and classes, after suppression, against the true ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from assay.core.decoding import Decoder, Decoding
from assay.core.errors import ModelError, RequestError
from assay.core.session import Batch, Metric, Scores
from assay.core.task_settings import TaskSettings
from assay.core.tensor import Array, Outputs, Signature
from assay.measure.tasks.agreement import AGREEMENT
from assay.measure.tasks.boxes import (
    Detections,
    check_classes,
    check_scale,
    clip_objects,
    make_detections,
    read_objects,
)
from assay.measure.tasks.conventions import complete, read_anchors
from assay.measure.tasks.decoders import Head, decode_head
from assay.measure.tasks.matching import OVERLAPS, match_image
from assay.measure.tasks.suppressed import read_rows, read_selected
from assay.measure.tasks.suppression import Selection, select_rows

RECORD = "boxes"
MAP = Metric("map50-95", higher_is_better=True, labelled=True, functional="map50-95", record=RECORD)
MAP50 = Metric("map50", higher_is_better=True, labelled=True, functional="map50", record=RECORD)
RECALL = Metric("recall", higher_is_better=True, labelled=True, functional="average-recall", record=RECORD)
ITEM_SCORE = "image-ap"
MOST_DETECTIONS = 100
NO_PREDICTION = -1
CHANNELS = (1, 3)


class Detection:
    """Objects found, one item an image; all coordinates in pixels of the model's input.

    The model gives, after suppression, one output ``[n, detections, 6]`` of x0, y0, x1, y1, score, class, or three:
    boxes ``[n, detections, 4]``, scores and labels ``[n, detections]``; or a raw head, where a decoder is named. A row
    with a score of 0 or less, a negative class or a value that is not finite is no detection; the best 100 of an image
    count. Targets are ``[n, objects, 5]`` of x0, y0, x1, y1, class, filled up with -1.

    The record ``boxes`` keeps class, score and matches of each detection and the class of each object
    (`assay.measure.functionals.boxes`). A model that finds nothing scores 0. ``agreement`` is of the class of the
    surest detection; an image on which nothing is found has no prediction, which agrees with nothing.

    Args:
        head: what the outputs mean; boxes after suppression where None.
    """

    name: str = "detection"
    metrics: tuple[Metric, ...] = (MAP, MAP50, RECALL, AGREEMENT)

    def __init__(self, head: Head | None = None) -> None:
        self._head = Head(Decoding(), None) if head is None else head

    @property
    def reading(self) -> str:
        """The decoding, where one was said."""
        return "" if self._head.decoding in (Decoding(), complete(Decoding())) else repr(self._head.decoding)

    def fit(self, settings: TaskSettings, signature: Signature) -> Detection:
        """The task for the decoder of a request and the input of a model.

        Raises:
            RequestError: the decoder's settings are incomplete, or contradict the model.
        """
        decoding = complete(settings.decoding or Decoding())
        found = _find_size(signature)
        if found is not None and decoding.size is not None and decoding.size != found:
            message = f"decoding.size = {list(decoding.size)}, but the model's input is {list(found)}"
            raise RequestError(message, "leave decoding.size out: the model says it")
        return Detection(Head(decoding, found or decoding.size, read_anchors(decoding)))

    def check(self, signature: Signature, sample: Batch, outputs: Outputs) -> None:
        """Refuse a model or data that do not fit, before anything is measured.

        Raises:
            ModelError: the outputs have another form, or give fractions or logits.
            DataError: an object is impossible, in fractions, or outside the model's input.
        """
        detections = self.read(outputs, sample.size)
        unknown = set(detections.names) - {spec.name for spec in signature.outputs}
        if unknown:
            raise ModelError(f"outputs {sorted(unknown)} are not in the model's signature")
        if sample.targets is not None:
            objects = read_objects(sample.targets, sample.size, sample.start)
            check_classes(objects, detections.classes, sample.start)
            check_scale(objects, detections, self._head.size or _find_size(signature), sample.start)

    def score(self, outputs: Outputs, targets: Array | None) -> Scores:
        """Records of one batch; the prediction of an image is the class of its surest detection.

        Raises:
            ModelError: the outputs have another form.
            DataError: an object is impossible; items count from the start of the batch.
        """
        detections = self.read(outputs, None if targets is None else len(targets))
        rows = list(_choose_best(detections))
        predictions = [int(detections.kinds[item, best[0]]) if len(best) else -1 for item, best in enumerate(rows)]
        surest = [float(detections.scores[item, best[0]]) if len(best) else 0.0 for item, best in enumerate(rows)]
        said, certainty = np.array(predictions, dtype=np.int64), np.clip(np.array(surest, dtype=np.float64), 0, 1)
        if targets is None:
            return Scores(metrics={}, predictions=said, certainty=certainty)
        objects = clip_objects(read_objects(targets, len(rows), start=0), self._head.size, start=0)
        check_classes(objects, detections.classes, start=0)
        record = np.zeros((len(rows), MOST_DETECTIONS + objects.shape[1], 3))
        record[:, :, 0] = -1
        record[:, MOST_DETECTIONS:, 0] = objects[..., 4]
        for item, best in enumerate(rows):
            kinds, there = detections.kinds[item, best], objects[item, objects[item, :, 4] >= 0]
            bits = match_image(detections.corners[item, best], kinds, there[:, :4], there[:, 4])
            record[item, : len(best)] = np.stack([kinds, detections.scores[item, best], bits], axis=1)
        values = np.array([_average_image(row[: len(best)], row) for row, best in zip(record, rows, strict=True)])
        return Scores({ITEM_SCORE: values}, said, records={RECORD: record}, certainty=certainty)

    def read(self, outputs: Outputs, items: int | None) -> Detections:
        """The detections of every image.

        Args:
            outputs: of the model, by name.
            items: images of the batch, None where nothing tells.

        Raises:
            ModelError: the outputs have another form than the decoder takes.
        """
        decoding = self._head.decoding
        if decoding.decoder is Decoder.ROWS:
            return read_rows(outputs, items, decoding, self._head.size)
        if decoding.decoder is Decoder.SELECTED:
            return read_selected(outputs, items, decoding, self._head.size)
        dense = decode_head(outputs, items, self._head)
        least = 0.0 if decoding.least_score is None else decoding.least_score
        most_overlap = 1.0 if decoding.most_overlap is None else decoding.most_overlap
        rows = select_rows(dense, Selection(least, most_overlap, decoding.candidates, MOST_DETECTIONS), self._head.size)
        return make_detections(rows[..., :4], rows[..., 4], rows[..., 5], dense.names, dense.scores.shape[2])


def _choose_best(detections: Detections) -> Iterator[NDArray[np.int64]]:
    """Rows of each image that count, the highest score first; equal scores in the model's order."""
    for scores, found in zip(detections.scores, detections.found, strict=True):
        rows = np.flatnonzero(found)
        yield rows[np.argsort(-scores[rows], kind="stable")][:MOST_DETECTIONS]


def _average_image(found: NDArray[np.float64], rows: NDArray[np.float64]) -> float:
    """Average precision within one image, all classes together, to tell where most was lost, in [0, 1].

    An image without objects gets what is missing from its highest score to 1.
    """
    objects = np.count_nonzero((rows[:, 0] >= 0) & (rows[:, 1] == 0))
    if not objects:
        return 1 - min(float(found[:, 1].max(initial=0)), 1.0)
    hits = found[:, 2].astype(np.int64)[:, None] >> np.arange(len(OVERLAPS)) & 1
    precision = np.cumsum(hits, axis=0) / np.arange(1.0, len(hits) + 1)[:, None]
    return min(1.0, float((hits * precision).sum() / objects / len(OVERLAPS)))


def _find_size(signature: Signature) -> tuple[int, int] | None:
    """Height and width of the input that is a picture ``[n, C, H, W]`` or ``[n, H, W, C]``; None where it is open."""
    for spec in signature.inputs:
        _, *sides = spec.shape or (None,)
        for axis in (0, 2):
            if len(sides) == 3 and sides[axis] in CHANNELS:  # noqa: PLR2004 - channels, height, width
                height, width = (side for place, side in enumerate(sides) if place != axis)
                return (height, width) if isinstance(height, int) and isinstance(width, int) else None
    return None
