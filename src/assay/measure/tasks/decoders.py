"""Decoders of detectors' raw heads: what each output holds, by the conventions of the detectors' own exports.

Every decoder gives a box in pixels and a score for every class at every place; which of these are detections is said
in `assay.measure.tasks.suppression`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.core.decoding import Background, BoxForm, BoxUnit, Decoder, Decoding, ScoreKind
from assay.core.errors import ModelError
from assay.core.tensor import Outputs
from assay.measure.tasks.boxes import is_numeric
from assay.measure.tasks.heads import (
    CORNERS,
    Floats,
    find_strides,
    list_outputs,
    place_cells,
    require_classes,
    require_size,
    split_boxes_scores,
    to_corners,
    to_pixels,
    widen,
)
from assay.measure.tasks.levels import read_levels
from assay.measure.tasks.suppression import Dense

ANCHORS_A_CELL = 3
"""Of YOLOv5 and its kin."""
FORMS = {
    Decoder.YOLOV8: "one output [n, 4 + classes, places] or [n, places, 4 + classes]: centre, size, scores",
    Decoder.YOLOV5: "one output [n, places, 5 + classes]: centre, size, objectness, scores",
    Decoder.YOLOX: "one output [n, places, 5 + classes]: offset from the cell, logarithm of the size, both in strides",
    Decoder.DENSE: "boxes [n, places, 4] and scores [n, places, classes]",
    Decoder.SSD: "offsets from anchors [n, places, 4] and scores [n, places, classes]",
    Decoder.DETR: "boxes [n, places, 4] and logits [n, places, classes + 1]",
}


@dataclass(frozen=True, slots=True)
class Head:
    """What a decoder needs besides the outputs.

    Attributes:
        decoding: of the request, with the conventions of its decoder filled in.
        size: height and width of the model's input; None where it is not known.
        anchors: ``[anchors, 4]`` centre and size, for offsets from them.
    """

    decoding: Decoding
    size: tuple[int, int] | None
    anchors: NDArray[np.float64] | None = None


def decode_head(outputs: Outputs, items: int | None, head: Head) -> Dense:
    """A box and scores at every place.

    Args:
        outputs: of the model, by name.
        items: images of the batch, None where nothing tells.
        head: what the outputs mean.

    Raises:
        ModelError: the outputs have another form; they are named with their shapes.
    """
    wide = {name: widen(value) for name, value in outputs.items() if is_numeric(value)}
    wide = {name: value for name, value in wide.items() if value.ndim and items in (None, len(value))}
    # A dead head may hold anything: what is not finite is no detection.
    with np.errstate(over="ignore", invalid="ignore"):
        found = READERS[head.decoding.decoder](wide, head)
    if found is None:
        form = FORMS.get(head.decoding.decoder, LEVEL_FORM)
        message = f"decoder {head.decoding.decoder} cannot read the outputs; they are {list_outputs(outputs)}"
        raise ModelError(message, f"it takes {form}")
    return found


def read_yolov8(outputs: Mapping[str, Floats], head: Head) -> Dense | None:
    """YOLOv8 and its kin (YOLOv9, YOLO11): centre and size in pixels, then a probability for each class."""
    found = _find_columns(outputs, head, CORNERS, (1,))
    if found is None:
        return None
    name, columns = found
    classes = require_classes(columns.shape[2] - CORNERS, head.decoding.classes, (name,))
    scores = finish_scores(columns[..., CORNERS : CORNERS + classes], head.decoding)
    return Dense(_finish_boxes(columns[..., :CORNERS], head), scores, (name,))


def read_yolov5(outputs: Mapping[str, Floats], head: Head) -> Dense | None:
    """YOLOv5, YOLOv7, decoded YOLOX: as YOLOv8 with the objectness, which scales all scores, in the fifth column."""
    found = _find_columns(outputs, head, CORNERS + 1, (1, ANCHORS_A_CELL))
    if found is None:
        return None
    name, columns = found
    return Dense(_finish_boxes(columns[..., :CORNERS], head), _weigh_scores(columns, head.decoding, name), (name,))


def read_yolox(outputs: Mapping[str, Floats], head: Head) -> Dense | None:
    """YOLOX as it is exported: boxes relative to their cells (Ge et al., YOLOX, 2021)."""
    size = require_size(head.size)
    found = _find_columns(outputs, head, CORNERS + 1, (1,))
    if found is None:
        return None
    name, columns = found
    strides = find_strides(size, columns.shape[1], head.decoding.strides)
    if strides is None:
        message = f"output {name!r} has {columns.shape[1]} places, which no strides of {size[1]}x{size[0]} pixels give"
        raise ModelError(message, "give decoding.strides")
    corner, steps = place_cells(size, strides, centre=0.0)
    extent = np.exp(columns[..., 2:4]) * steps
    boxes = np.concatenate([columns[..., :2] * steps + corner, extent], axis=2)
    return Dense(to_corners(boxes, BoxForm.CXCYWH), _weigh_scores(columns, head.decoding, name), (name,))


def read_dense(outputs: Mapping[str, Floats], head: Head) -> Dense | None:
    """Decoded boxes beside scores, as SSD with its boxes decoded inside gives them."""
    pair = _find_pair(outputs, head)
    if pair is None:
        return None
    boxes, scores, names = pair
    return Dense(_finish_boxes(boxes, head), scores, names)


def read_detr(outputs: Mapping[str, Floats], head: Head) -> Dense | None:
    """DETR and its kin: with a softmax each query has one class, with a sigmoid every class counts."""
    found = read_dense(outputs, head)
    if found is None or head.decoding.scores is not ScoreKind.SOFTMAX:
        return found
    best = found.scores >= found.scores.max(axis=2, keepdims=True)
    return Dense(found.corners, np.where(best, found.scores, 0.0), found.names)


def read_ssd(outputs: Mapping[str, Floats], head: Head) -> Dense | None:
    """SSD: offsets from anchors (Liu et al., SSD, 2016, equation 2), scaled by the variances."""
    pair = _find_pair(outputs, head)
    if pair is None or head.anchors is None:
        return None
    offsets, scores, names = pair
    if offsets.shape[1] != len(head.anchors):
        message = f"output {names[0]!r} has {offsets.shape[1]} places, and there are {len(head.anchors)} anchors"
        raise ModelError(message, "decoding.anchors is of another model or size")
    at_centre, at_size = head.decoding.variances or (0.1, 0.2)
    place, extent = head.anchors[:, :2], head.anchors[:, 2:]
    wide = extent * np.exp(offsets[..., 2:] * at_size)
    boxes = np.concatenate([place + offsets[..., :2] * at_centre * extent, wide], axis=2)
    if head.decoding.boxes is BoxForm.YXYX:
        boxes = boxes[..., [1, 0, 3, 2]]
    corners = to_corners(boxes, BoxForm.CXCYWH)
    return Dense(to_pixels(corners, head.decoding.unit or BoxUnit.PIXELS, head.size), scores, names)


def read_bins(outputs: Mapping[str, Floats], head: Head) -> Dense | None:
    """NanoDet, GFL, raw YOLOv8 heads: distances to a box's sides, or distributions over them, level by level."""
    decoding, size = head.decoding, require_size(head.size)
    found = read_levels(outputs, decoding, size)
    if found is None:
        return None
    distances, scores, names = found
    return Dense(distances, finish_scores(scores, decoding), names)


