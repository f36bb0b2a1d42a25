"""What the user asks for: tolerance, constraints and an objective, parsed from the words of a command line."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from assay.core.errors import RequestError

LEAST_CONFIDENCE = 0.5
CLASS_COLUMN = "class"
"""The column that the targets make by themselves, where they are one integer per item."""
AT = " at "
NUMBER = r"(?P<number>[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"


class ToleranceKind(StrEnum):
    """How a tolerated drop is measured."""

    ABSOLUTE = "absolute"
    RELATIVE = "relative"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How much worse than the FP32 reference a metric may be.

    Attributes:
        amount: a drop in the metric's own unit (absolute), or a share of the reference's value (relative).
        text: as the user wrote it.
    """

    metric: str
    kind: ToleranceKind
    amount: float
    text: str

    def margin(self, reference: float) -> float:
        """Tolerated drop in the metric's own unit, given the reference's value; never negative."""
        return self.amount if self.kind is ToleranceKind.ABSOLUTE else self.amount * abs(reference)

    @classmethod
    def parse(cls, text: str) -> Tolerance:
        """Read ``top1: 0.5pp``, ``top1: 0.005`` (absolute) or ``top1: 1%`` (relative to the reference).

        Raises:
            RequestError: the text has another form, or the amount is not a sensible drop.
        """
        match = re.fullmatch(rf"\s*(?P<metric>[\w@.\-]+)\s*[:=]\s*{NUMBER}\s*(?P<unit>pp|%)?\s*", text)
        if match is None:
            message = f"tolerance {text!r} is not of the form 'METRIC: AMOUNT'"
            raise RequestError(message, "write for example 'top1: 0.5pp', 'top1: 0.005' or 'top1: 1%'")
        number = float(match["number"])
        unit = match["unit"]
        amount = number / 100 if unit else number
        kind = ToleranceKind.RELATIVE if unit == "%" else ToleranceKind.ABSOLUTE
        if not math.isfinite(amount) or (kind is ToleranceKind.RELATIVE and amount >= 1):
            raise RequestError(f"tolerance {text!r} allows any loss", "give a drop below 100%")
        return cls(match["metric"], kind, amount, text.strip())


@dataclass(frozen=True, slots=True)
class SliceRule:
    """How much worse than the reference a metric may be in every slice of a column.

    Attributes:
        column: of the data, or ``class`` for the target.
        kind: of the amount.
        amount: as in a tolerance.
        text: as the user wrote it.
    """

    column: str
    kind: ToleranceKind
    amount: float
    text: str

    def margin(self, reference: float) -> float:
        """Tolerated drop in the metric's own unit, given the reference's value in the slice; never negative."""
        return self.amount if self.kind is ToleranceKind.ABSOLUTE else self.amount * abs(reference)

    @classmethod
    def parse(cls, text: str) -> SliceRule:
        """Read ``class: 5pp``, ``camera: 0.05`` or ``source: 10%``.

        Raises:
            RequestError: the text has another form, or the amount is not a sensible drop.
        """
        try:
            read = Tolerance.parse(text)
        except RequestError as error:
            message = f"slice {text!r} is not of the form 'COLUMN: AMOUNT', with a drop below 100%"
            raise RequestError(message, "write for example 'class: 5pp'") from error
        return cls(read.metric, read.kind, read.amount, read.text)


class Bounded(StrEnum):
    """Measured quantity that a constraint bounds."""

    P50 = "p50"
    P90 = "p90"
    P95 = "p95"
    P99 = "p99"
    THROUGHPUT = "throughput"
    MEMORY = "memory"
    SIZE = "size"
    FPS = "fps"
    WATTS = "watts"
    ENERGY = "energy"

    @property
    def at_most(self) -> bool:
        """The bound is an upper one; throughput and the rate of frames have a lower one."""
        return self not in {Bounded.THROUGHPUT, Bounded.FPS}

    @property
    def quantile(self) -> float | None:
        """The share of calls that a percentile of the latency is about; None for what is no percentile."""
        return QUANTILES.get(self)


