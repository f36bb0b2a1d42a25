"""How many items a certificate takes, told before any of them is spent."""

from __future__ import annotations

from dataclasses import dataclass

from assay.core.certificate import Design


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """Items that certify a tolerance.

    Attributes:
        metric: name of the metric.
        margin: tolerated loss in the metric's own unit.
        confidence: one-sided confidence of the certificate.
        power: chance that a variant with these flips and this loss is certified by ``items`` items.
        flip_rate: share of items that change sides, both ways together.
        loss: true loss that is supposed, in the metric's own unit.
        items: items needed for the certification; None where no sensible number would do.
        least_items: items without which nothing is certified, even if no item flips.
        available: certification items at hand, where data are named.
        power_available: chance of being certified with the items at hand.
        design: of the certification.
    """

    metric: str
    margin: float
    confidence: float
    power: float
    flip_rate: float
    loss: float
    items: int | None
    least_items: int
    available: int | None = None
    power_available: float | None = None
    design: Design = Design.FIXED
