"""The part of the stable JSON that is about certificates: bounds, trails, slices, the sample plan and flips."""

from __future__ import annotations

import math

import msgspec

from assay.core.certificate import NEVER_ENOUGH, Certificate, SliceCertificate
from assay.core.flip import Flip
from assay.core.sample_plan import SamplePlan
from assay.report.flips import shorten

MOST_TEXT = 1000
"""Characters of an item's text."""


class LookDocument(msgspec.Struct, frozen=True):
    """One look of a sequential test; the bounds hold at all looks together."""

    n: int
    loss: float | None
    low: float | None
    high: float | None


class SliceDocument(msgspec.Struct, frozen=True):
    """The certificate of one part of the items; ``reason`` says why the method refuses to bound it."""

    column: str
    value: str
    status: str
    n: int
    reference: float | None
    variant: float | None
    loss: float | None
    low: float | None
    high: float | None
    margin: float | None
    items_needed: int | None
    reason: str = ""


class CertificateDocument(msgspec.Struct, frozen=True):
    """What the certification items say; losses in the metric's own unit, positive is worse whatever its direction."""

    status: str
    metric: str
    margin: float
    loss: float | None
    low: float | None
    high: float | None
    confidence: float
    n: int
    available: int
    design: str
    method: str
    asymptotic: bool
    order: int
    reason: str
    looks: tuple[LookDocument, ...]
    slices: tuple[SliceDocument, ...]


class PlanDocument(msgspec.Struct, frozen=True):
    """How many items certify the tolerance; ``items`` is null where no sensible number would do."""

    metric: str
    margin: float
    confidence: float
    power: float
    flip_rate: float
    loss: float
    items: int | None
    least_items: int
    available: int | None
    power_available: float | None
    design: str


class FlipDocument(msgspec.Struct, frozen=True):
    """An item on which the variant is worse than the reference, without its picture."""

    item: int
    target: str
    before: str
    after: str
    harm: float | None
    certainty: float | None
    text: str


def show_certificate(certificate: Certificate) -> CertificateDocument:
    """A certificate with its trail and its slices."""
    return CertificateDocument(
        status=str(certificate.status),
        metric=certificate.metric,
        margin=certificate.margin,
        loss=_finite(certificate.loss),
        low=_finite(certificate.low),
        high=_finite(certificate.high),
        confidence=certificate.confidence,
        n=certificate.n,
        available=certificate.available,
        design=str(certificate.design),
        method=certificate.method,
        asymptotic=certificate.asymptotic,
        order=certificate.order,
        reason=certificate.reason,
        looks=tuple(
            LookDocument(look.n, _finite(look.loss), _finite(look.low), _finite(look.high))
            for look in certificate.looks
        ),
        slices=tuple(_show_slice(part) for part in certificate.slices),
    )


def show_plan(plan: SamplePlan) -> PlanDocument:
    """The sample plan."""
    return PlanDocument(
        metric=plan.metric,
        margin=plan.margin,
        confidence=plan.confidence,
        power=plan.power,
        flip_rate=plan.flip_rate,
        loss=plan.loss,
        items=plan.items,
        least_items=plan.least_items,
        available=plan.available,
        power_available=plan.power_available,
        design=str(plan.design),
    )


def show_flip(flip: Flip) -> FlipDocument:
    """One flip in words."""
    certainty = None if flip.certainty is None else _finite(flip.certainty)
    text = shorten(flip.text, MOST_TEXT)
    return FlipDocument(flip.item, flip.target, flip.before, flip.after, _finite(flip.harm), certainty, text)


def _show_slice(part: SliceCertificate) -> SliceDocument:
    """One slice."""
    return SliceDocument(
        column=part.column,
        value=part.value,
        status=str(part.status),
        n=part.n,
        reference=_finite(part.reference),
        variant=_finite(part.variant),
        loss=_finite(part.loss),
        low=_finite(part.low) if part.bounded else None,
        high=_finite(part.high) if part.bounded else None,
        margin=_finite(part.margin),
        items_needed=part.items_needed if part.bounded and part.items_needed < NEVER_ENOUGH else None,
        reason=part.reason,
    )


def _finite(value: float) -> float | None:
    """JSON has no infinity: a bound that says nothing is null."""
    return value if math.isfinite(value) else None
