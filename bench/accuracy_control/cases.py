"""The pairs: a network, calibration items, evaluation items, a metric and a tolerance that plain INT8 misses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from zoo.classification import FASHION, PHOTOGRAPHS, make_fashion, make_photographs
from zoo.minilm import make_minilm
from zoo.opennsfw import make_opennsfw
from zoo.pair import Pair, Places

from assay.core.tensor import Array, Feeds
from assay.data.open import open_dataset
from assay.data.source import DataSource, Preprocess
from assay.graph.ingest import load_model
from assay.graph.signature import describe_signature

VERSIONS = 4
"""Pictures made from one photograph, itself among them."""
SEED = 5
LEAST_CROP, DIMMEST, BRIGHTEST = 0.9, 0.9, 1.1
ROUNDING = 1e-9

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """A pair with what is asked of it.

    Attributes:
        metric: of Assay's task; ``agreement`` with FP32, or ``mae``, the mean distance from FP32's own outputs.
        tolerance: how much of the agreement may be lost, as a share; or the distance.
        transformer: NNCF is told so, as its documentation advises.
    """

    name: str
    model: Path
    calibration: Path
    evaluation: Path
    preprocess: Preprocess | None
    task: str
    metric: str
    tolerance: float
    transformer: bool = False

    @cached_property
    def calibration_feeds(self) -> Sequence[Feeds]:
        """Calibration items, each a batch of one, as the model takes them."""
        return read_feeds(self.model, DataSource(str(self.calibration), self.preprocess))

    @cached_property
    def evaluation_feeds(self) -> Sequence[Feeds]:
        """Evaluation items, likewise."""
        return read_feeds(self.model, DataSource(str(self.evaluation), self.preprocess))

    def judge(self, said: Array, reference: Array) -> tuple[float, list[float]]:
        """The agreement, or one less the mean distance, and the same of each item; FP32 itself has 1.

        Args:
            said: the first output of the items, ``[n, ...]``.
            reference: FP32's of the same items.
        """
        if self.metric == "agreement":
            hits = said.argmax(axis=1) == reference.argmax(axis=1)
            return float(hits.mean()), [float(hit) for hit in hits]
        errors = np.abs(said.reshape(-1).astype(np.float64) - reference.reshape(-1))
        return float(1 - errors.mean()), [float(1 - error) for error in errors]


def holds(case: Case, metric: float) -> bool:
    """Whether a metric over all items is within the tolerance of FP32, which has 1."""
    return metric >= 1 - case.tolerance - ROUNDING


def read_feeds(model: Path, source: DataSource) -> list[Feeds]:
    """Items as the model takes them, each a batch of one."""
    dataset = open_dataset(source, describe_signature(load_model(model)))
    return [dict(batch.feeds) for batch in dataset.batches(1)]


def vary(photographs: Bytes, rng: np.random.Generator) -> Bytes:
    """Each photograph, and versions of it: cropped, flipped, in another light; ``[n, 3, h, w]``."""
    made = list(photographs)
    height, width = photographs.shape[2:]
    for _ in range(VERSIONS - 1):
        for photograph in photographs:
            share = rng.uniform(LEAST_CROP, 1)
            rows, columns = round(share * height), round(share * width)
            top, left = rng.integers(0, height - rows + 1), rng.integers(0, width - columns + 1)
            part = Image.fromarray(photograph[:, top : top + rows, left : left + columns].transpose(1, 2, 0))
            light = rng.uniform(DIMMEST, BRIGHTEST)
            resized = np.asarray(part.resize((width, height), Image.Resampling.BICUBIC), np.float64)
            pixels = np.clip(resized * light, 0, 255).astype(np.uint8).transpose(2, 0, 1)
            made.append(pixels[:, :, ::-1] if rng.random() < 1 / 2 else pixels)
    return np.stack(made)


def store(folder: Path, name: str, arrays: dict[str, Array]) -> Path:
    """Write items once."""
    path = folder / f"{name}.npz"
    if not path.exists():
        np.savez(path, **arrays)
    return path


def read_items(source: DataSource, count: int) -> dict[str, Array]:
    """The first stored items without their targets."""
    with np.load(source.path) as stored:
        return {name: stored[name][:count] for name in stored.files if name != "target"}


def make_efficientnet(places: Places, items: int) -> Case:
    """EfficientNet-Lite0 on pictures made from 250 photographs, calibrated on 64 others."""
    folder, files = places.folder("ac-efficientnet-lite0"), make_photographs(places)
    photographs = read_items(DataSource(str(files / "evaluation.npz")), 250)["image"]
    pictures = vary(photographs, np.random.default_rng(SEED))
    return Case(
        name="efficientnet-lite0",
        model=files / "efficientnet_lite0.onnx",
        calibration=store(folder, "calibration-64", read_items(DataSource(str(files / "calibration.npz")), 64)),
        evaluation=store(folder, f"evaluation-{items}", {"image": pictures[:items]}),
        preprocess=PHOTOGRAPHS,
        task="classification",
        metric="agreement",
        tolerance=0.01,
    )


def make_nsfw(places: Places, items: int) -> Case:
    """OpenNSFW with its log-odds as output, on the same pictures; their mean distance from FP32's."""
    folder, pair = places.folder("ac-opennsfw"), make_opennsfw(places)
    model = folder / "opennsfw.onnx"
    if not model.exists():
        onnx.save(end_in_log_odds(onnx.load(pair.model)), model)
    name = next(iter(read_items(pair.evaluation, 1)))
    photographs = read_items(pair.evaluation, 250)[name].transpose(0, 3, 1, 2)
    pictures = vary(photographs, np.random.default_rng(SEED)).transpose(0, 2, 3, 1)
    preprocess = pair.evaluation.preprocess
    calibration = store(folder, "calibration-64", read_items(pair.calibration, 64))
    evaluation = folder / f"evaluation-{items}.npz"
    if not evaluation.exists():
        plain = store(folder, f"pictures-{items}", {name: pictures[:items]})
        from accuracy_control.running import open_model, say_all  # noqa: PLC0415 - only where the file is made

        feeds = read_feeds(model, DataSource(str(plain), preprocess))
        target = say_all(open_model(model, "f32", 2), feeds).reshape(-1)
        np.savez(evaluation, target=target, **{name: pictures[:items]})
    return Case("opennsfw", model, calibration, evaluation, preprocess, "regression", "mae", 0.1)


