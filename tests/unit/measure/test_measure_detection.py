"""Detection: COCO's metrics from stored records, dead heads, and boxes that cannot be right."""

from __future__ import annotations

import contextlib
import io
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from assay.core.errors import DataError, MeasurementError, ModelError, RequestError
from assay.core.session import Batch, Scores
from assay.core.tensor import Array, Outputs, Signature, TensorSpec
from assay.measure.functionals.average_precision import AveragePrecision, AveragePrecision50
from assay.measure.functionals.by_class import compare_classes
from assay.measure.functionals.table import load_functional
from assay.measure.statistics.paired import compare
from assay.measure.tasks.detection import MAP, MAP50, RECALL, Detection
from assay.measure.tasks.table import load_task

SIDE = 100
IMAGE = TensorSpec("image", "float32", ("n", 3, SIDE, SIDE))
SIGNATURE = Signature((IMAGE,), (TensorSpec("found", "float32", None),))
METRICS = (MAP, MAP50, RECALL)


def draw_boxes(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    corners = rng.integers(0, SIDE - 20, (*shape, 2))
    return np.concatenate([corners, corners + rng.integers(5, 20, (*shape, 2))], axis=-1).astype(np.float32)


def make_set(rng: np.random.Generator, n: int, classes: int = 3) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Detections ``[n, 12, 6]`` near objects ``[n, 5, 5]`` or anywhere, with equal scores among them."""
    objects = np.concatenate([draw_boxes(rng, n, 5), rng.integers(0, classes, (n, 5, 1))], axis=2).astype(np.float32)
    objects[rng.random((n, 5)) < 0.4] = -1
    near = objects[:, rng.integers(0, 5, 12)]
    moved = near[..., :4] + rng.normal(0, 1.5, (n, 12, 4)).astype(np.float32)
    boxes = np.where(rng.random((n, 12, 1)) < 0.7, moved, draw_boxes(rng, n, 12))
    kinds = np.where(rng.random((n, 12)) < 0.8, near[..., 4], rng.integers(0, classes + 1, (n, 12)))
    scores = np.round(rng.random((n, 12)), 1)
    return np.concatenate([boxes, scores[..., None], kinds[..., None]], axis=2).astype(np.float32), objects


def evaluate_coco(found: Array, objects: Array) -> dict[str, float]:
    """The three metrics by COCO's evaluator."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth, results = COCO(), COCO()
        for database, rows in ((truth, objects), (results, found)):
            annotations = []
            for image, row in zip(*np.nonzero((rows[..., -1] >= 0) & (rows[..., 4] != 0)), strict=True):
                annotations.append(describe(rows[image, row], int(image), len(annotations) + 1))
            for image, row in zip(*np.nonzero((rows[..., -1] == 0) & (rows.shape[2] == 5)), strict=True):
                annotations.append(describe(rows[image, row], int(image), len(annotations) + 1))
            database.dataset = {
                "images": [{"id": index} for index in range(len(rows))],
                "annotations": annotations,
                "categories": [{"id": index} for index in range(9)],
            }
            database.createIndex()
        evaluator = COCOeval(truth, results, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return {"map50-95": evaluator.stats[0], "map50": evaluator.stats[1], "recall": evaluator.stats[8]}


def describe(row: Array, image: int, number: int) -> dict[str, object]:
    x0, y0, x1, y1 = (float(value) for value in row[:4])
    area = max(x1 - x0, 0) * max(y1 - y0, 0)
    box = [x0, y0, max(x1 - x0, 0), max(y1 - y0, 0)]
    known = {"id": number, "image_id": image, "category_id": int(row[-1]), "bbox": box, "area": area, "iscrowd": 0}
    return known | {"score": float(row[4])}


def score(found: Array, objects: Array | None) -> Scores:
    return Detection().score({"found": found}, objects)


def measure(scores: Scores) -> dict[str, float]:
    records = scores.records["boxes"]
    return {metric.name: load_functional(metric.functional).value(records) for metric in METRICS}


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 25), st.integers(1, 4), st.integers(0, 10_000))
def test_the_metrics_are_cocos(n: int, classes: int, seed: int) -> None:
    found, objects = make_set(np.random.default_rng(seed), n, classes)
    if (objects[..., 4] < 0).all():
        return
    assert measure(score(found, objects)) == pytest.approx(evaluate_coco(found, objects), abs=1e-9)


def test_batches_make_no_difference() -> None:
    found, objects = make_set(np.random.default_rng(1), 20)
    parts = [score(found[i : i + 7], objects[i : i + 7]).records["boxes"] for i in (0, 7, 14)]
    assert np.array_equal(np.concatenate(parts), score(found, objects).records["boxes"])


