"""Measured quantities as short texts for the cells of a table; a dash where nothing was measured."""

from __future__ import annotations

from assay.core.estimate import Estimate
from assay.core.precision import Precision
from assay.core.trial import Evidence, Quality
from assay.decide import words
from assay.report.rows import Row

NOTHING = "–"  # noqa: RUF001 - a dash is what typography wants in an empty cell
MINUS = "\N{MINUS SIGN}"
LEAST_SHARE = 0.005
MS_PER_S = 1000.0


def signed_change(quality: Quality, change: float) -> str:
    """A change of the metric with its sign, such as ``+0.31 pp``."""
    sign = "+" if change > 0 else MINUS if change < 0 else ""
    return f"{sign}{words.format_metric(quality, abs(change))}"


def change_cell(row: Row) -> str:
    """The metric's change against the reference."""
    quality = None if row.trial.evidence is None else row.trial.evidence.quality
    if quality is None or row.trial.reference:
        return NOTHING
    return signed_change(quality, quality.difference)


def change_bounds(row: Row) -> str:
    """Bounds of the change, such as ``+0.17 to +0.45 pp``."""
    quality = None if row.trial.evidence is None else row.trial.evidence.quality
    if quality is None or row.trial.reference:
        return ""
    if quality.allows_anything:
        return "no bounds"
    low, high = signed_change(quality, quality.low), signed_change(quality, quality.high)
    return f"{low.removesuffix(' pp')} to {high}"


def value_cell(row: Row) -> str:
    """The metric's own value."""
    quality = None if row.trial.evidence is None else row.trial.evidence.quality
    if quality is None:
        return NOTHING
    if quality.higher_is_better and 0 <= quality.reference <= 1:
        return f"{quality.value * 100:.2f}%"
    return words.format_significant(quality.value, 4)


def bounds_ms(estimate: Estimate) -> str:
    """Bounds of a latency; says so where there is no upper one."""
    if estimate.low is None and estimate.high is None:
        return "no bounds"
    if estimate.high is None:
        return f"from {words.format_ms(estimate.low or 0.0)}, no upper bound"
    if estimate.low is None:
        return f"to {words.format_ms(estimate.high)}"
    low, high = words.format_ms(estimate.low), words.format_ms(estimate.high)
    unit = high.rpartition(" ")[2]
    return f"{low.removesuffix(f' {unit}')} to {high}"


def speedup_cell(evidence: Evidence) -> str:
    """Speed-up over the reference."""
    return words.format_ratio(evidence.speedup.value)


def speedup_bounds(evidence: Evidence) -> str:
    """Bounds of the speed-up."""
    speedup = evidence.speedup
    if speedup.low is None or speedup.high is None:
        return "no bounds"
    return f"{words.format_ratio(speedup.low)} to {words.format_ratio(speedup.high)}"


def executed_cell(evidence: Evidence) -> str:
    """What ran, such as ``INT8 98%, FP32 2%``, or ``FP32 100%, weights stored in INT8``."""
    shares = evidence.audit.shares()
    order = (Precision.INT8, Precision.FP8, Precision.BF16, Precision.FP16, Precision.TF32, Precision.FP32)
    parts = [f"{p.upper()} {format_share(shares[p])}" for p in order if shares[p] >= LEAST_SHARE]
    held = " and ".join(p.upper() for p, share in evidence.audit.stored_shares().items() if share >= LEAST_SHARE)
    return ", ".join(parts + ([f"weights stored in {held}"] if held else [])) or "nothing multiplies"


def format_share(share: float) -> str:
    """A share in percent that says 100% only of the whole."""
    return f"{min(share * 100, 99):.0f}%" if share < 1 - LEAST_SHARE / 10 else "100%"


def size_cell(row: Row) -> str:
    """Files of the artifact, also of one that was only built."""
    evidence = row.trial.evidence
    size = row.trial.size_bytes if evidence is None else evidence.footprint.size_bytes
    return words.format_bytes(size) if size else NOTHING


def cpu_cell(evidence: Evidence) -> str:
    """CPU time of one item."""
    return words.format_ms(evidence.cpu_seconds.value * MS_PER_S)


def agreement_cell(evidence: Evidence) -> str:
    """Share of items on which the variant predicts what the reference does."""
    return NOTHING if evidence.quality is None else f"{evidence.quality.agreement * 100:.2f}%"


def energy_cell(evidence: Evidence) -> str:
    """Energy of one item, or why there is none."""
    if evidence.energy is None:
        return NOTHING
    return f"{words.format_significant(evidence.energy.value * MS_PER_S)} mJ"


def flips_cell(evidence: Evidence) -> str:
    """Items that changed sides: lost and won."""
    quality = evidence.quality
    if quality is None:
        return NOTHING
    return f"{words.format_count(quality.flips_lost)} / {words.format_count(quality.flips_won)}"
