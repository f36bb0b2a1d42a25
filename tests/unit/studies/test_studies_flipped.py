"""What broke: which items are shown, in what order, and how."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from assay.core.errors import DataError, MeasurementError
from assay.core.session import Batch, Metric, Scores
from assay.core.tensor import Array
from assay.measure.tasks.detection import Detection
from assay.measure.tasks.ranking import MRR
from assay.studies.drawn import draw_item
from assay.studies.flipped import show_flips

TOP1 = Metric("top1", higher_is_better=True, labelled=True)
LOSS = Metric("loss", higher_is_better=False, labelled=True)
AGREEMENT = Metric("agreement", higher_is_better=True, labelled=False)
ALL = np.arange(6, dtype=np.int64)


class Items:
    """Pictures in memory that tell which of them were read."""

    fingerprint = "items"

    def __init__(self, feeds: Array, targets: Array | None, *, broken: bool = False) -> None:
        self._feeds, self._targets, self._broken = feeds, targets, broken
        self.labelled = targets is not None

    def __len__(self) -> int:
        return len(self._feeds)

    def batches(self, size: int) -> Iterator[Batch]:
        if self._broken:
            raise DataError("the file is gone")
        for start in range(0, len(self), size):
            rows = slice(start, start + size)
            targets = None if self._targets is None else self._targets[rows]
            yield Batch({"image": self._feeds[rows]}, targets, start)


def make_scores(
    values: list[float], predictions: list[int], certainty: list[float] | None = None, name: str = "top1"
) -> Scores:
    sure = None if certainty is None else np.array(certainty)
    return Scores({name: np.array(values, np.float64)}, np.array(predictions, np.int64), certainty=sure)


@pytest.fixture
def pictures() -> Items:
    images = np.random.default_rng(0).normal(size=(6, 3, 20, 40)).astype(np.float32)
    return Items(images, np.array([0, 1, 2, 3, 4, 5]))


def test_the_worst_come_first_then_the_surest(pictures: Items) -> None:
    before = make_scores([1, 1, 0.5, 1, 0, 1], [0, 1, 2, 3, 0, 5], [0.5, 0.9, 1, 0.7, 1, 1])
    after = make_scores([0, 0, 0, 0, 1, 1], [9, 8, 7, -1, 4, 5])
    flips = show_flips(pictures, before, after, TOP1, ALL)
    assert [flip.item for flip in flips] == [1, 3, 0, 2]
    assert [flip.harm for flip in flips] == [1, 1, 1, 0.5]
    assert (flips[0].target, flips[0].before, flips[0].after) == ("class 1", "class 1", "class 8")
    assert flips[1].after == "nothing"
    assert flips[3].before == "class 2 (score 0.5)"
    assert [flip.certainty for flip in flips] == [0.9, 0.7, 0.5, 1]


def test_no_more_than_asked_for(pictures: Items) -> None:
    flips = show_flips(pictures, make_scores([1] * 6, [0] * 6), make_scores([0] * 6, [1] * 6), TOP1, ALL, most=2)
    assert [flip.item for flip in flips] == [0, 1]


def test_scores_of_some_items_name_the_items_of_the_data_set(pictures: Items) -> None:
    positions = np.array([5, 2, 0])
    flips = show_flips(pictures, make_scores([1, 1, 1], [5, 2, 0]), make_scores([0, 0, 1], [1, 1, 0]), TOP1, positions)
    assert [(flip.item, flip.target) for flip in flips] == [(5, "class 5"), (2, "class 2")]


def test_a_rise_is_worse_where_lower_is_better(pictures: Items) -> None:
    before, after = (make_scores(v, [0] * 6, name="loss") for v in ([0.2] * 6, [0.1, 0.2, 0.2, 0.9, 0.2, 0.2]))
    flips = show_flips(pictures, before, after, LOSS, ALL)
    assert [flip.item for flip in flips] == [3]
    assert flips[0].harm == pytest.approx(0.7)


def test_agreement_shows_what_changed_without_targets() -> None:
    items = Items(np.zeros((6, 4), np.float32), None)
    flips = show_flips(items, make_scores([], [0, 1, 2, 3, 4, 5]), make_scores([], [0, 1, 0, 3, 4, 5]), AGREEMENT, ALL)
    assert [(flip.item, flip.target, flip.before, flip.after) for flip in flips] == [(2, "", "2", "0")]


def test_a_picture_is_a_png_in_base64(pictures: Items) -> None:
    flip = show_flips(pictures, make_scores([1] * 6, [0] * 6), make_scores([0] * 6, [0] * 6), TOP1, ALL)[0]
    assert flip.text == ""
    with Image.open(BytesIO(base64.b64decode(flip.picture))) as picture:
        assert (picture.format, picture.size) == ("PNG", (40, 20))


@pytest.mark.parametrize("shape", [(1, 16, 16), (16, 16, 1), (3, 16, 16)])
def test_the_range_of_values_is_stretched(shape: tuple[int, ...]) -> None:
    values = np.linspace(-0.3, 0.2, 3).repeat(256)[: np.prod(shape)].reshape(shape)
    values.reshape(-1)[-1] = 0.2
    with Image.open(BytesIO(base64.b64decode(draw_item({"x": values})[0]))) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_boxes_and_documents_are_named() -> None:
    boxes = np.full((2, 6, 5), -1.0)
    boxes[0, :, 4] = [3, 3, 1, 7, 9, 8]
    found = (make_scores([0.5, 1], [3, 1], name="image-ap"), make_scores([0.25, 0], [-1, 1], name="image-ap"))
    flips = show_flips(Items(np.zeros((2, 3)), boxes), *found, Detection.metrics[0], np.arange(2))
    assert [flip.target for flip in flips] == ["nothing", "class 1, class 3, class 7, class 8 and 1 more"]
    assert (flips[1].before, flips[1].after) == ("class 3 (score 0.5)", "nothing (score 0.25)")
    ranked = (make_scores([1], [2], name="mrr"), make_scores([0.5], [0], name="mrr"))
    flip = show_flips(Items(np.zeros((1, 3)), np.array([[0, 0, 1, -1]])), *ranked, MRR, np.arange(1))[0]
    assert (flip.target, flip.before, flip.after) == ("document 2", "document 2", "document 0 (score 0.5)")


def test_nothing_broke(pictures: Items) -> None:
    scores = make_scores([1] * 6, [0] * 6)
    assert show_flips(pictures, scores, scores, TOP1, ALL) == ()


def test_items_that_are_gone_do_not_cost_the_study() -> None:
    items = Items(np.zeros((6, 3, 9, 9), np.float32), None, broken=True)
    flips = show_flips(items, make_scores([1] * 6, [0] * 6), make_scores([0] * 6, [1] * 6), TOP1, ALL)
    assert len(flips) == 6
    assert "the file is gone" in flips[0].text


def test_unequal_items_are_refused(pictures: Items) -> None:
    with pytest.raises(MeasurementError, match="cannot be paired"):
        show_flips(pictures, make_scores([1] * 6, [0] * 6), make_scores([0] * 5, [1] * 5), TOP1, ALL)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 300, 200), np.uint8),
        np.full((300, 200, 1), np.nan, np.float32),
        np.array([-1.7e308, 0, 1.7e308] * 60000).reshape(3, 300, 200),
        np.array([np.inf, -np.inf, 1, 2] * 15000, np.float16).reshape(1, 300, 200),
    ],
)
def test_any_picture_can_be_drawn(array: Array) -> None:
    picture, text = draw_item({"x": array})
    assert not text
    with Image.open(BytesIO(base64.b64decode(picture))) as image:
        assert image.size == (64, 96)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([101, 7, 102]), "x: 101 7 102"),
        (np.arange(40), "x: 0 1 2 3 4 5 6 7 8 9 10 11 … (40 numbers)"),
        (np.array(["a fine film"]), "x: a fine film"),
        (np.array([0.5, 2.25], np.float32), "x: 0.5 2.25"),
        (np.linspace(0, 1, 512).reshape(1, 1, 512), "x: 1x1x512 numbers, 0 to 1"),
        (np.full((64,), np.nan), "x: 64 numbers, none of them finite"),
        (np.zeros((0,)), "x: nothing"),
        (np.array(3), "x: 3"),
    ],
)
def test_what_is_no_picture_is_told_in_words(array: Array, words: str) -> None:
    assert draw_item({"x": array}) == ("", words)


def test_long_texts_are_cut() -> None:
    assert len(draw_item({"x": np.array(["a" * 5000])})[1]) == 280