def end_in_log_odds(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network with the difference of its two logits as output ``[n, 1]`` instead of their softmax."""
    graph = model.graph
    last = next(node for node in graph.node if graph.output[0].name in node.output)
    if last.op_type != "Softmax":
        raise SystemExit(f"the network ends in {last.op_type}, not in Softmax")
    graph.node.remove(last)
    graph.initializer.append(numpy_helper.from_array(np.array([[-1.0], [1.0]], np.float32), "difference"))
    graph.node.append(helper.make_node("MatMul", [last.input[0], "difference"], ["log_odds"], name="log_odds"))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("log_odds", TensorProto.FLOAT, [None, 1]))
    return model


def make_sentences(places: Places, items: int) -> Case:
    """MiniLM-L6 with a sentiment head at 64 tokens."""
    return take(make_minilm(places), places, items, 300, 0.01, None, transformer=True)


def make_separable(places: Places, items: int) -> Case:
    """The depthwise-separable network of the Fashion-MNIST example."""
    return take(make_fashion("separable", 0), places, items, 300, 0.0025, FASHION)


def make_residual(places: Places, items: int) -> Case:
    """The residual network of the Fashion-MNIST example."""
    return take(make_fashion("residual", 0), places, items, 300, 0.0015, FASHION)


def take(
    pair: Pair,
    places: Places,
    items: int,
    calibrated: int,
    tolerance: float,
    preprocess: Preprocess | None,
    *,
    transformer: bool = False,
) -> Case:
    """A pair of classification with its own first items, judged by agreement."""
    folder = places.folder(f"ac-{pair.name}")
    return Case(
        name=pair.name,
        model=pair.model,
        calibration=store(folder, f"calibration-{calibrated}", read_items(pair.calibration, calibrated)),
        evaluation=store(folder, f"evaluation-{items}", read_items(pair.evaluation, items)),
        preprocess=preprocess,
        task="classification",
        metric="agreement",
        tolerance=tolerance,
        transformer=transformer,
    )


CASES: dict[str, tuple[Callable[[Places, int], Case], int]] = {
    "efficientnet-lite0": (make_efficientnet, 1000),
    "minilm": (make_sentences, 2000),
    "opennsfw": (make_nsfw, 1000),
    "fashion-separable": (make_separable, 10000),
    "fashion-residual": (make_residual, 10000),
}
"""Pair -> how it is made, and its number of evaluation items."""
