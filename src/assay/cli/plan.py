"""``assay plan``: how many items a decision takes, before any of them is spent."""

from __future__ import annotations

import click
import msgspec
from rich.console import Console
from rich.table import Table

from assay.cli.printing import print_json
from assay.core.sample_plan import SamplePlan
from assay.decide.words import format_points, format_significant
from assay.studies.pilot import Pilot
from assay.studies.plan_requests import PlanAnswer, answer_plan, compose_plan

PLAN_SCHEMA = 1
PERCENT = 100
LITTLE = 0.1


@click.command()
@click.option("--metric", help="Such as top1; may stand in the tolerance instead.")
@click.option("--tolerance", required=True, metavar="TEXT", help="Tolerated drop: 0.5pp, 0.005, or 1% of --reference.")
@click.option("--flips", metavar="SHARE", help="Items that change sides, both ways together, such as 3%.")
@click.option("--pilot", metavar="STUDY[:TRIAL]", help="Read the flips from a finished study's scores.")
@click.option("--deviation", metavar="SHARE", help="Of an item's difference, for scores between 0 and 1.")
@click.option("--loss", metavar="SHARE", help="True loss that is supposed (default 0, or the pilot's).")
@click.option("--reference", metavar="SHARE", help="The reference's metric, for a relative tolerance, such as 76%.")
@click.option("--power", type=float, default=0.8, help="Chance of being certified that is wanted (default 0.8).")
@click.option("--confidence", type=float, default=0.95, help="One-sided confidence (default 0.95).")
@click.option("--items", type=int, help="Items at hand: tell what they can resolve.")
@click.option("--candidates", type=int, default=2, help="That a study chooses among (default: several).")
@click.option("--one", is_flag=True, help="There is one candidate only: no search items.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON (schema 1).")
def plan(as_json: bool, one: bool, candidates: int, **options: object) -> None:  # noqa: FBT001 - flags of the command line
    """Tell how many items certify that a metric stays within its tolerance.

    Exact for metrics that are right or wrong on every item, and for agreement; by a normal approximation for scores
    between 0 and 1 (--deviation).

    Exit status: 0 planned, 2 wrong input, 5 the pilot cannot be read.
    """
    request = compose_plan(candidates=1 if one else candidates, **options)  # type: ignore[arg-type] # the options have these types
    answer = answer_plan(request)
    if as_json:
        print_json(show_plan(answer))
    else:
        print_plan(answer, Console())


def show_plan(answer: PlanAnswer) -> dict[str, object]:
    """The plan as a document: the certificate's keys, then the study's and the pilot's."""
    request = answer.request
    return {
        "schema": PLAN_SCHEMA,
        **msgspec.to_builtins(answer.certificate),
        "tolerance": request.tolerance.text,
        "power_wanted": request.power,
        "table": [{"items": n, "power": chance} for n, chance in answer.table],
        "smallest_margin": answer.smallest_margin,
        "study_items": answer.study_items,
        "study": {**msgspec.to_builtins(answer.study), "search_items": answer.study_search},
        "pilot": None if request.pilot is None else msgspec.to_builtins(request.pilot),
        "items_cautious": None if answer.cautious is None else answer.cautious.items,
    }


def print_plan(answer: PlanAnswer, console: Console) -> None:
    """The plan in words, and a table of chances."""
    lines = [] if answer.request.pilot is None else [describe_pilot(answer.request.pilot)]
    lines += describe_items(answer)
    if answer.request.items is not None:
        lines += describe_available(answer, answer.request.items)
    lines.append(describe_study(answer))
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("items", justify="right")
    table.add_column("chance", justify="right")
    for n, chance in answer.table:
        table.add_row(f"{n:,}", format_percent(chance))
    console.print(table)


def describe_pilot(pilot: Pilot) -> str:
    """What the pilot showed."""
    return (
        f"Pilot {pilot.trial}: of {pilot.n:,} items {pilot.flips_lost:,} got worse and {pilot.flips_won:,} better, "
        f"a loss of {format_points(pilot.loss)}; at most {format_percent(pilot.flip_rate_high)} change, "
        f"at {format_percent(pilot.confidence)} confidence."
    )


def describe_items(answer: PlanAnswer) -> list[str]:
    """How many items, and the least."""
    request, certificate = answer.request, answer.certificate
    claim = f"{certificate.metric} is at most {format_points(request.margin)} worse"
    sure = f"{format_percent(request.confidence)} confidence"
    if certificate.items is None:
        lines = [f"No sensible number of items certifies, at {sure}, that {claim}: {describe_supposed(answer)}."]
    else:
        chance = format_percent(certificate.power)
        number = f"{certificate.items:,} items certify, at {sure} and with a chance of {chance},"
        lines = [f"{number} that {claim}, where {describe_supposed(answer)}."]
    if answer.cautious is not None and answer.cautious.items is not None:
        lines.append(f"{answer.cautious.items:,} do with as many flips as the pilot allows.")
    lines.append(f"{certificate.least_items:,} are the least: with fewer, nothing is certified even if no item flips.")
    return lines


def describe_supposed(answer: PlanAnswer) -> str:
    """What is supposed of the variant."""
    supposed = answer.request.supposed
    if supposed.one_way:
        return f"both disagree on {format_percent(supposed.flip_rate)} of the items"
    loss = f"a true loss of {format_points(supposed.loss)}" if supposed.loss else "no true loss"
    if supposed.bounded:
        return f"an item's difference has a standard deviation of {format_significant(supposed.deviation)} and {loss}"
    return f"{format_percent(supposed.flip_rate)} of the items flip, with {loss}"


def describe_available(answer: PlanAnswer, items: int) -> list[str]:
    """What the items at hand can tell."""
    lines = [f"{items:,} items: the chance is {format_percent(answer.certificate.power_available or 0.0)}."]
    if answer.smallest_margin is not None:
        lines.append(
            f"With a chance of {format_percent(answer.request.power)} they certify no tolerance below "
            f"{format_points(answer.smallest_margin)}, without a true loss."
        )
    study: SamplePlan = answer.study
    if study.available is not None and study.power_available is not None:
        lines.append(
            f"A study of {items:,} evaluation items certifies on {study.available:,} of them: the chance is "
            f"{format_percent(study.power_available)}{' or more' if study.design != 'fixed' else ''}."
        )
    return lines


def describe_study(answer: PlanAnswer) -> str:
    """How many evaluation items a study takes."""
    if answer.study_items is None or answer.study.items is None:
        return "A study takes no sensible number of evaluation items either."
    search = f"{answer.study_search:,} to search on" if answer.study_search else "none to search on"
    peeks = "" if answer.study.design == "fixed" else ", and may stop earlier at any look"
    return (
        f"A study {'that chooses among several candidates' if answer.request.several else 'of one candidate'} takes "
        f"{answer.study_items:,} evaluation items: {search}, and {answer.study.items:,} to certify on{peeks}."
    )


def format_percent(share: float) -> str:
    """A share in percent, with the digits it needs; certainty is not claimed by rounding."""
    percent = round(PERCENT * share, 2 if share < LITTLE else 1)
    return "over 99.9%" if percent == PERCENT and share < 1 else f"{percent:g}%"
