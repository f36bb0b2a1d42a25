"""Detections and objects as a model's outputs and the targets hold them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import DataError, ModelError
from assay.core.tensor import Array, Outputs

CORNERS = 4
COLUMNS = 6
TARGET_COLUMNS = 5
FORMS = (
    "detection needs, after suppression, one output [n, detections, 6] of x0, y0, x1, y1, score, class, or three: "
    "boxes [n, detections, 4], scores [n, detections] and labels [n, detections]; or name what reads a raw head, such "
    "as decoder = 'yolov8'"
)
MOST_FRACTION = 2
"""Fractions of boxes that reach a bit beyond the picture are below, pixels of a box anywhere above."""
MOST_OVER = 0.05
"""Share of the picture's side by which a box may reach over its edge, and is clipped."""
SCORE_WORDS = ("score", "conf", "prob")
LABEL_WORDS = ("label", "class", "cls")


@dataclass(frozen=True, slots=True)
class Detections:
    """What a model found, a row an image.

    Attributes:
        corners: ``[n, d, 4] float64`` x0, y0, x1, y1.
        scores: ``[n, d] float64``.
        kinds: ``[n, d] float64`` classes.
        found: ``[n, d]``, rows that are detections: of a score above 0, a class of 0 or more, and finite.
        names: the outputs that this was read from.
        classes: of the model, None where its outputs do not tell.
    """

    corners: NDArray[np.float64]
    scores: NDArray[np.float64]
    kinds: NDArray[np.float64]
    found: NDArray[np.bool_]
    names: tuple[str, ...]
    classes: int | None = None


def read_detections(outputs: Outputs, items: int | None) -> Detections:
    """The detections in a model's outputs; outputs of one image may lack the axis of the images.

    Raises:
        ModelError: the outputs have another form; they are named with their shapes.
    """
    single = items in (1, None)
    wide = {name: value for name, value in outputs.items() if is_numeric(value)}
    for name, value in wide.items():
        table = value[None] if single and value.ndim == 2 else value  # noqa: PLR2004 - without the images' axis
        if table.ndim == 3 and table.shape[2] == COLUMNS and items in (None, len(table)):  # noqa: PLR2004 - images, rows, columns
            columns = table.astype(np.float64)
            return make_detections(columns[..., :4], columns[..., 4], columns[..., 5], (name,))
    corners = [name for name, value in wide.items() if value.ndim >= 2 and value.shape[-1] == CORNERS]  # noqa: PLR2004 - rows and columns
    for name in corners:
        boxes = wide[name][None] if single and wide[name].ndim == 2 else wide[name]  # noqa: PLR2004 - without the images' axis
        rows = {
            other: value.reshape(boxes.shape[:2])
            for other, value in wide.items()
            if other != name and value.shape in {boxes.shape[:2], boxes.shape[1:2] if single else boxes.shape[:2]}
        }
        if boxes.ndim == 3 and len(rows) == 2 and items in (None, len(boxes)):  # noqa: PLR2004 - scores and labels
            scores, labels = _tell_apart(rows)
            certain, kinds = rows[scores].astype(np.float64), rows[labels].astype(np.float64)
            return make_detections(boxes.astype(np.float64), certain, kinds, (name, scores, labels))
    found = ", ".join(f"{name!r} {value.dtype.name}{list(value.shape)}" for name, value in outputs.items())
    raise ModelError(f"no output can be read as detections; the outputs are {found or 'none'}", FORMS)


def read_objects(targets: Array, items: int, start: int) -> NDArray[np.float64]:
    """Objects ``[n, m, 5] float64`` of x0, y0, x1, y1 and class; rows of class -1 are empty.

    Raises:
        DataError: the targets have another form, or a box or class is impossible, naming the item.
    """
    if targets.ndim != 3 or targets.shape[2] != TARGET_COLUMNS or not is_numeric(targets):  # noqa: PLR2004 - images, objects, columns
        raise DataError(
            f"targets from item {start} on are {targets.dtype.name}{list(targets.shape)}",
            "give [n, objects, 5] of x0, y0, x1, y1, class, in pixels of the model's input; -1 fills up",
        )
    if len(targets) != items:
        raise DataError(f"{len(targets)} targets for {items} items from item {start} on", "give one row per image")
    objects = targets.astype(np.float64)
    # NaN fills up too.
    there = objects[..., 4] >= 0
    _refuse(there & ~np.isfinite(objects).all(axis=2), objects, start, "is not finite", "give numbers")
    flat = (objects[..., 2] <= objects[..., 0]) | (objects[..., 3] <= objects[..., 1])
    _refuse(there & flat, objects, start, "has no area", "give corners x0, y0, x1, y1, not a width and height")
    broken = there & (objects[..., 4] != np.floor(objects[..., 4]))
    _refuse(broken, objects, start, "has a class that is no integer", "the order is x0, y0, x1, y1, class")
    objects[~there] = -1
    return objects


