"""Decoders of raw heads: every layout gives the boxes it was made of, and suppression is ONNX's."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper
from onnx.reference import ReferenceEvaluator

from assay.core.decoding import Background, BoxForm, BoxUnit, Decoder, Decoding, ScoreKind
from assay.core.errors import DataError, ModelError, RequestError
from assay.core.session import Batch
from assay.core.task_settings import TaskSettings
from assay.core.tensor import Array, Outputs, Signature, TensorSpec
from assay.measure.tasks.detection import Detection
from assay.measure.tasks.heads import place_cells
from assay.measure.tasks.suppression import suppress

SIZE = (96, 128)
CLASSES = 5
STRIDES = (8, 16, 32)
PLACES = 12 * 16 + 6 * 8 + 3 * 4
BINS = 12

Floats = NDArray[np.float64]


def fit(decoding: Decoding, size: tuple[int | str, int | str] = SIZE) -> Detection:
    image = TensorSpec("image", "float32", ("n", 3, *size))
    return Detection().fit(TaskSettings(decoding), Signature((image,), ()))


def make_truth(seed: int, n: int = 2) -> tuple[Floats, Floats]:
    """Corners and scores at every place: boxes inside the picture, around the centres of their cells."""
    rng = np.random.default_rng(seed)
    centres, steps = place_cells(SIZE, STRIDES, 0.5)
    reach = rng.uniform(0.2, 5, (n, PLACES, 4)) * steps
    corners = np.concatenate([centres - reach[..., :2], centres + reach[..., 2:]], axis=2)
    scores = rng.uniform(0.01, 0.3, (n, PLACES, CLASSES))
    sure = rng.integers(0, PLACES, (n, 6))
    for image, places in enumerate(sure):
        scores[image, places, rng.integers(0, CLASSES, 6)] = rng.uniform(0.5, 0.95, 6)
    return corners, scores


def to_centres(corners: Floats) -> Floats:
    return np.concatenate([(corners[..., :2] + corners[..., 2:]) / 2, corners[..., 2:] - corners[..., :2]], axis=-1)


def logit(scores: Floats) -> Floats:
    return np.log(scores / (1 - scores))


def spread(distance: Floats) -> Floats:
    """Distributions over 0 .. BINS - 1 with these means, as logits."""
    low = np.floor(distance).astype(np.int64)
    share = np.full((*distance.shape, BINS), 1e-12)
    part = distance - low
    np.put_along_axis(share, low[..., None], (1 - part)[..., None] + 1e-12, axis=-1)
    np.put_along_axis(share, low[..., None] + 1, part[..., None] + 1e-12, axis=-1)
    return np.log(share)


def cut_levels(values: Floats, *, as_maps: bool) -> list[Floats]:
    counts = np.cumsum([0] + [SIZE[0] // stride * (SIZE[1] // stride) for stride in STRIDES])
    levels = [values[:, low:high] for low, high in pairwise(counts)]
    if not as_maps:
        return levels
    sides = [(SIZE[0] // stride, SIZE[1] // stride) for stride in STRIDES]
    return [one.transpose(0, 2, 1).reshape(len(one), -1, *side) for one, side in zip(levels, sides, strict=True)]


def make_head(form: str, corners: Floats, scores: Floats) -> tuple[Decoding, Outputs]:  # noqa: C901, PLR0911 - one return a form
    """A model's outputs that say these boxes and scores, and how they are read."""
    centres, steps = place_cells(SIZE, STRIDES, 0.5)
    fractions = np.array([SIZE[1], SIZE[0]] * 2)
    whole = np.concatenate([to_centres(corners), scores], axis=2)
    objectness = scores.max(axis=2, keepdims=True)
    if form == "yolov8":
        return Decoding(Decoder.YOLOV8), {"output0": whole.transpose(0, 2, 1), "protos": np.zeros((2, 8, 4, 4))}
    if form == "yolov8 rows in fractions":
        whole[..., :4] /= fractions
        return Decoding(Decoder.YOLOV8, unit=BoxUnit.FRACTIONS), {"output0": whole}
    if form == "yolov8 with masks":
        whole = np.concatenate([whole, np.full((len(whole), PLACES, 32), 3.0)], axis=2)
        return Decoding(Decoder.YOLOV8, classes=CLASSES), {"output0": whole.transpose(0, 2, 1)}
    if form == "yolov5":
        parts = [to_centres(corners), objectness, scores / objectness]
        return Decoding(Decoder.YOLOV5), {"output": np.concatenate(parts, axis=2)}
    if form == "yolox":
        low = place_cells(SIZE, STRIDES, 0.0)[0]
        box = to_centres(corners)
        parts = [(box[..., :2] - low) / steps, np.log(box[..., 2:] / steps), objectness, scores / objectness]
        return Decoding(Decoder.YOLOX), {"output": np.concatenate(parts, axis=2)}
    if form in {"dense", "detr with sigmoid"}:
        boxes = corners if form == "dense" else to_centres(corners) / fractions
        if form == "dense":
            return Decoding(Decoder.DENSE), {"pred": scores, "boxes": boxes[:, :, None]}
        decoding = Decoding(Decoder.DETR, scores=ScoreKind.SIGMOID, background=Background.NONE)
        return decoding, {"logits": logit(scores), "pred_boxes": boxes}
    if form == "dense with background":
        decoding = Decoding(Decoder.DENSE, scores=ScoreKind.SOFTMAX, background=Background.FIRST, boxes=BoxForm.YXYX)
        nothing = 1 - scores.sum(axis=2, keepdims=True)
        logits = np.log(np.maximum(np.concatenate([nothing, scores], axis=2), 1e-9))
        return decoding, {"scores": logits.transpose(0, 2, 1), "boxes": corners[..., [1, 0, 3, 2]]}
    left, right = (centres - corners[..., :2]) / steps, (corners[..., 2:] - centres) / steps
    sides = np.concatenate([left, right], axis=2)
    bins = spread(sides).reshape(len(sides), PLACES, -1)
    if form == "bins joined":
        return Decoding(Decoder.BINS, classes=CLASSES), {"output": np.concatenate([scores, bins], axis=2)}
    if form == "distances":
        parts = zip(cut_levels(logit(scores), as_maps=True), cut_levels(sides, as_maps=True), strict=True)
        outputs = {f"{kind}_{i}": one for i, pair in enumerate(parts) for kind, one in zip("ab", pair, strict=True)}
        return Decoding(Decoder.BINS, scores=ScoreKind.SIGMOID), outputs
    if form == "bins as joined maps":
        joined = np.concatenate([bins, logit(scores)], axis=2)
        outputs = {f"level{i}": one for i, one in enumerate(cut_levels(joined, as_maps=True))}
        return Decoding(Decoder.BINS, classes=CLASSES, scores=ScoreKind.SIGMOID), outputs
    levels = [cut_levels(one, as_maps=False) for one in (scores, bins)]
    return Decoding(Decoder.BINS), {f"x{kind}{i}": one for kind, two in enumerate(levels) for i, one in enumerate(two)}


