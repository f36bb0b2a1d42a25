"""Samples of tensors, and float64 twins of quantization on the samples themselves, for the tests of ranges."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from assay.core.calibration import TensorRange

COUNT = 10_000
Doubles = NDArray[np.float64]


def swish(x: Doubles) -> Doubles:
    return x / (1 + np.exp(-x))


SHAPES: dict[str, Callable[[np.random.Generator, int], Doubles]] = {
    "normal": lambda rng, count: rng.normal(size=count),
    "relu": lambda rng, count: np.maximum(rng.normal(size=count), 0),
    "relu6": lambda rng, count: np.clip(4 * rng.normal(size=count), 0, 6),
    "negative": lambda rng, count: -rng.exponential(size=count),
    "laplace": lambda rng, count: rng.laplace(size=count),
    "shifted": lambda rng, count: rng.normal(3.0, 1.0, count),
    "apart": lambda rng, count: rng.uniform(5.0, 6.0, count),
    "swish": lambda rng, count: swish(3 * rng.normal(size=count)),
    "student": lambda rng, count: rng.standard_t(3, count),
    "sparse": lambda rng, count: rng.exponential(size=count) * (rng.random(count) < 0.01),
    "huge": lambda rng, count: 5e37 * rng.normal(size=count),
    "small": lambda rng, count: 1e-30 * rng.normal(size=count),
}


def draw(name: str, count: int = COUNT) -> Doubles:
    """Values as float32 has them."""
    return SHAPES[name](np.random.default_rng(5), count).astype(np.float32).astype(np.float64)


def encode(limits: TensorRange, *, symmetric: bool) -> tuple[float, int]:
    """Scale, and lowest code relative to the one of zero."""
    if symmetric:
        return limits.high / 127, -128
    scale = (limits.high - limits.low) / 255
    return scale, -round(-limits.low / scale)


def cost(x: Doubles, limits: TensorRange, *, symmetric: bool, power: float = 0.0) -> float:
    """Sum of squared errors of quantizing the samples, weighted by a power of their magnitude."""
    scale, lowest = encode(limits, symmetric=symmetric)
    error = x - scale * np.clip(np.rint(x / scale), lowest, lowest + 255)
    return float((np.square(error) * np.abs(x) ** power).sum())


def measure_tail_loss(x: Doubles, limits: TensorRange, *, symmetric: bool) -> float:
    """Share of their energy that values more than half a step beyond the codes lose, on the worse side."""
    scale, lowest = encode(limits, symmetric=symmetric)
    losses = [0.0]
    for beyond, clip in ((x, scale * (lowest + 255.5)), (-x, -scale * (lowest - 0.5))):
        cut = beyond[beyond > clip]
        if cut.size:
            losses.append(float(np.square(cut - clip).sum() / np.square(cut).sum()))
    return max(losses)


def list_ranges(x: Doubles, *, symmetric: bool) -> list[TensorRange]:
    """A dense grid of clips."""
    shares = np.linspace(0.3, 1, 29)
    low, high = min(x.min(), 0.0), max(x.max(), 0.0)
    if symmetric:
        most = max(-low, high)
        return [TensorRange(-share * most, share * most) for share in shares]
    below = shares if low else shares[-1:]
    above = shares if high else shares[-1:]
    return [TensorRange(one * low, other * high) for one in below for other in above]


def measure_divergence(counts: Doubles, first: int, last: int, codes: int) -> float:
    """Kullback-Leibler divergence in nats of clipping and quantizing, group by group.

    Args:
        counts: values in bins of equal width.
        first: of the bins that are kept.
        last: the one after those that are kept.
        codes: groups that the bins between the clips are merged into.
    """
    inside = counts[first:last]
    observed = inside.copy()
    observed[0] += counts[:first].sum()
    observed[-1] += counts[last:].sum()
    quantized = np.zeros_like(observed)
    for start, end in pairwise(np.rint(np.arange(codes + 1) * (last - first) / codes).astype(int)):
        filled = observed[start:end] > 0
        if filled.any():
            quantized[start:end][filled] = inside[start:end].sum() / filled.sum()
    quantized[(quantized == 0) & (observed > 0)] = 1
    filled = observed > 0
    p, q = observed[filled] / observed.sum(), quantized[filled] / inside.sum()
    return float((p * np.log(p / q)).sum())
