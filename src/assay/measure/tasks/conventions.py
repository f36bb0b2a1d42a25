"""What each decoder takes for granted where the request says nothing: as the detectors' own evaluations do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.core.decoding import Background, BoxForm, BoxUnit, Decoder, Decoding, ScoreKind
from assay.core.errors import RequestError
from assay.measure.tasks.heads import CORNERS

CONVENTIONS: Mapping[Decoder, Decoding] = {
    Decoder.ROWS: Decoding(boxes=BoxForm.XYXY, unit=BoxUnit.PIXELS, least_score=0.0, most_overlap=1.0),
    Decoder.SELECTED: Decoding(boxes=BoxForm.XYXY, unit=BoxUnit.PIXELS, least_score=0.0, most_overlap=1.0),
    Decoder.YOLOV8: Decoding(
        boxes=BoxForm.CXCYWH,
        unit=BoxUnit.PIXELS,
        scores=ScoreKind.PROBABILITY,
        background=Background.NONE,
        least_score=0.001,
        most_overlap=0.7,
    ),
    Decoder.YOLOV5: Decoding(
        boxes=BoxForm.CXCYWH,
        unit=BoxUnit.PIXELS,
        scores=ScoreKind.PROBABILITY,
        background=Background.NONE,
        least_score=0.001,
        most_overlap=0.6,
    ),
    Decoder.YOLOX: Decoding(
        scores=ScoreKind.PROBABILITY, background=Background.NONE, least_score=0.01, most_overlap=0.65
    ),
    Decoder.BINS: Decoding(
        centre=0.5, scores=ScoreKind.PROBABILITY, background=Background.NONE, least_score=0.05, most_overlap=0.6
    ),
    Decoder.DENSE: Decoding(
        boxes=BoxForm.XYXY,
        unit=BoxUnit.PIXELS,
        scores=ScoreKind.PROBABILITY,
        background=Background.NONE,
        least_score=0.01,
        most_overlap=0.5,
    ),
    Decoder.SSD: Decoding(
        boxes=BoxForm.CXCYWH,
        unit=BoxUnit.FRACTIONS,
        scores=ScoreKind.PROBABILITY,
        background=Background.FIRST,
        variances=(0.1, 0.2),
        least_score=0.01,
        most_overlap=0.45,
    ),
    Decoder.DETR: Decoding(
        boxes=BoxForm.CXCYWH,
        unit=BoxUnit.FRACTIONS,
        scores=ScoreKind.SOFTMAX,
        background=Background.LAST,
        least_score=0.0,
        most_overlap=1.0,
    ),
}


def complete(decoding: Decoding) -> Decoding:
    """A decoding with its decoder's conventions where it says nothing.

    Raises:
        RequestError: it names what its decoder does not take, or lacks what that needs.
    """
    convention = CONVENTIONS[decoding.decoder]
    if (decoding.decoder is Decoder.SSD) != (decoding.anchors is not None):
        message = f"decoder {decoding.decoder} {'needs' if decoding.anchors is None else 'takes no'} decoding.anchors"
        raise RequestError(message, "only decoder = 'ssd' takes them: an .npy file [anchors, 4] of centre and size")
    idle = [key for key in ("boxes", "unit", "scores", "background") if _is_idle(decoding, convention, key)]
    if idle:
        message = f"decoder {decoding.decoder} does not take decoding.{idle[0]}"
        raise RequestError(message, "leave it out, or name another decoder")
    if decoding.boxes is not None and decoding.decoder is Decoder.SSD and decoding.boxes not in _SSD_FORMS:
        message = f"decoder ssd: decoding.boxes = {decoding.boxes}"
        raise RequestError(message, "offsets are in the order 'cxcywh' or, as TensorFlow's, 'yxyx'")
    missing = {
        field.name: getattr(convention, field.name)
        for field in fields(Decoding)
        if getattr(decoding, field.name) is None
    }
    return replace(decoding, **missing)


_SSD_FORMS = (BoxForm.CXCYWH, BoxForm.YXYX)


def read_anchors(decoding: Decoding) -> NDArray[np.float64] | None:
    """Anchors ``[anchors, 4]`` of a decoding; None where it names no file.

    Raises:
        RequestError: the file cannot be read, or holds something else.
    """
    if decoding.anchors is None:
        return None
    path = Path(decoding.anchors)
    hint = "decoding.anchors is an .npy file [anchors, 4] of centre x, y, width, height"
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise RequestError(f"cannot read the anchors {path}: {error}", hint) from error
    if not isinstance(found, np.ndarray) or found.shape[1:] != (CORNERS,) or found.dtype.kind not in "fiu":
        raise RequestError(f"the anchors {path} are no table [anchors, 4] of numbers", hint)
    anchors = found.astype(np.float64)
    if not np.isfinite(anchors).all() or not (anchors[:, 2:] > 0).all():
        raise RequestError(f"the anchors {path} are not all finite and of positive size", hint)
    return anchors


def _is_idle(decoding: Decoding, convention: Decoding, key: str) -> bool:
    """Whether a request sets a key that its decoder has no use for."""
    return getattr(convention, key) is None and getattr(decoding, key) is not None