FORMS = (
    "yolov8",
    "yolov8 rows in fractions",
    "yolov8 with masks",
    "yolov5",
    "yolox",
    "dense",
    "detr with sigmoid",
    "bins",
    "bins joined",
    "bins as joined maps",
    "distances",
)


@pytest.mark.parametrize("form", FORMS)
def test_every_layout_says_the_same_boxes(form: str) -> None:
    corners, scores = make_truth(0)
    decoding, outputs = make_head(form, corners, scores)
    task = fit(replace(decoding, least_score=0.4, most_overlap=1.0))
    found = task.read({name: value.astype(np.float32) for name, value in outputs.items()}, 2)
    for image in range(2):
        places, kinds = np.nonzero(scores[image] >= 0.4)
        order = np.argsort(-scores[image, places, kinds], kind="stable")
        assert found.found[image].sum() == len(order) >= 4
        rows = slice(0, len(order))
        wanted = np.clip(corners[image, places[order]], 0, [128, 96, 128, 96])
        np.testing.assert_allclose(found.corners[image, rows], wanted, atol=2e-3)
        np.testing.assert_allclose(found.scores[image, rows], scores[image, places, kinds][order], atol=1e-5)
        assert found.kinds[image, rows].tolist() == kinds[order].tolist()
    assert found.classes == CLASSES


def test_a_softmax_takes_the_background_out() -> None:
    corners, scores = make_truth(1)
    decoding, outputs = make_head("dense with background", corners, scores / 3)
    found = fit(replace(decoding, least_score=0.1, most_overlap=1.0)).read(outputs, 2)
    assert found.classes == CLASSES
    assert found.scores[0].max() == pytest.approx(scores[0].max() / 3, abs=1e-6)
    best = np.unravel_index(scores[0].argmax(), scores[0].shape)
    np.testing.assert_allclose(found.corners[0, 0], np.clip(corners[0, best[0]], 0, [128, 96, 128, 96]))


def test_a_query_of_detr_has_one_class() -> None:
    logits = np.array([[[2.0, 1.9, -5], [-5, 1, 4]]])
    boxes = np.array([[[0.5, 0.5, 0.25, 0.5], [0.2, 0.2, 0.1, 0.1]]])
    found = fit(Decoding(Decoder.DETR)).read({"logits": logits, "pred_boxes": boxes}, 1)
    assert found.kinds[0, :2].tolist() == [0, 1]
    np.testing.assert_allclose(found.corners[0, 0], [48, 24, 80, 72])
    assert found.scores[0, 1] == pytest.approx(np.exp(1) / (np.exp(-5) + np.exp(1) + np.exp(4)))
    assert found.found.sum() == 2


