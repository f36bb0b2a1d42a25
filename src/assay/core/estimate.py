"""A measured number never stands alone: it carries its interval, its confidence and its sample size."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with an interval.

    Attributes:
        value: point estimate, in ``unit``.
        low: lower bound, or None where the sample is too small for one.
        high: upper bound, or None where the sample is too small for one.
        confidence: one-sided confidence of each bound (0..1).
        n: number of independent samples behind it.
        unit: ``ms``, ``bytes``, ``items/s``, ``1`` for a fraction, ...
    """

    value: float
    low: float | None
    high: float | None
    confidence: float
    n: int
    unit: str