def test_three_outputs_say_the_same_as_one() -> None:
    found, objects = make_set(np.random.default_rng(2), 6)
    whole = score(found, objects).records["boxes"]
    boxes, scores, kinds = found[..., :4], found[..., 4], found[..., 5]
    forms: tuple[Outputs, ...] = (
        {"boxes": boxes, "a": kinds.astype(np.int64), "b": scores},
        {"labels": kinds, "boxes": boxes, "scores": scores, "count": np.ones((6, 1))},
    )
    for outputs in forms:
        assert np.array_equal(Detection().score(outputs, objects).records["boxes"], whole)
    single = {"boxes": boxes[0], "labels": kinds[0].astype(np.int64), "scores": scores[0]}
    assert np.array_equal(Detection().score(single, objects[:1]).records["boxes"], whole[:1])


def test_outputs_that_nothing_tells_apart_are_refused() -> None:
    with pytest.raises(ModelError, match="which of 'a' and 'b'"):
        Detection().score({"x": np.ones((2, 3, 4)), "a": np.ones((2, 3)), "b": np.ones((2, 3))}, None)


def test_what_counts_as_no_detection() -> None:
    rows = np.array([[0, 0, 9, 9, 0.5, 1]] * 5, np.float32)
    rows[0, 4], rows[1, 5], rows[2, 0], rows[3, 4] = 0, -1, np.nan, np.inf
    scores = score(rows[None], np.array([[[0, 0, 9, 9, 1]]]))
    assert int((scores.records["boxes"][0, :, 1] > 0).sum()) == 1
    assert (scores.predictions.tolist(), scores.certainty) == ([1], pytest.approx([0.5]))


@pytest.mark.parametrize("form", ["none", "zeros", "zero boxes"])
def test_a_dead_head_scores_nothing(form: str) -> None:
    found, objects = make_set(np.random.default_rng(3), 120)
    dead = np.zeros_like(found)
    dead[..., 4] = 0.9 if form == "zero boxes" else 0
    alive, died = score(found, objects), score(dead[:, :0] if form == "none" else dead, objects)
    assert measure(died) == {"map50-95": 0, "map50": 0, "recall": 0}
    for metric in METRICS:
        quality = compare(metric, alive, died, 0.95)
        assert quality.value == 0
        assert quality.low <= quality.difference == -quality.reference < quality.high < 0
        assert quality.asymptotic
    assert died.metrics["image-ap"].max() <= 1


def test_nothing_changed_is_not_nothing_to_lose() -> None:
    found, objects = make_set(np.random.default_rng(4), 200)
    scores = score(found, objects)
    quality = compare(MAP, scores, scores, 0.95)
    assert quality.difference == 0
    assert -0.1 < quality.low < -3 / 200


@pytest.mark.parametrize("functional", [AveragePrecision(), AveragePrecision50(), load_functional("average-recall")])
def test_influence_is_the_derivative(functional: AveragePrecision) -> None:
    rng = np.random.default_rng(5)
    found, objects = make_set(rng, 40)
    found[..., 4] = rng.random(found.shape[:2])
    records = score(found, objects).records["boxes"]
    influence = functional.influence(records)
    assert influence.mean() == pytest.approx(0, abs=1e-12)
    # Among 400 copies one image more is a small step; COCO's 101 points are too coarse to differentiate.
    many = np.repeat(records, 400, axis=0)
    moved = [(measure_area(functional, np.concatenate([many, records[i : i + 1]]))) for i in range(10)]
    steps = (np.array(moved) - measure_area(functional, many)) * (len(many) + 1)
    np.testing.assert_allclose(steps, influence[:10], atol=0.05 * np.abs(influence).max())


def measure_area(functional: AveragePrecision, records: Array) -> float:
    """The metric without the 101 points."""
    measure = functional.area if isinstance(functional, AveragePrecision) else functional.value
    return measure(records.astype(np.float64))


def test_images_without_objects_are_right_when_nothing_is_found() -> None:
    found = np.array([[[0, 0, 9, 9, 0.25, 1]], [[0, 0, 9, 9, 0, 1]]], np.float32)
    scores = score(found, np.full((2, 3, 5), -1.0))
    assert scores.metrics["image-ap"].tolist() == [0.75, 1]
    assert scores.predictions.tolist() == [1, -1]


def test_an_image_is_right_when_its_best_detections_are_its_objects() -> None:
    objects = np.array([[[0, 0, 9, 9, 1], [20, 20, 40, 40, 2]]] * 4 + [[[-1] * 5] * 2], np.float64)
    hits = np.array([[0, 0, 9, 9, 0.5, 1], [20, 20, 40, 40, 0.4, 2], [60, 60, 70, 70, 0.3, 1]])
    found = np.stack([hits] * 5)
    found[1, 2, 4] = 0.45  # a false alarm that outranks an object
    found[2, 1, 5] = 0  # another class
    found[3, 1, 0] = 33  # too little overlap
    assert AveragePrecision().right(score(found, objects).records["boxes"]).tolist() == [
        True,
        False,
        False,
        False,
        True,
    ]


