"""Rounding weights up or down by what the layer's output loses, without gradients.

The objective is that of Nagel et al. 2020 ("Up or down? Adaptive rounding for post-training quantization", equation
13): the expected squared change of each output, ``dw^T H dw`` with ``H = E[x x^T]`` of the layer's input vectors,
over the two neighbours of every weight. It is not solved by their relaxation but by the error feedback of GPTQ
(Frantar et al. 2022, after Optimal Brain Quantization), which rounds one input after the other so that it makes up
for the errors of those before it, and then by coordinate descent until no single flip helps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DAMPING = 0.01
"""Share of the mean second moment added to each: the samples are finite, some inputs are always zero, and the
quantized inputs carry noise of their own."""
PASSES = 16
"""Rounds of descent at most; it stops by itself after a handful."""
PAIRED_SIZE = 32
"""Longest input vector for which pairs of flips are tried, from two starts: a depthwise or a first convolution's."""
FEEDBACK_BLOCK = 128
"""Inputs whose errors are fed forward one by one; those of earlier blocks come in one product."""
LEAST_GAIN = 1e-12
"""Share of a row's loss below which a flip is rounding noise."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What errors of weights cost.

    Attributes:
        gram: ``[G, K, K]``, damped second moments of the inputs, positive definite.
        order: ``[G, K] int64``, inputs by falling energy.
        factor: ``[G, K, K]``, upper triangular ``F`` with ``gram = F F^T`` in that order.
    """

    gram: Floats
    order: NDArray[np.int64]
    factor: Floats

    @classmethod
    def of(cls, gram: Floats) -> Metric:
        """The metric of ``[G, K, K]`` second moments."""
        size = gram.shape[-1]
        mean = np.trace(gram, axis1=1, axis2=2) / size
        added = np.where(mean > 0, DAMPING * mean, 1.0)
        damped = gram + added[:, None, None] * np.eye(size)
        order = np.argsort(-np.diagonal(damped, axis1=1, axis2=2), axis=1, kind="stable")
        turned = np.take_along_axis(damped, order[:, ::-1, None], axis=1)
        turned = np.take_along_axis(turned, order[:, None, ::-1], axis=2)
        factor = np.linalg.cholesky(turned)[:, ::-1, ::-1]
        return cls(damped, order, factor.astype(np.float64, copy=False))

    def measure(self, error: Floats) -> Floats:
        """``[G, R]``: expected squared change of every output for a ``[G, R, K]`` change of its weights."""
        loss: Floats = ((error @ self.gram) * error).sum(axis=2)
        return loss


@dataclass(frozen=True, slots=True)
class Choice:
    """For every weight, the codes that it may take; all ``[G, R, K] float64``.

    Attributes:
        weights: in floats.
        steps: scale of every weight.
        lower: code below it.
        upper: code above it; the same where only one lies in range.
    """

    weights: Floats
    steps: Floats
    lower: Floats
    upper: Floats

    @classmethod
    def of(cls, weights: Floats, scales: Floats, largest: int) -> Choice:
        """The neighbours of ``weights`` among the multiples of ``scales`` with codes of at most ``largest``."""
        ideal = weights / scales
        lower, upper = (np.clip(codes, -largest, largest) for codes in (np.floor(ideal), np.ceil(ideal)))
        return cls(weights, np.broadcast_to(scales, weights.shape), lower, upper)

    @property
    def nearest(self) -> Floats:
        """Codes nearest to the weights; ties go to even."""
        return np.clip(np.rint(self.weights / self.steps), self.lower, self.upper)

    def find_error(self, codes: Floats) -> Floats:
        """Change of the weights with these codes."""
        return self.weights - self.steps * codes


def solve_rounding(
    weights: Floats, scales: Floats, metric: Metric, largest: int, floor: Floats | None
) -> tuple[Floats, Floats]:
    """Codes and scales of least loss found: rounded, the scale fitted to the codes, and rounded once more.

    Args:
        weights: ``[G, R, K]``.
        scales: ``[G, R, 1]``; or ``[1, 1, 1]``, shared by all outputs; or ``[1, R, K]``, which stay as they are.
        metric: what errors cost.
        largest: codes lie in ``-largest..largest``.
        floor: smallest allowed scales, broadcast to ``scales``; None to leave the scales as they are.

    Returns:
        Codes ``[G, R, K]`` and scales as given, both float64; the scales are float32 numbers.
    """
    codes = round_adaptively(weights, scales, metric, largest)
    if floor is None:
        return codes, scales
    fitted = np.maximum(fit_scales(weights, codes, metric, scales), floor).astype(np.float32).astype(np.float64)
    moved = round_adaptively(weights, fitted, metric, largest)
    axes = tuple(axis for axis in range(2) if scales.shape[axis] == 1)
    before, after = (
        metric.measure(weights - scale * code).sum(axis=axes, keepdims=True)[..., None]
        for scale, code in ((scales, codes), (fitted, moved))
    )
    better = after < before
    return np.where(better, moved, codes), np.where(better, fitted, scales)