def check_scale(objects: NDArray[np.float64], detections: Detections, size: tuple[int, int] | None, start: int) -> None:
    """Refuse boxes that are not in pixels of the model's input.

    Args:
        objects: of some items, as `read_objects` gives them.
        detections: of the same items.
        size: height and width of the model's input, None where it is no picture.
        start: index of the first item.

    Raises:
        DataError: objects are fractions, or reach beyond the picture.
        ModelError: detections are fractions, or scores are no probabilities.
    """
    there = objects[..., 4] >= 0
    scores = detections.scores[detections.found]
    if scores.size and scores.max() > 1 + 1e-3:
        raise ModelError(
            f"a detection's score is {scores.max():g}, and scores lie between 0 and 1",
            "the order is x0, y0, x1, y1, score, class, with the sigmoid taken",
        )
    if not there.any():
        return
    if objects[there][:, :4].max() <= 1:
        hint = "multiply them by the width and height of the model's input"
        raise DataError(f"the objects of the items from {start} on look like fractions of the picture", hint)
    # A dead output, all zeros, is no matter of units.
    if 0 < detections.corners[detections.found].max(initial=0) <= MOST_FRACTION:
        hint = "let the model give pixels of its input"
        raise ModelError("the detections look like fractions of the picture, the objects are in pixels", hint)
    clip_objects(objects, size, start)


def clip_objects(objects: NDArray[np.float64], size: tuple[int, int] | None, start: int) -> NDArray[np.float64]:
    """Objects clipped to the picture, as annotators draw a bit over its edge; one that reaches farther is refused.

    Args:
        objects: ``[n, m, 5]`` as `read_objects` gives them.
        size: height and width of the model's input, None where it is not known: nothing is done then.
        start: index of the first item.

    Raises:
        DataError: an object reaches over an edge by more than a twentieth of the picture, or lies beyond it.
    """
    if size is None:
        return objects
    there = objects[..., 4] >= 0
    edge = np.array([size[1], size[0]] * 2, dtype=np.float64)
    over = np.maximum(objects[..., :4] - edge, -objects[..., :4])
    clipped = np.concatenate([np.clip(objects[..., :4], 0, edge), objects[..., 4:]], axis=2)
    gone = (clipped[..., 2] <= clipped[..., 0]) | (clipped[..., 3] <= clipped[..., 1])
    outside = there & ((over > np.maximum(1, MOST_OVER * edge)).any(axis=2) | gone)
    problem = f"lies outside the model's input of {size[1]}x{size[0]} pixels"
    _refuse(outside, objects, start, problem, "scale boxes as the picture is scaled, and clip them to it")
    clipped[~there] = -1
    return clipped


def check_classes(objects: NDArray[np.float64], classes: int | None, start: int) -> None:
    """Refuse an object of a class that the model does not have.

    Raises:
        DataError: naming the item and the object.
    """
    if classes is not None:
        problem = f"has a class that the model lacks: its classes are 0 to {classes - 1}"
        hint = "number the classes of the targets from 0, as the model's outputs are"
        _refuse(objects[..., 4] >= classes, objects, start, problem, hint)


def is_numeric(value: Array) -> bool:
    """Whether an array holds numbers; bfloat16 comes as an extension type of NumPy."""
    return value.dtype.kind in "fiub" or value.dtype.name == "bfloat16"


def make_detections(
    corners: NDArray[np.float64],
    scores: NDArray[np.float64],
    kinds: NDArray[np.float64],
    names: tuple[str, ...],
    classes: int | None = None,
) -> Detections:
    """Detections with what of them counts."""
    finite = np.isfinite(corners).all(axis=2) & np.isfinite(scores) & np.isfinite(kinds)
    return Detections(corners, scores, kinds, finite & (scores > 0) & (kinds >= 0), names, classes)


def _tell_apart(rows: dict[str, Array]) -> tuple[str, str]:
    """Names of the scores and of the labels: by type, then by name.

    Raises:
        ModelError: nothing tells which is which.
    """
    one, two = rows
    for scores, labels in ((one, two), (two, one)):
        typed = rows[labels].dtype.kind in "iu" and rows[scores].dtype.kind not in "iu"
        if typed or any(word in scores.lower() for word in SCORE_WORDS):
            return scores, labels
        if any(word in labels.lower() for word in LABEL_WORDS):
            return scores, labels
    raise ModelError(
        f"nothing tells which of {one!r} and {two!r} holds the scores", "name the outputs, or use integers"
    )


def _refuse(wrong: NDArray[np.bool_], objects: NDArray[np.float64], start: int, problem: str, hint: str) -> None:
    """Name the first object that is wrong."""
    places = np.argwhere(wrong)
    if len(places):
        item, row = places[0]
        values = ", ".join(f"{value:g}" for value in objects[item, row])
        raise DataError(f"object {row} of item {start + item} [{values}] {problem}", hint)
