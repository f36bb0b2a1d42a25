"""Percentiles that constraints asked for, beside the three that every table has."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from assay.core.requirements import Requirements
from assay.core.trial import Evidence
from assay.decide import words
from assay.report import cells

USUAL = (0.5, 0.95, 0.99)
"""Quantiles that every table has, at the study's confidence."""


@dataclass(frozen=True, slots=True)
class AskedColumn:
    """A percentile at a confidence of its own.

    Attributes:
        title: such as ``p99 at 99%``.
    """

    quantile: float
    confidence: float
    title: str

    def cell(self, evidence: Evidence) -> str:
        """The percentile."""
        estimate = evidence.latency.at(self.quantile, self.confidence)
        return cells.NOTHING if estimate is None else words.format_ms(estimate.value)

    def bounds(self, evidence: Evidence) -> str:
        """Its bounds, at its own confidence."""
        estimate = evidence.latency.at(self.quantile, self.confidence)
        return "" if estimate is None else cells.bounds_ms(estimate)


def list_asked(requirements: Requirements, evidences: Iterable[Evidence]) -> tuple[AskedColumn, ...]:
    """Columns of what was asked for and is not among the usual ones, by quantile and confidence."""
    found = {(one.quantile, one.estimate.confidence) for evidence in evidences for one in evidence.latency.asked}
    return tuple(
        AskedColumn(quantile, confidence, name_percentile(quantile, confidence, requirements.confidence))
        for quantile, confidence in sorted(found)
        if quantile not in USUAL or not math.isclose(confidence, requirements.confidence)
    )


def name_percentile(quantile: float, confidence: float, usual: float) -> str:
    """Such as ``p90``, or ``p99 at 99%`` where the confidence is not the usual one."""
    name = f"p{100 * quantile:g}"
    return name if math.isclose(confidence, usual) else f"{name} at {words.format_confidence(confidence)}"
