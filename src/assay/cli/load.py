"""``assay load``: send queries as MLPerf does, and hold the latency to its constraint."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.console import Console

from assay.cli.drawing import TerminalProgress
from assay.cli.printing import print_json
from assay.core.estimate import Estimate
from assay.core.requirements import Constraint
from assay.decide.words import format_ms, format_significant
from assay.measure.scenarios.outcome import Driver, Outcome, Scenario
from assay.studies.loading import LoadAnswer, LoadRequest, run_load

LOAD_SCHEMA = 1
SHOWN = (0.5, 0.9, 0.95, 0.99)


@click.command()
@click.argument("subject", metavar="TARGET")
@click.option("--scenario", required=True, type=click.Choice([str(s) for s in Scenario]), help="How queries come.")
@click.option("--rate", type=float, help="Items per second that arrive at random at the server.")
@click.option("--find-rate", "searching", is_flag=True, help="Find the highest rate that keeps the constraint.")
@click.option("--constraint", "constraints", multiple=True, metavar="TEXT", help="'p99 <= 10ms at 99%'; repeatable.")
@click.option("--seconds", type=float, help="Least time of a run (default 10), or all of --find-rate (default 60).")
@click.option("--driver", type=click.Choice([str(d) for d in Driver]), default="own", help="Who sends the queries.")
@click.option("--evaluation", metavar="DATA", help="Items to send; random arrays of the model's shapes otherwise.")
@click.option("--prices", type=click.Path(path_type=Path), metavar="FILE", help="Price file (TOML).")
@click.option("--machine", metavar="NAME", help="Machine of the price file; may be left out where it has only one.")
@click.option("--confidence", type=float, default=0.95, help="Of constraints without their own (default 0.95).")
@click.option("--runtime", help="For an .onnx file (default onnxruntime).")
@click.option("--threads", type=int, help="Compute threads (default: as released or studied, else 1).")
@click.option("--batch", type=int, help="Items of a query (default: as released or studied, else 1).")
@click.option("--workers", type=int, default=1, help="Queries that the server answers at once (default 1).")
@click.option("--accept-unsteady", is_flag=True, help="Judge although the machine did not hold still.")
@click.option("--seed", type=int, default=0, help="Of the arrivals and the random arrays (default 0).")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON (schema 1).")
def load(
    scenario: str,
    driver: str,
    constraints: tuple[str, ...],
    searching: bool,  # noqa: FBT001 - a flag of the command line
    seconds: float | None,
    as_json: bool,  # noqa: FBT001 - a flag of the command line
    **options: object,
) -> int:
    """Send queries to an .onnx file, a release or STUDY:TRIAL, and hold its latency to constraints.

    Exit status: 0 every constraint holds, 10 one is broken, 11 cannot tell: too few queries, or the machine did not
    hold still; 2 wrong input, 3 the model does not run.
    """
    request = LoadRequest(
        scenario=Scenario(scenario),
        driver=Driver(driver),
        constraints=tuple(Constraint.parse(text) for text in constraints),
        searching=searching,
        seconds=(60.0 if searching else 10.0) if seconds is None else seconds,
        **options,  # type: ignore[arg-type] # the options above have these types
    )
    with TerminalProgress(Console(stderr=True)) as progress:
        answer = run_load(request, progress)
    if as_json:
        print_json(show_answer(answer))
    else:
        print_answer(answer, Console())
    return answer.status.exit_code


def show_answer(answer: LoadAnswer) -> dict[str, object]:
    """The answer as a document."""
    found = answer.found
    return {
        "schema": LOAD_SCHEMA,
        "target": answer.title,
        "status": str(answer.status),
        "exit": answer.status.exit_code,
        "outcome": msgspec.to_builtins(answer.outcome),
        "constraints": [{"verdict": str(f.verdict), "words": f.words} for f in answer.findings],
        "search": None
        if found is None
        else {
            "rate": msgspec.to_builtins(found.estimate),
            "reason": found.reason,
            "tried": [{"rate": run.offered, "queries": run.queries, "valid": run.valid} for run in found.runs],
        },
        "throughput": msgspec.to_builtins(answer.throughput),
        "price": msgspec.to_builtins(answer.price),
        "cost": msgspec.to_builtins(answer.cost),
        "energy": msgspec.to_builtins(answer.energy),
        "carbon": msgspec.to_builtins(answer.carbon),
        "notes": list(answer.notes),
    }


def print_answer(answer: LoadAnswer, console: Console) -> None:
    """The answer for a person."""

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    outcome = answer.outcome
    each = "" if outcome.items == 1 else f" of {outcome.items} items"
    say(f"{answer.title}: {outcome.scenario}, {outcome.queries:,} queries{each} in {outcome.seconds:.3g} s")
    if outcome.offered is not None:
        say(f"offered   {format_significant(outcome.offered)} items/s, at random")
    say(f"answered  {format_interval(outcome.rate)} items/s")
    for line in list_percentiles(outcome):
        say(line)
    for finding in answer.findings:
        say(f"{finding.verdict}: {finding.words}")
    if answer.found is not None and answer.found.estimate is not None:
        say(f"highest rate  {format_interval(answer.found.estimate)} items/s; the lower bound is certified")
    for known in (answer.cost, answer.energy, answer.carbon):
        if known is not None:
            say(f"{format_interval(known)} {'J per item' if known is answer.energy else known.unit}")
    for reason in outcome.reasons:
        say(f"warning: {reason}")
    for note in answer.notes:
        say(f"note: {note}")
    say(str(answer.status))


def list_percentiles(outcome: Outcome) -> list[str]:
    """One line per percentile."""
    latency = outcome.latency
    if latency is None:
        return []
    found = [(share, latency.at(share)) for share in SHOWN]
    lines = [f"p{share * 100:g}       {format_times(estimate)}" for share, estimate in found if estimate is not None]
    further = (p for p in latency.asked if p.estimate.confidence != latency.p50.confidence)
    return lines + [
        f"p{p.quantile * 100:g}       {format_times(p.estimate)} at {p.estimate.confidence * 100:g}%" for p in further
    ]


def format_times(estimate: Estimate) -> str:
    """A duration with its bounds."""
    low, high = ("-" if bound is None else format_ms(bound) for bound in (estimate.low, estimate.high))
    return f"{format_ms(estimate.value)} ({low} to {high})"


def format_interval(estimate: Estimate) -> str:
    """A number with its bounds."""
    low, high = ("-" if bound is None else format_significant(bound) for bound in (estimate.low, estimate.high))
    return f"{format_significant(estimate.value)} ({low} to {high})"
