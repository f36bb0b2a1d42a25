"""The verdict on a set of items as calibration data for another, from the statistics of both.

Nothing here depends on what either set is for: it compares a calibration set with a sample of production before
anything is built, and the inputs of today with the calibration set later on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from assay.calibrate.fitness import reasons
from assay.calibrate.fitness.chance import find_chance
from assay.calibrate.fitness.harm import LOST_DB, UNFIT_DB, TensorHarm, estimate_total, measure_harm
from assay.calibrate.fitness.outlying import Outlier, find_outliers
from assay.calibrate.fitness.shift import Shift, find_shift
from assay.calibrate.fitness.size import ENOUGH, count_distinct
from assay.core.calibration import Calibration, ItemSketch
from assay.core.errors import DataError
from assay.core.estimate import Estimate
from assay.core.fitness import Fitness, ItemBlame, Verdict
from assay.core.plan import Scheme

DOUBTFUL_DB = 10 * np.log10(2.0)
"""Excess noise that makes a set doubtful where it is shown: 3.01 dB, the noise has doubled."""

SHIFT_P = 0.001
"""p-value at which the two sets count as drawn differently: one false alarm in a thousand honest sets."""

CHANCE_P = 0.01
"""p-value at which so much harm counts as no chance of small sets."""

FOREIGN_P = 0.001
"""Chance, by the sample's tail, at which a single item so far out counts as none of its kind."""

FEW = 10
"""Different items below which harm is no matter of chance: so few are no draw of anything, however they were drawn."""

LARGEST_REPEAT = 0.5
"""An item is blamed where so large a share of the set consists of its copies."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that the verdict stands on.

    Attributes:
        chance: p-value of the harm against that of sets drawn alike; None where no harm is shown, or where the shift,
            a foreign item or the number of items already tells that the sets are not.
    """

    excess: Estimate
    harms: tuple[TensorHarm, ...]
    lost: tuple[TensorHarm, ...]
    outliers: tuple[Outlier, ...]
    shift: Shift
    distinct: int
    sample_distinct: int
    chance: float | None = None

    @property
    def harmful(self) -> bool:
        """Whether the ranges are shown to spoil the sample."""
        return _is_spoilt(self.excess) or bool(self.lost)

    @property
    def differs(self) -> bool:
        """Whether the sets are shown to be drawn differently: otherwise harm is the chance of small sets.

        One item, copied or not, is no draw, so a handful of items has no such excuse.
        """
        foreign = any(outlier.chance <= FOREIGN_P for outlier in self.outliers)
        chance = 1.0 if self.chance is None else self.chance
        return self.shift.p <= SHIFT_P or foreign or chance <= CHANCE_P or self.distinct < FEW


def judge(calibration: Calibration, sample: Calibration, scheme: Scheme, rng: np.random.Generator) -> Fitness:
    """Judge how well ranges solved from one set suit another.

    Args:
        calibration: statistics of the set to judge, by group of items and with a sketch of its items; only the
            tensors that the scheme quantizes should be in it, as all of them count alike.
        sample: of production or evaluation inputs, under the same model.
        scheme: how ranges are solved and what codes they have.
        rng: draws the permutations of the shift test.

    Raises:
        DataError: the sets share no tensor with a finite value, or one was observed without its items.
    """
    first, second = _require_sketch(calibration), _require_sketch(sample)
    harms = measure_harm(calibration, sample, scheme)
    if not harms:
        raise DataError(
            "the calibration set and the sample share no observed tensor",
            "observe both under the same model, with groups of items",
        )
    findings = Findings(
        excess=estimate_total(harms, sample.items),
        harms=harms,
        lost=tuple(harm for harm in harms if _is_lost(harm)),
        outliers=find_outliers(first, second, harms),
        shift=find_shift(first, second, rng),
        distinct=count_distinct(first, calibration.items),
        sample_distinct=count_distinct(second, sample.items),
    )
    if findings.harmful and not findings.differs:
        findings = replace(findings, chance=find_chance(calibration, sample, harms, scheme, rng))
    sentences = _explain(findings, calibration, sample)
    return Fitness(
        verdict=_conclude(findings, sentences),
        score=score_excess(findings.excess, harms),
        shift_p=findings.shift.p,
        reasons=sentences,
        tensors=tuple(harm.fitness for harm in harms),
        items=_blame_items(findings, first, calibration.items),
        calibration_items=calibration.items,
        distinct_items=findings.distinct,
        sample_items=sample.items,
    )


