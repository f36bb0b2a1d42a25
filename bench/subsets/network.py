"""Train the small network whose plans ``exhaustive.py`` tries one by one, and export it to ONNX.

Run: ``python bench/subsets/network.py --data DIRECTORY_WITH_IDX_GZ``. Needs torch; ``small.onnx`` lies beside it,
so that the benchmark does not. Ten groups: a stem, four depthwise convolutions and four pointwise ones, of which one
pair has a shortcut, and a linear head. Data and training are those of ``examples/fashion``; after three epochs it is
right on 89.2% of the test images.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "examples" / "fashion"))

import torch  # noqa: E402 - what follows lies in the folder above
from networks import Classifier, SeparableBlock  # noqa: E402
from onnx_export import export  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from train import SEED, Recipe, load, measure_accuracy, train  # noqa: E402


class ShortcutBlock(nn.Module):
    """A depthwise convolution and a pointwise one beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = SeparableBlock(channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return the sum of the features and what the branch makes of them."""
        result: Tensor = features + self.branch(features)
        return result


def build() -> Classifier:
    """Return the network, widths 24 to 128."""
    body = nn.Sequential(
        SeparableBlock(24, 64, 1),
        SeparableBlock(64, 96, 2),
        ShortcutBlock(96),
        SeparableBlock(96, 128, 2),
    )
    return Classifier(24, body, 128)


def main() -> None:
    """Train, export, and print what the network measures."""
    parser = argparse.ArgumentParser(description="Train the network of exhaustive.py.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the IDX .gz files")
    parser.add_argument("--output", type=Path, default=HERE / "small.onnx")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(SEED)
    model = build()
    train(model, *load(options.data, "train"), Recipe(options.epochs, peak_rate=0.1, bfloat16=False))
    export(model, options.output)
    print(f"test accuracy {measure_accuracy(model, *load(options.data, 't10k')):.4f}")


if __name__ == "__main__":
    main()
