"""``assay calibration diff``: what differs between two stored sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from assay.cli.calibration_show import list_facts
from assay.cli.drawing import TerminalProgress
from assay.cli.printing import print_json
from assay.data.calibration_set import SetDescription
from assay.studies.set_difference import SetDifference, StatisticsDifference, compare_sets

MOST_MOVED = 8
"""Tensors that are printed of each model; the JSON has all."""
NAMED_ITEMS = 8


@click.command()
@click.argument("first", metavar="A", type=click.Path(path_type=Path))
@click.argument("second", metavar="B", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON (schema 1).")
def diff(first: Path, second: Path, as_json: bool) -> None:  # noqa: FBT001 - a flag of the command line
    """Print which items, facts and ranges two stored sets do not share."""
    with TerminalProgress(Console(stderr=True)) as progress:
        difference = compare_sets(first, second, progress)
    if as_json:
        print_json({"schema": 1, "sets": [str(first), str(second)], **document_difference(difference)})
    else:
        print_difference(difference, (str(first), str(second)), Console())


def document_difference(difference: SetDifference) -> dict[str, object]:
    """The stable JSON of a comparison."""
    return {
        "descriptions": [difference.first, difference.second],
        "fields": difference.fields,
        "items": {
            "common": difference.common,
            "only": [difference.only_first, difference.only_second],
        },
        "statistics": [asdict(one) for one in difference.statistics],
    }


def print_difference(difference: SetDifference, names: tuple[str, str], console: Console) -> None:
    """Tables for a person."""
    if difference.first.address == difference.second.address:
        console.print("the same items in the same order", style="bold", highlight=False)
    else:
        console.print(f"{difference.common:,} items in both", style="bold", highlight=False)
    for name, only in zip(names, (difference.only_first, difference.only_second), strict=True):
        if only:
            console.print(f"only in {name}: {count_items(only)}", highlight=False, markup=False)
    facts = Table("", *names, box=None, pad_edge=False)
    first, second = (gather_facts(described) for described in (difference.first, difference.second))
    for fact in dict.fromkeys((*first, *second)):
        if first.get(fact) != second.get(fact):
            facts.add_row(fact, first.get(fact, "-"), second.get(fact, "-"))
    if facts.row_count:
        console.print(facts, markup=False)
    for one in difference.statistics:
        print_moves(one, names, console)


def gather_facts(described: SetDescription) -> dict[str, str]:
    """What a set says of itself, one text for each fact."""
    facts: dict[str, str] = {"items": f"{described.items:,}"}
    for fact, value in list_facts(described):
        facts[fact] = f"{facts[fact]}\n{value}" if fact in facts else value
    return facts


def count_items(positions: Sequence[int]) -> str:
    """Positions in words."""
    named = ", ".join(str(position) for position in positions[:NAMED_ITEMS])
    more = len(positions) - NAMED_ITEMS
    return f"{len(positions):,} (at {named}{f' and {more:,} more' if more > 0 else ''})"


def print_moves(one: StatisticsDifference, names: tuple[str, str], console: Console) -> None:
    """The tensors of one model whose ranges differ most."""
    moved = [move for move in one.tensors if move.moved]
    title = f"Ranges of {one.model} on {one.runtime}: {len(moved)} of {len(one.tensors)} tensors differ"
    table = Table("tensor", *names, title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("moved by", justify="right")
    for move in moved[:MOST_MOVED]:
        ends = [f"{low:.4g} .. {high:.4g}" for low, high in (move.first, move.second)]
        table.add_row(move.tensor, *ends, f"{move.moved:.1%}")
    if moved:
        console.print(table)
    else:
        console.print(title, highlight=False, markup=False)