@pytest.mark.parametrize("form", [BoxForm.CXCYWH, BoxForm.YXYX])
def test_offsets_from_anchors(form: BoxForm, tmp_path: Path) -> None:
    anchors = np.array([[0.5, 0.5, 0.2, 0.4], [0.25, 0.25, 0.1, 0.1]])
    offsets = np.array([[[1.0, -1, 0.5, 0], [0, 0, 0, 0]]])
    if form is BoxForm.YXYX:
        anchors, offsets = anchors[:, [1, 0, 3, 2]], offsets[..., [1, 0, 3, 2]]
    np.save(tmp_path / "anchors.npy", anchors)
    scores = np.array([[[0.1, 0.9, 0.0], [0.2, 0.1, 0.7]]])
    decoding = Decoding(Decoder.SSD, anchors=str(tmp_path / "anchors.npy"), boxes=form)
    found = fit(decoding).read({"loc": offsets, "conf": scores}, 1)
    width = 0.2 * np.exp(0.1)
    wanted = [0.52 - width / 2, 0.46 - 0.2, 0.52 + width / 2, 0.46 + 0.2]
    np.testing.assert_allclose(found.corners[0, 0], np.array(wanted) * [128, 96, 128, 96])
    assert (found.kinds[0, 0], found.kinds[0, 1], found.classes) == (0, 1, 2)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.floats(0.05, 0.95), st.integers(0, 10_000))
def test_suppression_is_that_of_onnx(count: int, limit: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 60, (count, 2))
    corners = np.concatenate([low, low + rng.uniform(1, 40, (count, 2))], axis=1)
    scores, kinds = np.sort(rng.uniform(0.1, 1, count))[::-1], rng.integers(0, 3, count)
    table = np.zeros((1, 3, count), np.float32)
    table[0, kinds, np.arange(count)] = scores
    names = ("boxes", "scores", "most", "limit", "least")
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("NonMaxSuppression", list(names), ["chosen"])],
            "suppress",
            [helper.make_tensor_value_info(name, 7 if name == "most" else 1, None) for name in names],
            [helper.make_tensor_value_info("chosen", 7, None)],
        )
    )
    limits = {"most": np.array([count]), "limit": np.array([limit], np.float32), "least": np.array([0.01], np.float32)}
    fed = {"boxes": corners[None].astype(np.float32), "scores": table, **limits}
    chosen = ReferenceEvaluator(model).run(None, fed)[0]
    kept = suppress(corners.astype(np.float32).astype(np.float64), kinds, float(np.float32(limit)))
    assert sorted(chosen[:, 2].tolist()) == np.flatnonzero(kept).tolist()


def test_what_nonmaxsuppression_selects() -> None:
    corners, scores = make_truth(2)
    chosen = np.array([[0, 2, 7], [1, 0, 3], [0, 4, 9]])
    outputs: Outputs = {"selected": chosen, "boxes": corners, "scores": scores.transpose(0, 2, 1)}
    found = fit(Decoding(Decoder.SELECTED)).read(outputs, 2)
    assert found.found.tolist() == [[True, True], [True, False]]
    assert found.kinds[0].tolist() == [2, 4]
    np.testing.assert_allclose(found.corners[0, 1], corners[0, 9])
    assert found.scores[1, 0] == scores[1, 3, 0]
    rows = np.concatenate([chosen[:, :1], corners[[0, 1, 0], [7, 3, 9]], chosen[:, 1:2], [[0.5], [0.6], [0.7]]], axis=1)
    table = fit(Decoding(Decoder.SELECTED)).read({"out": rows}, 2)
    np.testing.assert_allclose(table.corners[table.found], found.corners[found.found])
    assert table.scores[0].tolist() == [0.5, 0.7]
    with pytest.raises(ModelError, match="selects a box that is not there"):
        fit(Decoding(Decoder.SELECTED)).read({**outputs, "selected": np.array([[0, 0, PLACES]])}, 2)


def test_rows_in_another_order_and_unit() -> None:
    rows = np.array([[[0.25, 0.5, 0.5, 0.75, 0.9, 1], [0, 0, 1, 1, 0.2, 0]]])
    decoding = Decoding(boxes=BoxForm.YXYX, unit=BoxUnit.FRACTIONS, first_class=1, least_score=0.3)
    found = fit(decoding).read({"out": rows}, 1)
    np.testing.assert_allclose(found.corners[0, 0], [64, 24, 96, 48])
    assert (found.kinds[0, 0], found.found[0].tolist()) == (0, [True, False])


