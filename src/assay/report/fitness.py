"""The fitness of the calibration items in words and cells."""

from __future__ import annotations

from dataclasses import dataclass

from assay.core.convergence import Convergence
from assay.core.estimate import Estimate
from assay.core.fitness import Fitness, TensorFitness, Verdict
from assay.decide import words

WORST_TENSORS = 8
"""Tensors that a report shows; the JSON has all."""
LEAST_SHARE = 1e-6
BADGES = {Verdict.FIT: "good", Verdict.DOUBTFUL: "warn", Verdict.UNFIT: "bad"}
"""Tone of each verdict's badge."""


@dataclass(frozen=True, slots=True)
class TensorCells:
    """One tensor as cells of a table; each measured cell has its bounds."""

    tensor: str
    noise: tuple[str, str]
    clipped: tuple[str, str]
    unused: tuple[str, str]
    distance: tuple[str, str]


def summarise_fitness(fitness: Fitness) -> str:
    """The verdict with what it stands on, as one sentence."""
    distinct = "" if fitness.distinct_items == fitness.calibration_items else f" ({fitness.distinct_items:,} distinct)"
    low, high = fitness.score.low, fitness.score.high
    bounds = "" if low is None or high is None else f", {low:.2f} to {high:.2f}"
    return (
        f"{fitness.verdict.capitalize()}: score {fitness.score.value:.2f}{bounds}; "
        f"{words.format_count(fitness.calibration_items)} calibration items{distinct} held against "
        f"{words.format_count(fitness.sample_items)} others; the test that both are drawn alike gives "
        f"p = {words.format_significant(fitness.shift_p, 2)}."
    )


def summarise_convergence(convergence: Convergence) -> str:
    """How many items the ranges took to settle, as one sentence."""
    count = words.format_count(convergence.items)
    if not convergence.converged:
        return f"The ranges had not settled after {count} items: more of them may change the outcome."
    last = convergence.points[-1]
    return (
        f"The ranges settled after {count} items: those of half as many add {last.excess_noise_db:.2f} dB of noise "
        f"(limit {convergence.most_excess_db:.2f} dB) and lie {last.range_change:.1%} away "
        f"(limit {convergence.most_range_change:.1%})."
    )


def list_worst(fitness: Fitness) -> tuple[TensorCells, ...]:
    """Cells of the worst tensors."""
    return tuple(describe_tensor(tensor) for tensor in fitness.tensors[:WORST_TENSORS])


def describe_tensor(tensor: TensorFitness) -> TensorCells:
    """Cells of one tensor."""
    return TensorCells(
        tensor=tensor.tensor,
        noise=(f"{tensor.excess_noise_db.value:+.1f} dB", bound(tensor.excess_noise_db, "{:+.1f}")),
        clipped=(share(tensor.clip_rate.value), bound(tensor.clip_rate, "{}")),
        unused=(share(tensor.unused.value), bound(tensor.unused, "{}")),
        distance=(f"{tensor.distance.value:.2f}", bound(tensor.distance, "{:.2f}")),
    )


def share(fraction: float) -> str:
    """A share in percent, with digits for small ones; what is smaller than that is told to be."""
    if 0 < fraction < LEAST_SHARE:
        return f"under {100 * LEAST_SHARE:.4f}%"
    return f"{words.format_significant(fraction * 100, 2)}%"


def bound(estimate: Estimate, form: str) -> str:
    """Both bounds, or nothing where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    ends = [share(end) if form == "{}" else form.format(end) for end in (estimate.low, estimate.high)]
    return f"{ends[0]} to {ends[1]}"
