"""What a detector's raw outputs mean: which decoder reads them, and what the user says of them besides."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from assay.core.errors import RequestError


class Decoder(StrEnum):
    """How the outputs of a detector are laid out."""

    ROWS = "rows"
    YOLOV8 = "yolov8"
    YOLOV5 = "yolov5"
    YOLOX = "yolox"
    BINS = "bins"
    DENSE = "dense"
    SSD = "ssd"
    DETR = "detr"
    SELECTED = "selected"


class BoxForm(StrEnum):
    """Order of a box's four numbers."""

    XYXY = "xyxy"
    CXCYWH = "cxcywh"
    XYWH = "xywh"
    YXYX = "yxyx"


class BoxUnit(StrEnum):
    """What a box is measured in."""

    PIXELS = "pixels"
    FRACTIONS = "fractions"


class ScoreKind(StrEnum):
    """What is still to be done to a score."""

    PROBABILITY = "probability"
    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"


class Background(StrEnum):
    """Where among the classes "nothing" is."""

    NONE = "none"
    FIRST = "first"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class Decoding:
    """A decoder with what the user says besides; what is None is the decoder's own convention.

    Attributes:
        classes: of the model; more columns than these hold something else.
        size: height and width of the model's input in pixels, where the model leaves them open.
        strides: of the levels that cells lie on, in pixels of the input.
        centre: of a cell, in cells from its corner: 0.5 or 0.
        boxes: order of a box's numbers.
        unit: of a box's numbers.
        scores: what is still to be done to a score.
        background: where among the classes "nothing" is.
        anchors: ``.npy`` file ``[anchors, 4]`` of centre and size in the boxes' unit.
        variances: of the centre and of the size, by which offsets from anchors were divided.
        first_class: the number that the model gives its first class, 1 where it counts from 1.
        least_score: a detection with a lower score is none.
        most_overlap: a detection that shares more with a better one of its class (intersection over union) is
            suppressed; 1 suppresses nothing.
        candidates: the best of an image that are looked at before suppression.
    """

    decoder: Decoder = Decoder.ROWS
    classes: int | None = None
    size: tuple[int, int] | None = None
    strides: tuple[int, ...] | None = None
    centre: float | None = None
    boxes: BoxForm | None = None
    unit: BoxUnit | None = None
    scores: ScoreKind | None = None
    background: Background | None = None
    anchors: str | None = None
    variances: tuple[float, float] | None = None
    first_class: int = 0
    least_score: float | None = None
    most_overlap: float | None = None
    candidates: int = 1000

    def __post_init__(self) -> None:
        """Refuse what can never be.

        Raises:
            RequestError: naming the key and its value.
        """
        counts = {"classes": self.classes, "candidates": self.candidates}
        sides = {"size": self.size or (), "strides": self.strides or ()}
        for key, values in {**{key: (value,) for key, value in counts.items()}, **sides}.items():
            if any(value is not None and value < 1 for value in values):
                raise RequestError(f"decoding.{key} = {values[0] if key in counts else list(values)} is not positive")
        for key, share in (("least_score", self.least_score), ("most_overlap", self.most_overlap)):
            if share is not None and not 0 <= share <= 1:
                raise RequestError(f"decoding.{key} = {share:g} is no share", "give a number from 0 to 1")
        if self.first_class not in {0, 1}:
            raise RequestError(f"decoding.first_class = {self.first_class}", "give 0 or 1")
        if self.variances is not None and min(self.variances) <= 0:
            raise RequestError(f"decoding.variances = {list(self.variances)} are not positive", "such as [0.1, 0.2]")
        if self.strides is not None and not self.strides:
            raise RequestError("decoding.strides is empty", "give for example [8, 16, 32], or leave it out")