@pytest.mark.parametrize("dead", [0.0, np.nan, 1e30])
@pytest.mark.parametrize("form", FORMS)
def test_a_dead_head_finds_nothing_or_nonsense_but_never_fails(form: str, dead: float) -> None:
    decoding, outputs = make_head(form, *make_truth(3))
    broken: Outputs = {name: np.full(value.shape, dead, np.float32) for name, value in outputs.items()}
    scores = fit(decoding).score(broken, np.array([[[10, 10, 40, 40, 1.0]]] * 2))
    assert len(scores) == 2


@pytest.mark.parametrize(
    ("decoding", "shapes", "message"),
    [
        (Decoding(Decoder.YOLOV8), {"x": (2, 3)}, "decoder yolov8 cannot read the outputs; they are 'x' float32"),
        (Decoding(Decoder.YOLOV8, classes=9), {"x": (2, 9, PLACES)}, "holds 5 classes and decoding.classes is 9"),
        (Decoding(Decoder.YOLOX), {"x": (2, 100, 9)}, "100 places, which no strides"),
        (Decoding(Decoder.BINS), {"a": (2, 192, 8), "b": (2, 192, 48)}, "nothing tells which of 'a' and 'b'"),
        (Decoding(Decoder.BINS), {"a": (2, PLACES, 53)}, "nothing tells which"),
        (Decoding(Decoder.DENSE, classes=4), {"boxes": (2, 9, 4), "s": (2, 9, 5)}, "holds 5 scores a place"),
    ],
)
def test_other_outputs_are_refused(decoding: Decoding, shapes: dict[str, tuple[int, ...]], message: str) -> None:
    outputs: dict[str, Array] = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    with pytest.raises(ModelError, match=message):
        fit(decoding).read(outputs, 2)


def test_settings_that_contradict_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"decoding.size = \[64, 64\], but the model's input is \[96, 128\]"):
        fit(Decoding(size=(64, 64)))
    with pytest.raises(RequestError, match="ssd needs"):
        fit(Decoding(Decoder.SSD))
    with pytest.raises(RequestError, match=r"yolov8 takes no decoding\.anchors"):
        fit(Decoding(Decoder.YOLOV8, anchors="x.npy"))
    with pytest.raises(RequestError, match="cannot read the anchors"):
        fit(Decoding(Decoder.SSD, anchors=str(tmp_path / "none.npy")))
    np.save(tmp_path / "flat.npy", np.zeros((3, 4)))
    with pytest.raises(RequestError, match="not all finite and of positive size"):
        fit(Decoding(Decoder.SSD, anchors=str(tmp_path / "flat.npy")))
    with pytest.raises(RequestError, match="bins does not take"):
        fit(Decoding(Decoder.BINS, boxes=BoxForm.XYXY))
    with pytest.raises(RequestError, match="= 2 is no share"):
        Decoding(least_score=2)
    with pytest.raises(RequestError, match=r"strides = .* is not positive"):
        Decoding(strides=(8, 0))
    with pytest.raises(ModelError, match="size of its input open"):
        fit(Decoding(Decoder.YOLOX), ("h", "w")).read({"x": np.zeros((1, PLACES, 9))}, 1)


def test_a_class_that_the_model_lacks_is_named_with_its_item() -> None:
    _, outputs = make_head("yolov8", *make_truth(4))
    targets = np.array([[[10, 10, 40, 40, 1.0]], [[10, 10, 40, 40, CLASSES]]])
    task = fit(Decoding(Decoder.YOLOV8))
    image = TensorSpec("image", "float32", ("n", 3, *SIZE))
    sample = Batch({"image": np.zeros(2)}, targets, 40)
    with pytest.raises(DataError, match=r"object 0 of item 41 .* its classes are 0 to 4"):
        task.check(
            Signature((image,), (TensorSpec("output0", "float32", None),)), sample, {"output0": outputs["output0"]}
        )
    with pytest.raises(DataError, match="class that the model lacks"):
        task.score(outputs, targets)


def test_boxes_over_the_edge_are_clipped_and_others_refused() -> None:
    task, rows = fit(Decoding()), np.array([[[0, 0, 40, 40, 0.9, 1.0]]])
    over = np.array([[[-4.0, -4, 40, 40, 1]]])
    hits = task.score({"out": rows}, over).records["boxes"][0, 0, 2]
    assert hits == 2**10 - 1
    for beyond in ([[-7.0, 0, 40, 40, 1]], [[0.0, 0, 40, 102, 1]], [[-4.0, -4, -1, -1, 1]]):
        with pytest.raises(DataError, match="lies outside the model's input of 128x96 pixels"):
            task.score({"out": rows}, np.array([beyond]))