QUANTILES = {Bounded.P50: 0.5, Bounded.P90: 0.9, Bounded.P95: 0.95, Bounded.P99: 0.99}
UNITS = {
    Bounded.P50: {"ms": 1.0, "s": 1e3, "us": 1e-3},
    Bounded.P90: {"ms": 1.0, "s": 1e3, "us": 1e-3},
    Bounded.P95: {"ms": 1.0, "s": 1e3, "us": 1e-3},
    Bounded.P99: {"ms": 1.0, "s": 1e3, "us": 1e-3},
    Bounded.THROUGHPUT: {"/s": 1.0, "items/s": 1.0, "": 1.0},
    Bounded.MEMORY: {"B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "kB": 1e3, "MB": 1e6, "GB": 1e9},
    Bounded.SIZE: {"B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "kB": 1e3, "MB": 1e6, "GB": 1e9},
    Bounded.FPS: {"": 1.0, "fps": 1.0, "/s": 1.0},
    Bounded.WATTS: {"": 1.0, "W": 1.0, "mW": 1e-3},
    Bounded.ENERGY: {"J": 1.0, "mJ": 1e-3},
}


@dataclass(frozen=True, slots=True)
class Constraint:
    """A bound that the chosen artifact must keep.

    Attributes:
        limit: in ms (latency), items/s (throughput), bytes (memory, size), frames/s, W or J per item.
        text: as the user wrote it.
        confidence: one-sided confidence that the bound is kept with; that of the requirements where None.
    """

    quantity: Bounded
    limit: float
    text: str
    confidence: float | None = None

    @property
    def is_sampled(self) -> bool:
        """The quantity is measured with an interval, not counted."""
        return self.quantity not in {Bounded.MEMORY, Bounded.SIZE}

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Read ``p99 <= 10ms``, ``p99 <= 10ms at 99%``, ``throughput >= 200/s`` or ``size <= 5MB``.

        Raises:
            RequestError: unknown quantity or unit, a bound in the wrong direction, or a senseless confidence.
        """
        bound, separator, certainty = (text, "", "") if AT not in text else text.rpartition(AT)
        match = re.fullmatch(rf"\s*(?P<name>\w+)\s*(?P<relation><=|>=|<|>)\s*{NUMBER}\s*(?P<unit>[\w/]*)\s*", bound)
        names = ", ".join(Bounded)
        if match is None or match["name"] not in set(Bounded):
            message = f"constraint {text!r} is not of the form 'QUANTITY <= NUMBER UNIT'"
            raise RequestError(message, f"quantities are {names}; for example 'p99 <= 10ms'")
        quantity = Bounded(match["name"])
        factor = UNITS[quantity].get(match["unit"])
        if factor is None:
            units = ", ".join(repr(unit) for unit in UNITS[quantity] if unit)
            raise RequestError(f"constraint {text!r}: unit {match['unit']!r} is unknown", f"use one of {units}")
        if quantity.at_most != match["relation"].startswith("<"):
            direction = "an upper" if quantity.at_most else "a lower"
            raise RequestError(f"constraint {text!r}: {quantity} takes {direction} bound", "turn the relation round")
        limit = float(match["number"]) * factor
        if not 0 < limit < math.inf:
            raise RequestError(f"constraint {text!r} can never be met", "give a positive, finite limit")
        confidence = _read_confidence(quantity, certainty, text) if separator else None
        return cls(quantity, limit, text.strip(), confidence)


def _read_confidence(quantity: Bounded, certainty: str, text: str) -> float:
    """The confidence of a constraint, from ``99%``.

    Raises:
        RequestError: it is no percentage from 50% on and below 100%, or the quantity is no percentile.
    """
    if quantity.quantile is None:
        message = f"constraint {text!r}: only a percentile of the latency has a confidence of its own"
        raise RequestError(message, "leave 'at ...' out; --confidence is the confidence of everything else")
    match = re.fullmatch(rf"\s*{NUMBER}\s*%\s*", certainty)
    share = float(match["number"]) / 100 if match else math.nan
    if not LEAST_CONFIDENCE <= share < 1:
        message = f"constraint {text!r}: {certainty.strip()!r} is no confidence"
        raise RequestError(message, "write for example 'p99 <= 10ms at 99%'")
    return share


class Objective(StrEnum):
    """What is made as good as can be among the artifacts that meet every requirement."""

    LATENCY = "latency"
    THROUGHPUT = "throughput"
    MEMORY = "memory"
    SIZE = "size"
    COST = "cost"


@dataclass(frozen=True, slots=True)
class Requirements:
    """Everything a decision is held to.

    Attributes:
        confidence: one-sided confidence of the statement "within the tolerance" (0.5..1).
        price_per_hour: of the serving machine, in the user's currency; needed by the cost objective.
        slices: what every slice of the items is held to, besides the whole.
        currency: of the price, such as USD; empty where it was not stated.
        grid_g_per_kwh: grams of CO2 equivalent per kilowatt-hour of the machine's grid; None where not stated.
    """

    tolerance: Tolerance
    objective: Objective = Objective.LATENCY
    constraints: tuple[Constraint, ...] = ()
    confidence: float = 0.95
    price_per_hour: float | None = None
    slices: tuple[SliceRule, ...] = ()
    currency: str = ""
    grid_g_per_kwh: float | None = None

    def __post_init__(self) -> None:
        """Refuse contradictions.

        Raises:
            RequestError: naming the contradiction.
        """
        if not LEAST_CONFIDENCE <= self.confidence < 1:
            raise RequestError(
                f"confidence {self.confidence} is out of range", "give 0.5 or more and less than 1, such as 0.95"
            )
        if self.objective is Objective.COST and self.price_per_hour is None:
            raise RequestError("the objective 'cost' needs a price", "give --price-per-hour, or --prices and --machine")
        if self.price_per_hour is not None and not 0 < self.price_per_hour < math.inf:
            raise RequestError(
                f"price per hour {self.price_per_hour} is not a positive number", "give --price-per-hour"
            )
        limits: dict[Bounded, Constraint] = {}
        for constraint in self.constraints:
            other = limits.setdefault(constraint.quantity, constraint)
            if other is not constraint:
                message = f"{constraint.quantity} is bounded twice: {other.text!r} and {constraint.text!r}"
                raise RequestError(message, "keep one of them")
        if len({rule.column for rule in self.slices}) < len(self.slices):
            raise RequestError("a column is named twice in the slices", "keep one rule for each column")
        order = [limits[q] for q in QUANTILES if q in limits]
        for lower, higher in pairwise(order):
            if higher.limit < lower.limit:
                message = f"constraints contradict each other: {lower.text!r} is implied by {higher.text!r}"
                raise RequestError(message, "a higher percentile cannot be bounded below a lower one")
