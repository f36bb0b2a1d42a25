"""Make ``evaluation.npz`` and ``calibration.npz`` from the Fashion-MNIST files.

    python bundle.py --data DIRECTORY_WITH_IDX_GZ --output DIRECTORY

The evaluation bundle is the whole test set, in its original order. The calibration
bundle is 1,000 training images, 100 of each class, chosen with a fixed seed.
"""

import argparse
import io
from pathlib import Path

import numpy as np
from fashion_data import CLASSES, Images, Targets, read_split, write_atomically
from numpy.typing import NDArray

CALIBRATION_PER_CLASS = 100
SEED = 20170825


def choose_stratified(target: Targets, per_class: int, seed: int) -> NDArray[np.intp]:
    """Return, in ascending order, the positions of ``per_class`` samples of each class."""
    generator = np.random.default_rng(seed)
    chosen = [generator.choice(np.flatnonzero(target == label), per_class, replace=False) for label in range(CLASSES)]
    return np.sort(np.concatenate(chosen))


def write_bundle(path: Path, image: Images, target: Targets) -> None:
    """Write one compressed bundle and say what it holds."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, image=image, target=target)
    write_atomically(path, buffer.getvalue())
    print(f"{path.name}: {target.size} images, {buffer.tell()} bytes")


def main() -> None:
    """Write both bundles."""
    parser = argparse.ArgumentParser(description="Make the Fashion-MNIST bundles.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the IDX .gz files")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)

    image, target = read_split(options.data, "t10k")
    write_bundle(options.output / "evaluation.npz", image, target)

    image, target = read_split(options.data, "train")
    chosen = choose_stratified(target, CALIBRATION_PER_CLASS, SEED)
    write_bundle(options.output / "calibration.npz", image[chosen], target[chosen])


if __name__ == "__main__":
    main()
