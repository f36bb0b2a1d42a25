"""``assay calibration show``: what a stored set says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from assay.cli.drawing import TerminalProgress
from assay.cli.printing import print_json
from assay.data.calibration_set import Origin, SetDescription
from assay.data.source import Preprocess
from assay.studies.stored_sets import SetReport, prove_set


@click.command()
@click.argument("folder", metavar="SET", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON (schema 1).")
def show(folder: Path, as_json: bool) -> None:  # noqa: FBT001 - a flag of the command line
    """Prove a stored set item by item, and print where it comes from and what it holds."""
    with TerminalProgress(Console(stderr=True)) as progress:
        report = prove_set(folder, progress)
    if as_json:
        print_json(document_set(report))
    else:
        print_set(report, Console())


def document_set(report: SetReport) -> dict[str, object]:
    """The stable JSON of a set."""
    return {"schema": 1, "set": report.folder, "description": report.description, "statistics": report.statistics}


def print_set(report: SetReport, console: Console) -> None:
    """Tables for a person."""
    described = report.description
    console.print(f"{report.folder}: {described.items:,} items", style="bold", highlight=False, markup=False)
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for fact, value in list_facts(described):
        facts.add_row(fact, value)
    console.print(facts, markup=False)
    if not report.statistics:
        console.print("statistics: none yet", highlight=False)
        return
    held = Table("model", "runtime", "items", "tensors", title="Statistics", title_justify="left", box=None)
    for one in report.statistics:
        held.add_row(one.model, f"{one.runtime} ({one.version})", f"{one.items:,}", f"{one.tensors:,}")
    console.print(held)


def list_facts(described: SetDescription) -> Iterator[tuple[str, str]]:
    """What a set says of itself, line by line."""
    yield "address", described.address
    for array in described.inputs:
        yield "input", f"{array.name} {array.dtype} {list(array.shape)}"
    if described.target is not None:
        yield (
            "labels",
            f"{described.target.name} {described.target.dtype} {list(described.target.shape) or ''}".rstrip(),
        )
    if described.origin is not None:
        yield from list_origin(described.origin)
    for part in described.parts:
        whole = part.description
        yield "part", f"{whole.address[:16]}, {part.kept:,} of its {whole.items:,} items, created {whole.created}"
    yield "licence", described.licence or "not stated"
    if described.note:
        yield "note", described.note
    yield "created", described.created
    yield "versions", ", ".join(f"{tool} {version}" for tool, version in described.versions.items())


def list_origin(origin: Origin) -> Iterator[tuple[str, str]]:
    """Where items come from, line by line."""
    selection = origin.selection
    yield "source", f"{origin.path} ({origin.kind})"
    asked = "as many as the data need" if selection.asked is None else f"at most {selection.asked:,}"
    seed = "" if selection.seed is None else f", seed {selection.seed}"
    yield "selection", f"{selection.method}, {asked} of {selection.pool:,}{seed}"
    if selection.convergence is not None:
        settled = "the ranges settled" if selection.convergence.converged else "the ranges had not settled"
        yield "convergence", f"{settled} after {selection.convergence.items:,} items"
    if origin.preprocess is None:
        yield "preprocess", "none: the source is model-ready"
    else:
        usual = asdict(Preprocess())
        keys = {key: value for key, value in asdict(origin.preprocess).items() if value != usual[key]}
        yield "preprocess", ", ".join(f"{key} {format_key(value)}" for key, value in keys.items()) or "as usual"


def format_key(value: object) -> str:
    """The value of a preprocessing key."""
    if isinstance(value, tuple):
        return " ".join(format_key(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
