"""A certificate: that a variant's metric is no worse than the reference's by more than the tolerance, or why not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CertificateStatus(StrEnum):
    """What the items say.

    ``certified``: the loss is within the margin, at the confidence asked for. ``worse``: it is proven beyond the
    margin. ``open``: the items at hand cannot tell. ``untested``: no item of the certification was spent on it.
    """

    CERTIFIED = "certified"
    WORSE = "worse"
    OPEN = "open"
    UNTESTED = "untested"


class Design(StrEnum):
    """When the items are looked at: once, after all of them, or after every part of them."""

    FIXED = "fixed"
    SEQUENTIAL = "sequential"


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the items of a sequential test; losses in the metric's own unit, positive is worse.

    Attributes:
        n: items seen.
        loss: mean loss over them.
        low: lower bound of the loss, valid at all looks together.
        high: upper bound of the loss, valid at all looks together.
    """

    n: int
    loss: float
    low: float
    high: float


NEVER_ENOUGH = 2**31 - 1
"""In place of an infinite number of items: none would certify, such as where nothing is tolerated."""


@dataclass(frozen=True, slots=True)
class SliceCertificate:
    """The same statement for the items of one slice.

    Attributes:
        column: what the items are divided by, such as ``class``.
        value: the slice, such as ``7``.
        n: items of the slice.
        reference: metric of the reference on them.
        variant: metric of the variant on them.
        loss: how much worse, positive is worse.
        low: lower bound of the loss, for all slices of the column together.
        high: upper bound of the loss at the confidence, for this slice.
        margin: tolerated loss in this slice.
        items_needed: fewest items that could certify the margin even if nothing flips; ``NEVER_ENOUGH`` where no
            number could.
        reason: why nothing can be said of the slice, in words; else empty.
    """

    column: str
    value: str
    n: int
    reference: float
    variant: float
    loss: float
    low: float
    high: float
    margin: float
    status: CertificateStatus
    items_needed: int
    reason: str = ""

    @property
    def bounded(self) -> bool:
        """The method bounds the loss: elsewhere ``low``, ``high`` and ``items_needed`` say nothing, but ``reason``."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the certification items say of one variant; losses in the metric's own unit, positive is worse.

    Attributes:
        margin: tolerated loss.
        loss: mean loss over the items used.
        low: lower bound of the loss at one-sided ``confidence``.
        high: upper bound of the loss at one-sided ``confidence``.
        n: items used.
        available: items that could have been used.
        method: name of the interval's method.
        asymptotic: the method holds in the limit of many items only.
        looks: trail of a sequential test, one entry per look.
        reason: why it is untested, or why the test stopped; in words.
        slices: certificates of parts of the items, the worst first.
        order: place in the fixed sequence of tests, from 1; 0 where it has none.
    """

    status: CertificateStatus
    metric: str
    margin: float
    loss: float
    low: float
    high: float
    confidence: float
    n: int
    available: int
    design: Design
    method: str
    asymptotic: bool = False
    looks: tuple[Look, ...] = ()
    reason: str = ""
    slices: tuple[SliceCertificate, ...] = ()
    order: int = 0
