"""Fitness of a set of items as calibration data for another set: what `check`, a study and a watch all speak of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from assay.core.estimate import Estimate


class Verdict(StrEnum):
    """Whether a calibration set may be trusted."""

    FIT = "fit"
    DOUBTFUL = "doubtful"
    UNFIT = "unfit"


@dataclass(frozen=True, slots=True)
class TensorFitness:
    """How well the ranges solved from one set suit the values that another set gives a tensor.

    Attributes:
        tensor: name.
        clip_rate: share of the other set's values that the ranges cut off.
        unused: share of the range that the other set never reaches.
        distance: between the distributions of the two sets, 0 (equal) to 1 (disjoint).
        excess_noise_db: quantization noise on the other set under these ranges, over the noise under its own, in dB.
    """

    tensor: str
    clip_rate: Estimate
    unused: Estimate
    distance: Estimate
    excess_noise_db: Estimate


@dataclass(frozen=True, slots=True)
class ItemBlame:
    """An item that the verdict blames.

    Attributes:
        position: index in the calibration set.
        reason: what is odd about it, in words.
    """

    position: int
    reason: str


@dataclass(frozen=True, slots=True)
class Fitness:
    """Verdict on a calibration set, before anything is built.

    Attributes:
        verdict: fit, doubtful (use it, but know why) or unfit (a study builds nothing from it).
        score: 0 (useless) to 1 (as good as the other set itself).
        shift_p: p-value of the test that both sets are drawn alike, over all features of single items at once.
        reasons: in words, the gravest first; empty for a fit set.
        tensors: the worst first.
        items: items of the calibration set to blame, the worst first.
        calibration_items: observed items of the calibration set.
        distinct_items: of these, how many differ.
        sample_items: observed items of the other set.
    """

    verdict: Verdict
    score: Estimate
    shift_p: float
    reasons: tuple[str, ...]
    tensors: tuple[TensorFitness, ...]
    items: tuple[ItemBlame, ...]
    calibration_items: int
    distinct_items: int
    sample_items: int
