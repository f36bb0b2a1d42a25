"""Train two small image classifiers on Fashion-MNIST and export them to ONNX.

    python train.py --data DIRECTORY_WITH_IDX_GZ --output DIRECTORY [--model residual]

Needs torch, onnx and onnxscript. The input of each network is already normalised:
``(pixel / 255 - 0.2860) / 0.3530``.
"""

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from fashion_data import DEVIATION, MEAN, SIDE, read_split
from networks import BUILDERS, count_operations
from onnx_export import export
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import convert_conv2d_weight_memory_format

SEED = 20170825
BATCH = 128
CHUNK = 500
SHIFT = 2
WEIGHT_DECAY = 5e-4
MOMENTUM = 0.9
LABEL_SMOOTHING = 0.05

Split = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    Bfloat16 makes the full convolutions faster; it makes depthwise ones slower.
    """

    epochs: int
    peak_rate: float
    bfloat16: bool


RECIPES = {
    "residual": Recipe(epochs=10, peak_rate=0.1, bfloat16=True),
    "separable": Recipe(epochs=6, peak_rate=0.1, bfloat16=False),
}


def normalise(pixels: Tensor) -> Tensor:
    """Return uint8 pixels as the float32 input the networks expect."""
    scaled = (pixels.float() / 255 - MEAN) / DEVIATION
    return scaled.contiguous(memory_format=torch.channels_last)


def augment(pixels: Tensor) -> Tensor:
    """Return each image flipped with even odds and shifted by up to two pixels."""
    count = pixels.shape[0]
    padded = functional.pad(pixels[:, 0], (SHIFT, SHIFT, SHIFT, SHIFT))
    rows = torch.arange(SIDE) + torch.randint(0, 2 * SHIFT + 1, (count, 1))
    columns = torch.arange(SIDE) + torch.randint(0, 2 * SHIFT + 1, (count, 1))
    flipped = torch.rand(count, 1) < 0.5
    columns = torch.where(flipped, columns.flip(1), columns)
    shifted = padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return shifted[:, None]


def make_optimiser(model: nn.Module, peak: float) -> torch.optim.SGD:
    """Return Nesterov SGD that decays convolution and linear weights only."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    free = [p for p in model.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=peak, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True)


def train(model: nn.Module, pixels: Tensor, target: Tensor, recipe: Recipe) -> None:
    """Train with a one-cycle schedule, on whole batches of a new order each epoch."""
    optimiser = make_optimiser(model, recipe.peak_rate)
    steps = pixels.shape[0] // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=recipe.peak_rate, total_steps=recipe.epochs * steps, pct_start=0.2
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=LABEL_SMOOTHING)
    model.train()
    for epoch in range(recipe.epochs):
        started, total = time.monotonic(), 0.0
        order = torch.randperm(pixels.shape[0])[: steps * BATCH]
        for chosen in order.view(steps, BATCH):
            image = normalise(augment(pixels[chosen]))
            optimiser.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bfloat16):
                logits = model(image)
            loss = criterion(logits.float(), target[chosen])
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        seconds = time.monotonic() - started
        print(f"  epoch {epoch + 1}: loss {total / steps:.4f}, {seconds:.0f} s", flush=True)


def measure_accuracy(model: nn.Module, pixels: Tensor, target: Tensor) -> float:
    """Return the share of images classified correctly in float32."""
    model.eval()
    correct = 0
    with torch.inference_mode():
        for start in range(0, len(target), CHUNK):
            batch, expected = pixels[start : start + CHUNK], target[start : start + CHUNK]
            correct += int((model(normalise(batch)).argmax(1) == expected).sum())
    return correct / len(target)


def load(directory: Path, split: str) -> Split:
    """Return one split as tensors."""
    image, target = read_split(directory, split)
    return torch.tensor(image), torch.tensor(target)


def produce(name: str, recipe: Recipe, training: Split, test: Split, output: Path) -> None:
    """Train one network, export it and print what it measures."""
    torch.manual_seed(SEED)
    model = BUILDERS[name]()
    convert_conv2d_weight_memory_format(model, torch.channels_last)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{name}: {parameters} parameters, {recipe.epochs} epochs", flush=True)
    started = time.monotonic()
    train(model, *training, recipe)
    seconds = time.monotonic() - started
    accuracy = measure_accuracy(model, *test)
    path = output / f"{name}.onnx"
    export(model, path)
    print(
        f"{name}: test accuracy {accuracy:.4f}, "
        f"{count_operations(model) / 1e6:.1f} MFLOP per image, "
        f"trained in {seconds:.0f} s, {path.stat().st_size} bytes",
        flush=True,
    )


def main() -> None:
    """Train and export the networks asked for."""
    parser = argparse.ArgumentParser(description="Train the Fashion-MNIST networks.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the IDX .gz files")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--model", choices=[*BUILDERS, "all"], default="all")
    parser.add_argument("--epochs", type=int, help="instead of the number set for each network")
    parser.add_argument("--threads", type=int, default=2, help="fewer are faster on a busy machine")
    options = parser.parse_args()
    if options.threads < 1 or (options.epochs is not None and options.epochs < 1):
        parser.error("--epochs and --threads must be at least 1")
    torch.set_num_threads(options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    training, test = load(options.data, "train"), load(options.data, "t10k")
    names = list(BUILDERS) if options.model == "all" else [options.model]
    for name in names:
        recipe = RECIPES[name]
        if options.epochs is not None:
            recipe = replace(recipe, epochs=options.epochs)
        produce(name, recipe, training, test, options.output)


if __name__ == "__main__":
    main()