def test_no_objects_at_all_are_refused() -> None:
    found, _ = make_set(np.random.default_rng(6), 150)
    scores = score(found, np.full((150, 3, 5), np.nan))
    with pytest.raises(MeasurementError, match="no image has an object"):
        compare(MAP50, scores, scores, 0.95)


def test_few_images_and_rare_classes_are_refused() -> None:
    found, objects = make_set(np.random.default_rng(7), 99)
    few = score(found, objects)
    with pytest.raises(MeasurementError, match="99 images"):
        compare(MAP, few, few, 0.95)
    found, objects = make_set(np.random.default_rng(7), 150)
    objects[3, 0] = [0, 0, 9, 9, 8]
    rare = score(found, objects)
    with pytest.raises(MeasurementError, match="objects of class 8 are on 1 images"):
        compare(MAP, rare, rare, 0.95)


BOX = [10.0, 10, 30, 30, 1]


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([10.0, 10, 130, 30, 1], r"object 1 of item 8 \[10, 10, 130, 30, 1\] lies outside .* 100x100"),
        ([-9.0, 10, 30, 30, 1], "lies outside"),
        ([30.0, 10, 20, 30, 1], "object 1 of item 8 .* has no area"),
        ([np.inf, 10, 20, 30, 1], "is not finite"),
        ([10.0, 10, 20, 30, 1.5], "a class that is no integer"),
    ],
)
def test_objects_that_cannot_be_right_are_refused(objects: list[float], message: str) -> None:
    targets = np.array([[BOX, BOX]] * 2 + [[BOX, objects]])
    with pytest.raises(DataError, match=message):
        check(np.array([[[10, 10, 30, 30, 0.9, 1]]] * 3), targets)


def check(found: Array, targets: Array) -> None:
    Detection().check(SIGNATURE, Batch({"image": np.zeros(len(found))}, targets, 6), {"found": found})


def test_what_fits_passes() -> None:
    check(np.array([[[10, 10, 130, 30, 0.9, 1]]]), np.array([[BOX, [-1] * 5]]))


def test_fractions_are_refused() -> None:
    found, targets = np.array([[[10, 10, 30, 30, 0.9, 1]]]), np.array([[BOX]])
    scale = np.array([0.01] * 4 + [1])
    with pytest.raises(DataError, match="look like fractions"):
        check(found, targets * scale)
    with pytest.raises(ModelError, match="look like fractions"):
        check(found * np.array([0.01] * 4 + [1, 1]), targets)
    with pytest.raises(ModelError, match="score is 7"):
        check(found * np.array([1] * 4 + [7 / 0.9, 1]), targets)


@pytest.mark.parametrize("shape", [(3, 5), (3, 2, 4), (2, 2, 5)])
def test_targets_of_another_form_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"items|targets"):
        check(np.ones((3, 2, 6)), np.ones(shape))


@pytest.mark.parametrize("shape", [(3, 8400, 85), (3, 6), (2, 4, 6), (3, 4)])
def test_raw_heads_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="after suppression"):
        Detection().score({"found": np.ones(shape, np.float32)}, np.array([[BOX]] * 3))


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    found, objects = make_set(np.random.default_rng(8), 3)
    with pytest.raises(RequestError, match=r"detection.*pycocotools") as caught:
        score(found, objects)
    assert "assay-precision[detection]" in caught.value.hint


def test_the_table_knows_it() -> None:
    assert isinstance(load_task("detection"), Detection)


def test_each_class_alone_has_cocos_metrics() -> None:
    found, objects = make_set(np.random.default_rng(9), 30)
    worse = found.copy()
    worse[worse[..., 5] == 1, 4] = 0
    records, lost = (score(one, objects).records["boxes"] for one in (found, worse))
    classes = compare_classes(records, lost)
    assert [one.kind for one in classes] == [0, 1, 2]
    for one in classes:
        alone = np.where((objects[..., 4] == one.kind)[..., None], objects, -1)
        wanted = evaluate_coco(np.where((found[..., 5] == one.kind)[..., None], found, -1), alone)
        assert one.reference.precision == pytest.approx(wanted["map50-95"], abs=1e-9)
        assert one.reference.precision50 == pytest.approx(wanted["map50"], abs=1e-9)
        assert one.reference.recall == pytest.approx(wanted["recall"], abs=1e-9)
        assert (one.variant == one.reference) is (one.kind != 1)
        assert (one.objects, one.images) == ((alone[..., 4] >= 0).sum(), (alone[..., 4] >= 0).any(axis=1).sum())
    assert classes[1].variant.recall == 0