def round_adaptively(weights: Floats, scales: Floats, metric: Metric, largest: int) -> Floats:
    """Codes of least loss found; for no output worse than nearest rounding.

    Args:
        weights: ``[G, R, K]``.
        scales: broadcast to the weights.
        metric: what errors cost.
        largest: codes lie in ``-largest..largest``.

    Returns:
        ``[G, R, K] float64`` integers, each next to its weight (or at the end of the range, where it is clipped).
    """
    choice = Choice.of(weights, scales, largest)
    nearest, fed = choice.nearest, feed_forward(choice, metric)
    if weights.shape[2] > PAIRED_SIZE:
        return descend(choice, metric, take_better(choice, metric, nearest, fed))
    ends = [flip_pairs(choice, metric, descend(choice, metric, start)) for start in (nearest, fed)]
    return take_better(choice, metric, *ends)


def take_better(choice: Choice, metric: Metric, first: Floats, second: Floats) -> Floats:
    """Of two sets of codes, those of less loss in every row."""
    losses = [metric.measure(choice.find_error(codes)) for codes in (first, second)]
    return np.where((losses[1] < losses[0])[..., None], second, first)


def feed_forward(choice: Choice, metric: Metric) -> Floats:
    """Round one input after the other, those of most energy first, each against the errors made before it.

    In the order of the factor the loss is a sum of squares, ``sum_j (sum_{i<=j} F_ij e_i)^2``: the code of input ``j``
    makes the ``j``-th square least. That is GPTQ's rule, written without the inverse of ``H``.
    """
    pick = metric.order[:, None, :]
    weights, steps, lower, upper = (
        np.take_along_axis(values, pick, axis=2)
        for values in (choice.weights, choice.steps, choice.lower, choice.upper)
    )
    shares = metric.factor / np.diagonal(metric.factor, axis1=1, axis2=2)[:, None, :]
    codes, errors, size = np.empty_like(weights), np.empty_like(weights), weights.shape[2]
    for start in range(0, size, FEEDBACK_BLOCK):
        stop = min(start + FEEDBACK_BLOCK, size)
        made = errors[..., :start] @ shares[:, :start, start:stop]
        for index in range(start, stop):
            within = (errors[..., None, start:index] @ shares[:, None, start:index, index, None])[..., 0, 0]
            wanted = np.rint((weights[..., index] + made[..., index - start] + within) / steps[..., index])
            codes[..., index] = np.clip(wanted, lower[..., index], upper[..., index])
            errors[..., index] = weights[..., index] - steps[..., index] * codes[..., index]
    result = np.empty_like(codes)
    np.put_along_axis(result, np.broadcast_to(pick, codes.shape), codes, axis=2)
    return result


def descend(choice: Choice, metric: Metric, start: Floats) -> Floats:
    """From a start, flip codes to their other neighbour, one input after the other, until no single flip helps."""
    codes, error = start.copy(), choice.find_error(start)
    slope = error @ metric.gram
    noise = LEAST_GAIN * (slope * error).sum(axis=2)
    for _ in range(PASSES):
        flipped = False
        for index in range(codes.shape[2]):
            other = choice.lower[..., index] + choice.upper[..., index] - codes[..., index]
            change = choice.steps[..., index] * (codes[..., index] - other)
            gain = change * (2 * slope[..., index] + change * metric.gram[:, index, index][:, None])
            groups, rows = np.nonzero(gain < -noise)
            if groups.size:
                flipped = True
                codes[groups, rows, index] = other[groups, rows]
                slope[groups, rows] += change[groups, rows, None] * metric.gram[groups, index]
        if not flipped:
            break
    return codes


def flip_pairs(choice: Choice, metric: Metric, start: Floats) -> Floats:
    """From a start, flip the pair of codes (or the single one) that helps most, in every row, until none does."""
    codes = start.copy()
    size = codes.shape[2]
    curve = np.diagonal(metric.gram, axis1=1, axis2=2)[:, None, :]
    for _ in range(PASSES * size):
        error = choice.find_error(codes)
        slope = error @ metric.gram
        other = choice.lower + choice.upper - codes
        change = choice.steps * (codes - other)
        single = change * (2 * slope + change * curve)
        both = 2 * change[..., :, None] * change[..., None, :] * metric.gram[:, None]
        both += single[..., :, None] + single[..., None, :]
        np.einsum("grkk->grk", both)[...] = single
        best = both.reshape(*both.shape[:2], -1)
        pair = best.argmin(axis=2)
        gain = np.take_along_axis(best, pair[..., None], axis=2)[..., 0]
        groups, rows = np.nonzero(gain < -LEAST_GAIN * (slope * error).sum(axis=2))
        if not groups.size:
            break
        for index in np.divmod(pair[groups, rows], size):
            codes[groups, rows, index] = other[groups, rows, index]
    return codes


def fit_scales(weights: Floats, codes: Floats, metric: Metric, scales: Floats) -> Floats:
    """Scales at which these codes lose least; the given ones where no positive scale is best, as for zeros."""
    pulled = codes @ metric.gram
    axes = (*(axis for axis in range(2) if scales.shape[axis] == 1), 2)
    gained, energy = ((part * pulled).sum(axis=axes, keepdims=True) for part in (weights, codes))
    fits = (gained > 0) & (energy > 0)
    fitted: Floats = np.divide(gained, energy, out=scales.copy(), where=fits)
    return fitted
