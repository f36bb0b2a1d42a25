"""From the options of ``assay plan`` to an answer: how many items, and what so many items can tell."""

from __future__ import annotations

import re
from dataclasses import dataclass

from assay.core.errors import RequestError
from assay.core.requirements import LEAST_CONFIDENCE, NUMBER, Tolerance, ToleranceKind
from assay.core.sample_plan import SamplePlan
from assay.measure.statistics.power import find_smallest_margin
from assay.studies.pilot import Pilot, read_pilot
from assay.studies.planning import (
    POWER,
    Supposed,
    count_search_items,
    count_study_items,
    plan_certificate,
    plan_study,
)

SHARES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""Of the items needed, for the table of powers."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is asked, checked and complete.

    Attributes:
        margin: tolerated loss in the metric's own unit.
        supposed: flips and loss of the variant.
        items: at hand, where they are known.
        several: a study chooses among candidates.
        pilot: that the flips were read from.
    """

    supposed: Supposed
    margin: float
    tolerance: Tolerance
    confidence: float = 0.95
    power: float = POWER
    items: int | None = None
    several: bool = True
    pilot: Pilot | None = None

    def __post_init__(self) -> None:
        """Refuse what can never be planned.

        Raises:
            RequestError: naming the value.
        """
        if not LEAST_CONFIDENCE <= self.confidence < 1:
            raise RequestError(
                f"confidence {self.confidence:g} is out of range", "give 0.5 or more and less than 1, such as 0.95"
            )
        if not 0 < self.power < 1:
            raise RequestError(f"power {self.power:g} is not between 0 and 1", "give a value such as 0.8")
        if not 0 < self.margin < 1:
            raise RequestError(f"tolerance {self.tolerance.text!r} allows {self.margin:g}", "tolerate between 0 and 1")
        if self.items is not None and self.items < 1:
            raise RequestError(f"{self.items} items are no data", "give 1 or more")
        if not self.supposed.loss < self.margin:
            message = f"a loss of {self.supposed.loss:g} is not within the tolerance of {self.margin:g}"
            raise RequestError(message, "no number of items certifies it: suppose a smaller loss, or tolerate more")


@dataclass(frozen=True, slots=True)
class PlanAnswer:
    """How many items, and what they can tell.

    Attributes:
        certificate: plan of one variant's certificate, with the items at hand if they are known.
        study: plan of a study's certification.
        study_items: evaluation items of a study, search items included; None where no sensible number would do.
        study_search: how many of the items needed are for searching.
        cautious: plan with as many flips as the pilot allows.
        table: items -> chance of being certified.
        smallest_margin: that the items at hand certify with the power wanted; None where they are not known.
    """

    request: PlanRequest
    certificate: SamplePlan
    study: SamplePlan
    study_items: int | None
    study_search: int | None
    cautious: SamplePlan | None
    table: tuple[tuple[int, float], ...]
    smallest_margin: float | None


def compose_plan(  # noqa: PLR0913 - one argument per option
    *,
    metric: str | None,
    tolerance: str,
    flips: str | None,
    loss: str | None,
    deviation: str | None,
    reference: str | None,
    confidence: float,
    power: float,
    items: int | None,
    pilot: str | None,
    candidates: int,
) -> PlanRequest:
    """A checked request from the texts of the options.

    Raises:
        RequestError: naming the option and its value.
        StoreError: the pilot is no finished study.
    """
    if candidates < 1:
        raise RequestError(f"{candidates} candidates are none", "give 1 or more")
    if not LEAST_CONFIDENCE <= confidence < 1:
        raise RequestError(
            f"confidence {confidence:g} is out of range", "give 0.5 or more and less than 1, such as 0.95"
        )
    name, asked = parse_tolerance(metric, tolerance)
    found = None if pilot is None else read_pilot(pilot, name, confidence)
    supposed = suppose(name, found, flips, loss, deviation)
    value = parse_share("--reference", reference) if reference is not None else found.reference if found else None
    if asked.kind is ToleranceKind.RELATIVE and value is None:
        message = f"tolerance {asked.text!r} is a share of the reference's {name}, which is not known"
        raise RequestError(message, "give --reference, such as 76%, or a tolerance such as 0.5pp")
    margin = asked.margin(1.0 if value is None else value)
    return PlanRequest(supposed, margin, asked, confidence, power, items, candidates > 1, found)


def parse_tolerance(metric: str | None, text: str) -> tuple[str, Tolerance]:
    """The metric's name and the tolerance, from ``0.5pp`` beside a metric or ``top1: 0.5pp``.

    Raises:
        RequestError: it has another form, or the metric is missing or named twice.
    """
    named = re.match(r"\s*[A-Za-z_][\w@.\-]*\s*[:=]", text) is not None
    if not named and metric is None:
        raise RequestError(f"tolerance {text!r} is of no metric", "give --metric, such as top1")
    tolerance = Tolerance.parse(text if named else f"{metric}: {text}")
    if metric is not None and metric != tolerance.metric:
        message = f"--metric is {metric!r} and the tolerance is of {tolerance.metric!r}"
        raise RequestError(message, "name one metric")
    return tolerance.metric, tolerance


def suppose(metric: str, pilot: Pilot | None, flips: str | None, loss: str | None, deviation: str | None) -> Supposed:
    """Flips and loss, as given or as the pilot has them.

    Raises:
        RequestError: neither flips, a deviation nor a pilot is named, or more than one.
    """
    if sum(given is not None for given in (flips, deviation, pilot)) != 1:
        hint = "give --flips, such as 3%, or --pilot STUDY_FOLDER, or --deviation for scores between 0 and 1"
        raise RequestError("flips must be named once", hint)
    lost = None if loss is None else parse_share("--loss", loss)
    if pilot is not None:
        supposed = pilot.supposed
        return supposed if lost is None else Supposed(metric, max(supposed.flip_rate, lost), lost, pilot.bounded)
    if deviation is not None:
        spread = parse_share("--deviation", deviation)
        return Supposed(metric, spread**2 + (lost or 0.0) ** 2, lost or 0.0, bounded=True)
    return Supposed(metric, parse_share("--flips", str(flips)), lost or 0.0)


def parse_share(option: str, text: str) -> float:
    """A share from ``3%``, ``0.5pp`` or ``0.03``.

    Raises:
        RequestError: it has another form, or lies outside 0 to 1.
    """
    match = re.fullmatch(rf"\s*{NUMBER}\s*(?P<unit>pp|%)?\s*", text)
    if match is None:
        raise RequestError(f"{option} {text!r} is no share", "write for example 3%, 0.5pp or 0.03")
    share = float(match["number"]) / (100 if match["unit"] else 1)
    if not 0 <= share <= 1:
        raise RequestError(f"{option} {text!r} is out of range", "give between 0 and 100%")
    return share


def answer_plan(request: PlanRequest) -> PlanAnswer:
    """Plan the certificate of one variant, and a study."""
    asked = (request.margin, request.confidence, request.power)
    supposed = request.supposed
    certificate = plan_certificate(supposed, *asked, request.items)
    study = plan_study(request.items, supposed, *asked, several=request.several)
    needed = study.items
    total = None if needed is None else count_study_items(needed, several=request.several)
    return PlanAnswer(
        request=request,
        certificate=certificate,
        study=study,
        study_items=total,
        study_search=None if total is None else count_search_items(total, several=request.several),
        cautious=None if request.pilot is None else plan_certificate(request.pilot.cautious, *asked),
        table=tabulate(request, certificate),
        smallest_margin=resolve(request),
    )


def tabulate(request: PlanRequest, plan: SamplePlan) -> tuple[tuple[int, float], ...]:
    """Chances of being certified with fewer items and with more than are needed."""
    around = 4 * plan.least_items if plan.items is None else plan.items
    counts = {plan.least_items, *(round(share * around) for share in SHARES)}
    chosen = sorted(n for n in counts if n >= plan.least_items)
    return tuple((n, request.supposed.power(n, request.margin, request.confidence)) for n in chosen)


def resolve(request: PlanRequest) -> float | None:
    """The smallest margin that the items at hand certify, were there no loss."""
    if request.items is None or request.supposed.bounded:
        return None
    return find_smallest_margin(request.items, request.supposed.flip_rate, request.confidence, request.power)