def finish_scores(raw: Floats, decoding: Decoding) -> Floats:
    """Scores ``[n, places, classes]`` as probabilities, without the background."""
    scores = raw
    if decoding.scores is ScoreKind.SIGMOID:
        # Through the hyperbolic tangent: no overflow for any logit.
        scores = 0.5 * (1 + np.tanh(0.5 * raw))
    elif decoding.scores is ScoreKind.SOFTMAX:
        power = np.exp(raw - raw.max(axis=2, keepdims=True))
        scores = power / power.sum(axis=2, keepdims=True)
    if decoding.background is Background.FIRST:
        return scores[..., 1:]
    return scores[..., :-1] if decoding.background is Background.LAST else scores


def _weigh_scores(columns: Floats, decoding: Decoding, name: str) -> Floats:
    """Class scores times the objectness in the fifth column."""
    first = CORNERS + 1
    classes = require_classes(columns.shape[2] - first, decoding.classes, (name,))
    raw = columns[..., CORNERS : first + classes]
    scores = finish_scores(raw, decoding)
    return scores[..., :1] * scores[..., 1:]


def _finish_boxes(boxes: Floats, head: Head) -> Floats:
    """Corners in pixels."""
    form, unit = head.decoding.boxes or BoxForm.XYXY, head.decoding.unit or BoxUnit.PIXELS
    return to_pixels(to_corners(boxes, form), unit, head.size)


def _find_columns(
    outputs: Mapping[str, Floats], head: Head, least: int, anchors: tuple[int, ...]
) -> tuple[str, Floats] | None:
    """The output that holds a row of numbers for every place, as ``[n, places, numbers]``."""
    for name, wide in outputs.items():
        if wide.ndim != 3 or min(wide.shape[1:]) <= 0:  # noqa: PLR2004 - images, places, columns
            continue
        places = _find_places(wide.shape[1:], head, anchors)
        columns = wide if places == 0 else wide.transpose(0, 2, 1)
        if columns.shape[2] > least:
            return name, columns
    return None


def _find_places(shape: tuple[int, ...], head: Head, anchors: tuple[int, ...]) -> int:
    """Which of two axes counts the places: the one that the levels' cells give, else the longer one."""
    if head.size is not None:
        for axis, length in enumerate(shape):
            for count in anchors:
                if length % count == 0 and find_strides(head.size, length // count, head.decoding.strides):
                    return axis
    return int(np.argmax(shape))


def _find_pair(outputs: Mapping[str, Floats], head: Head) -> tuple[Floats, Floats, tuple[str, str]] | None:
    """Boxes and finished scores."""
    pair = split_boxes_scores(outputs)
    if pair is None:
        return None
    boxes, raw = outputs[pair[0]], outputs[pair[1]]
    if raw.shape[1] != boxes.shape[1]:
        raw = raw.transpose(0, 2, 1)
    extra = 0 if head.decoding.background in (None, Background.NONE) else 1
    if head.decoding.classes is not None and raw.shape[2] != head.decoding.classes + extra:
        held = f"output {pair[1]!r} holds {raw.shape[2]} scores a place"
        wanted = f"decoding.classes = {head.decoding.classes}{' and the background' if extra else ''} ask for others"
        raise ModelError(f"{held}, and {wanted}", "mend decoding.classes or decoding.background")
    if raw.shape[2] <= extra:
        raise ModelError(f"output {pair[1]!r} holds no class besides the background", "mend decoding.background")
    return boxes, finish_scores(raw, head.decoding), pair


READERS: Mapping[Decoder, Callable[[Mapping[str, Floats], Head], Dense | None]] = {
    Decoder.YOLOV8: read_yolov8,
    Decoder.YOLOV5: read_yolov5,
    Decoder.YOLOX: read_yolox,
    Decoder.BINS: read_bins,
    Decoder.DENSE: read_dense,
    Decoder.SSD: read_ssd,
    Decoder.DETR: read_detr,
}
LEVEL_FORM = (
    "for every stride scores and distances, of one number a side or a distribution over some, as [n, cells, numbers], "
    "[n, numbers, h, w] or [n, h, w, numbers]; or both in one output"
)
