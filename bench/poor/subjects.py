"""A pair of the zoo as raw pixels, split into items to draw calibration sets from, a sample, and items to evaluate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.core.tensor import Array

from zoo.pair import Pair  # isort: skip

SAMPLE = 300
EVALUATED = 4000
SEED = 1
MAMMALS = tuple(range(147, 389))
"""ImageNet classes: with one item to a class, a group of classes has to stand for one."""
TROUSERS = (1,)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Subject:
    """A network, and the stored pixels of its data.

    Attributes:
        pool: what calibration sets are drawn from.
        alike: items of the pool's kind that are all of one class.
        sample: items that calibration sets are held against; none is in the pool.
        evaluated: labelled items on which losses are measured.
        targets: of the evaluated items.
        elsewhere: the pair's own calibration data.
        channel_axis: of the stored pixels.
    """

    pair: Pair
    pool: Pixels
    alike: Pixels
    sample: Pixels
    evaluated: Pixels
    targets: Array | None
    elsewhere: Pixels
    channel_axis: int

    def prepare(self, pixels: Array) -> NDArray[np.float32]:
        """Pixels as the network's input, as the pair says."""
        step = self.pair.evaluation.preprocess
        shape = [1] * pixels.ndim
        shape[self.channel_axis] = -1
        mean, std = (np.reshape(values or (neutral,), shape) for values, neutral in ((step.mean, 0.0), (step.std, 1.0)))
        return ((pixels.astype(np.float32) / step.scale - mean) / std).astype(np.float32)


def open_subject(pair: Pair) -> Subject:
    """Read and split a pair's data: disjoint thirds where there are thousands, else two halves, evaluated on all."""
    with np.load(pair.evaluation.path) as stored, np.load(pair.calibration.path) as other:
        images = next(stored[name] for name in stored.files if stored[name].ndim == 4)
        targets = stored["target"] if "target" in stored.files else None
        elsewhere = next(other[name] for name in other.files if other[name].ndim == 4)
    order = np.random.default_rng(SEED).permutation(len(images))
    large = len(images) > EVALUATED + 4 * SAMPLE
    held = SAMPLE if large else len(images) // 2
    evaluated = order[held : held + EVALUATED] if large else np.arange(len(images))
    pool = order[held + EVALUATED :] if large else order[held:]
    classes = targets if targets is not None else read_photograph_classes(pair, len(images))
    alike = np.isin(classes[pool], TROUSERS if large else MAMMALS)
    return Subject(
        pair=pair,
        pool=images[pool],
        alike=images[pool[alike]],
        sample=images[order[:held]],
        evaluated=images[evaluated],
        targets=None if targets is None else targets[evaluated],
        elsewhere=elsewhere,
        channel_axis=1 if images.shape[1] <= 4 else 3,
    )


def read_photograph_classes(pair: Pair, items: int) -> NDArray[np.int64]:
    """Classes of the photographs, for the pair that keeps them without.

    Raises:
        SystemExit: these are other items.
    """
    from zoo.classification import EXAMPLES  # noqa: PLC0415 - only for this pair

    with np.load(EXAMPLES / "imagenet" / "files" / "evaluation.npz") as stored:
        classes: NDArray[np.int64] = stored["target"]
    if len(classes) != items:
        raise SystemExit(f"{pair.name} has {items} items, and the photographs are {len(classes)}")
    return classes
