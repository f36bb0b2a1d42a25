"""Rounding weights up or down by what the layer's output loses, without gradients.

The objective is that of Nagel et al. 2020 ("Up or down? Adaptive rounding for post-training quantization", equation
13): the expected squared change of each output, ``dw^T H dw`` with ``H = E[x x^T]`` of the layer's input vectors,
over the two neighbours of every weight. It is not solved by their relaxation but by the error feedback of GPTQ
(Frantar et al. 2022, after Optimal Brain Quantization), which rounds one input after the other and lets the ones
still to come make up for it, and then by coordinate descent until no single flip helps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DAMPING = 0.01
"""Share of the mean second moment added to each: the samples are finite, and some inputs are always zero."""
PASSES = 32
"""Rounds of descent at most; it stops by itself after a handful."""
FEEDBACK_BLOCK = 128
"""Inputs whose error is fed back at once to the ones behind them."""
LEAST_GAIN = 1e-12
"""Share of a row's cost below which a flip is rounding noise."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """A rounding problem: for every weight, the two codes that it may take.

    Attributes:
        weights: ``[G, R, K] float64``.
        steps: ``[G, R, K] float64``, scale of every weight.
        lower: ``[G, R, K] float64``, code below each weight.
        upper: ``[G, R, K] float64``, code above it; the same where only one lies in range.
        gram: ``[G, K, K] float64``, damped second moments of the inputs.
    """

    weights: Floats
    steps: Floats
    lower: Floats
    upper: Floats
    gram: Floats

    @classmethod
    def of(cls, weights: Floats, steps: Floats, gram: Floats, largest: int) -> Rounding:
        """The problem of rounding ``weights`` in multiples of ``steps``, to codes of at most ``largest``."""
        ideal = weights / steps
        lower, upper = (np.clip(codes, -largest, largest) for codes in (np.floor(ideal), np.ceil(ideal)))
        return cls(weights, np.broadcast_to(steps, weights.shape), lower, upper, gram)

    @property
    def nearest(self) -> Floats:
        """Codes nearest to the weights; ties go to even."""
        return np.clip(np.rint(self.weights / self.steps), self.lower, self.upper)

    def measure(self, codes: Floats) -> Floats:
        """``[G, R]``: what each output loses with these codes."""
        return measure_loss(self.weights - self.steps * codes, self.gram)


def measure_loss(error: Floats, gram: Floats) -> Floats:
    """``[G, R]``: expected squared change of every output for a ``[G, R, K]`` change of its weights."""
    loss: Floats = ((error @ gram) * error).sum(axis=2)
    return loss


def damp(gram: Floats) -> Floats:
    """Second moments with a share of their mean added to the diagonal, so that they are positive definite."""
    size = gram.shape[-1]
    mean = np.trace(gram, axis1=1, axis2=2) / size
    added = np.where(mean > 0, DAMPING * mean, 1.0)
    damped: Floats = gram + added[:, None, None] * np.eye(size)
    return damped


def round_adaptively(weights: Floats, steps: Floats, gram: Floats, largest: int) -> Floats:
    """Codes of least loss found; for no output worse than nearest rounding.

    Args:
        weights: ``[G, R, K]``.
        steps: scale of every weight, broadcast to it.
        gram: ``[G, K, K]``, second moments of the inputs.
        largest: codes lie in ``-largest..largest``.

    Returns:
        ``[G, R, K] float64`` integers, each next to its weight (or at the end of the range, where it is clipped).
    """
    problem = Rounding.of(weights, steps, damp(gram), largest)
    nearest = problem.nearest
    guess = feed_back(problem)
    start = np.where((problem.measure(guess) < problem.measure(nearest))[..., None], guess, nearest)
    found = descend(problem, start)
    plain = Rounding(problem.weights, problem.steps, problem.lower, problem.upper, gram)
    return np.where((plain.measure(found) < plain.measure(nearest))[..., None], found, nearest)


def feed_back(problem: Rounding) -> Floats:
    """Round one input after the other, those of most energy first, and move the rest against the error made."""
    order = np.argsort(-np.diagonal(problem.gram, axis1=1, axis2=2), axis=1, kind="stable")
    pick = order[:, None, :]
    weights, steps, lower, upper = (
        np.take_along_axis(values, pick, axis=2).copy()
        for values in (problem.weights, problem.steps, problem.lower, problem.upper)
    )
    gram = np.take_along_axis(np.take_along_axis(problem.gram, order[:, :, None], axis=1), pick, axis=2)
    # The upper Cholesky factor of the inverse holds, row by row, the inverses of what is left after each elimination.
    factor = np.linalg.cholesky(np.linalg.inv(gram)).swapaxes(1, 2)
    codes, size = np.empty_like(weights), weights.shape[2]
    for start in range(0, size, FEEDBACK_BLOCK):
        stop = min(start + FEEDBACK_BLOCK, size)
        errors = np.empty((*weights.shape[:2], stop - start))
        for index in range(start, stop):
            wanted = np.rint(weights[..., index] / steps[..., index])
            codes[..., index] = np.clip(wanted, lower[..., index], upper[..., index])
            error = weights[..., index] - steps[..., index] * codes[..., index]
            error /= factor[:, index, index][:, None]
            weights[..., index + 1 : stop] -= error[..., None] * factor[:, None, index, index + 1 : stop]
            errors[..., index - start] = error
        weights[..., stop:] -= errors @ factor[:, start:stop, stop:]
    result = np.empty_like(codes)
    np.put_along_axis(result, np.broadcast_to(pick, codes.shape), codes, axis=2)
    return result


def descend(problem: Rounding, codes: Floats) -> Floats:
    """Flip single codes to their other neighbour while that helps; the rows are independent of each other."""
    codes = codes.copy()
    slope = (problem.weights - problem.steps * codes) @ problem.gram
    noise = LEAST_GAIN * problem.measure(codes)
    for _ in range(PASSES):
        flipped = False
        for index in range(codes.shape[2]):
            other = problem.lower[..., index] + problem.upper[..., index] - codes[..., index]
            change = problem.steps[..., index] * (codes[..., index] - other)
            curve = problem.gram[:, index, index][:, None]
            gain = change * (2 * slope[..., index] + change * curve)
            groups, rows = np.nonzero(gain < -noise)
            if groups.size:
                flipped = True
                codes[groups, rows, index] = other[groups, rows]
                slope[groups, rows] += change[groups, rows, None] * problem.gram[groups, index]
        if not flipped:
            break
    return codes


def solve_rounding(
    weights: Floats, scales: Floats, gram: Floats, largest: int, floor: Floats | None
) -> tuple[Floats, Floats]:
    """Codes and scales of least loss found: rounded, the scale fitted to the codes, and rounded once more.

    Args:
        weights: ``[G, R, K]``.
        scales: ``[G, R, 1]``; or ``[1, 1, 1]``, shared by all outputs; or ``[1, R, K]``, which stay as they are.
        gram: ``[G, K, K]``, second moments of the inputs.
        largest: codes lie in ``-largest..largest``.
        floor: smallest allowed scales, broadcast to ``scales``; None to leave the scales as they are.

    Returns:
        Codes ``[G, R, K]`` and scales as given, both float64; the scales are float32 numbers.
    """
    codes = round_adaptively(weights, scales, gram, largest)
    if floor is None:
        return codes, scales
    fitted = np.maximum(fit_scales(weights, codes, gram, scales), floor).astype(np.float32).astype(np.float64)
    moved = round_adaptively(weights, fitted, gram, largest)
    axes = tuple(axis for axis in range(2) if scales.shape[axis] == 1)
    before, after = (
        measure_loss(weights - scale * code, gram).sum(axis=axes, keepdims=True)[..., None]
        for scale, code in ((scales, codes), (fitted, moved))
    )
    better = after < before
    return np.where(better, moved, codes), np.where(better, fitted, scales)


def fit_scales(weights: Floats, codes: Floats, gram: Floats, scales: Floats) -> Floats:
    """Scales at which these codes lose least; the given ones where no positive scale is best, as for zeros."""
    pulled = codes @ gram
    axes = (*(axis for axis in range(2) if scales.shape[axis] == 1), 2)
    gained, energy = ((part * pulled).sum(axis=axes, keepdims=True) for part in (weights, codes))
    fits = (gained > 0) & (energy > 0)
    fitted: Floats = np.divide(gained, energy, out=scales.copy(), where=fits)
    return fitted