def score_excess(total: Estimate, harms: Sequence[TensorHarm]) -> Estimate:
    """Share of the precision in amplitude that is left: 1 without excess noise, halved with every bit lost.

    A single tensor counts half its decibels, so that for it as for the total a score of 0.5 is where unfit begins.
    """
    listed = [(total, UNFIT_DB)] + [(harm.fitness.excess_noise_db, LOST_DB) for harm in harms]

    def score(decibels: float, unfit: float) -> float:
        return float(min(1.0, 0.5 ** (decibels / unfit)))

    low = [score(one.high, unfit) for one, unfit in listed if one.high is not None]
    high = [score(one.low, unfit) for one, unfit in listed if one.low is not None]
    value = min(score(one.value, unfit) for one, unfit in listed)
    if total.low is None:
        return Estimate(value, None, None, total.confidence, total.n, "1")
    return Estimate(value, min(*low, value), max(min(high), value), total.confidence, total.n, "1")


def _require_sketch(calibration: Calibration) -> ItemSketch:
    if calibration.sketch is None or not len(calibration.sketch.hashes):
        raise DataError("the statistics know nothing of single items", "observe the set again")
    return calibration.sketch


def _is_lost(harm: TensorHarm) -> bool:
    lowest = harm.fitness.excess_noise_db.low
    return lowest is not None and lowest > LOST_DB


def _is_spoilt(excess: Estimate) -> bool:
    return excess.low is not None and excess.low > UNFIT_DB


def _explain(findings: Findings, calibration: Calibration, sample: Calibration) -> tuple[str, ...]:
    """Everything that speaks against the set, the gravest first."""
    excess = findings.excess
    said: list[str] = []
    if findings.outliers:
        said.append(reasons.describe_outliers(findings.outliers, len(findings.harms)))
    if excess.low is None or excess.high is None or excess.low > DOUBTFUL_DB or excess.high > UNFIT_DB:
        said.append(reasons.describe_harm(excess, findings.harms))
    if findings.lost and not _is_spoilt(excess):
        said.append(reasons.describe_lost(findings.lost))
    if findings.chance is not None:
        said.append(reasons.describe_chance(findings.chance, differs=findings.differs))
    if findings.shift.p <= SHIFT_P:
        said.append(reasons.describe_shift(findings.shift))
    if findings.distinct < ENOUGH:
        said.append(reasons.describe_size("the calibration set", calibration.items, findings.distinct))
    if findings.sample_distinct < ENOUGH:
        said.append(reasons.describe_size("the sample", sample.items, findings.sample_distinct))
    return tuple(f"{text[0].upper()}{text[1:]}." for text in said)


def _conclude(findings: Findings, sentences: Sequence[str]) -> Verdict:
    if findings.harmful and findings.differs:
        return Verdict.UNFIT
    return Verdict.DOUBTFUL if sentences else Verdict.FIT


def _blame_items(findings: Findings, sketch: ItemSketch, items: int) -> tuple[ItemBlame, ...]:
    """Outlying items, the farthest first, then those whose copies hide that there are too few."""
    tensors = len(findings.harms)
    blamed = [ItemBlame(one.position, reasons.describe_outlier(one, tensors)) for one in findings.outliers]
    if findings.distinct < ENOUGH:
        copied = np.flatnonzero((sketch.repeats > 1) & (sketch.repeats >= LARGEST_REPEAT * items))
        blamed += [ItemBlame(int(sketch.positions[i]), f"is there {int(sketch.repeats[i]):,} times") for i in copied]
    return tuple(blamed)
