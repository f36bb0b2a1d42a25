"""Detections of a model that suppresses inside: rows, and what the operator NonMaxSuppression selects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from assay.core.decoding import BoxForm, BoxUnit, Decoding
from assay.core.errors import ModelError
from assay.core.tensor import Outputs
from assay.measure.tasks.boxes import Detections, is_numeric, make_detections, read_detections
from assay.measure.tasks.heads import Floats, list_outputs, split_boxes_scores, to_corners, to_pixels, widen

INDICES = 3
"""Columns of NonMaxSuppression's output: image, class, box."""
NUMBERED = 7
"""Columns of a row that begins with its image."""
SELECTED_FORMS = (
    "it takes boxes [n, places, 4], scores [n, classes, places] and NonMaxSuppression's int64 [selected, 3]; or one "
    "output [selected, 7] of image, x0, y0, x1, y1, class, score"
)


def read_rows(outputs: Outputs, items: int | None, decoding: Decoding, size: tuple[int, int] | None) -> Detections:
    """Detections as the model gives them, in the form and unit that the request says.

    Raises:
        ModelError: the outputs have another form.
    """
    found = read_detections(outputs, items)
    least = decoding.least_score or 0.0
    return replace(
        found,
        corners=_place(found.corners, decoding, size),
        kinds=found.kinds - decoding.first_class,
        found=found.found & (found.scores >= least) & (found.kinds >= decoding.first_class),
        classes=decoding.classes,
    )


def read_selected(outputs: Outputs, items: int | None, decoding: Decoding, size: tuple[int, int] | None) -> Detections:
    """Detections of a graph that ends in NonMaxSuppression.

    Raises:
        ModelError: the outputs have another form; they are named with their shapes.
    """
    wide = {name: value for name, value in outputs.items() if is_numeric(value)}
    for name, value in wide.items():
        if value.ndim == 2 and value.shape[1] == NUMBERED:  # noqa: PLR2004 - rows and columns
            table = value.astype(np.float64)
            rows = np.concatenate([table[:, 1:5], table[:, [6, 5]]], axis=1)
            images = table[:, 0].astype(np.int64)
            return _group(rows, images, items or int(images.max(initial=0)) + 1, decoding, size, (name,))
    chosen = next(
        (n for n, v in wide.items() if v.ndim == 2 and v.shape[1] == INDICES and v.dtype.kind in "iu"),  # noqa: PLR2004 - rows and columns
        None,
    )
    pair = split_boxes_scores({name: widen(value) for name, value in wide.items() if name != chosen})
    if chosen is None or pair is None:
        message = f"decoder selected cannot read the outputs; they are {list_outputs(outputs)}"
        raise ModelError(message, SELECTED_FORMS)
    image, kind, place = wide[chosen].astype(np.int64).T
    boxes, scores = widen(wide[pair[0]]), widen(wide[pair[1]])
    _check_indices(chosen, (image, kind, place), (len(boxes), scores.shape[1], boxes.shape[1]))
    columns = [boxes[image, place], scores[image, kind, place][:, None], kind[:, None].astype(np.float64)]
    return _group(np.concatenate(columns, axis=1), image, len(boxes), decoding, size, (*pair, chosen))


def _check_indices(name: str, found: tuple[np.ndarray, ...], lengths: tuple[int, int, int]) -> None:
    """Refuse what is selected beyond the boxes and the scores.

    Raises:
        ModelError: naming the output.
    """
    for values, length, what in zip(found, lengths, ("image", "class", "box"), strict=True):
        if values.size and not 0 <= values.min() <= values.max() < length:
            raise ModelError(f"output {name!r} selects a {what} that is not there: there are {length}", SELECTED_FORMS)


def _group(
    rows: Floats,
    images: np.ndarray[tuple[int], np.dtype[np.int64]],
    count: int,
    decoding: Decoding,
    size: tuple[int, int] | None,
    names: tuple[str, ...],
) -> Detections:
    """Rows ``[selected, 6]`` of box, score and class by their images."""
    most = int(np.bincount(images[(images >= 0) & (images < count)], minlength=count).max(initial=0))
    table = np.zeros((count, most, rows.shape[1]))
    for image in range(count):
        own = rows[images == image]
        table[image, : len(own)] = own
    least = decoding.least_score or 0.0
    found = make_detections(
        _place(table[..., :4], decoding, size),
        table[..., 4],
        table[..., 5] - decoding.first_class,
        names,
        decoding.classes,
    )
    return replace(found, found=found.found & (found.scores >= least))


def _place(boxes: Floats, decoding: Decoding, size: tuple[int, int] | None) -> Floats:
    """Corners in pixels."""
    return to_pixels(to_corners(boxes, decoding.boxes or BoxForm.XYXY), decoding.unit or BoxUnit.PIXELS, size)
