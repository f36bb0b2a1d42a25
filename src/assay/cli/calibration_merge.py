"""``assay calibration merge``: the union of stored sets."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from assay.cli.calibration_show import document_set, print_set
from assay.cli.drawing import TerminalProgress
from assay.cli.printing import print_json
from assay.studies.set_union import MergeRequest, merge_sets


@click.command()
@click.argument("parts", metavar="A B...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--output", required=True, metavar="SET", type=click.Path(path_type=Path), help="Folder to write.")
@click.option(
    "--model", type=click.Path(path_type=Path), help="Observe this model where its statistics cannot be merged."
)
@click.option("--licence", default="", help="Licence of the items (default: those of the parts).")
@click.option("--note", default="", help="What else should be known of the set.")
@click.option("--json", "as_json", is_flag=True, help="Print the set as JSON.")
def merge(
    parts: tuple[Path, ...],
    output: Path,
    model: Path | None,
    licence: str,
    note: str,
    as_json: bool,  # noqa: FBT001 - a flag of the command line
) -> None:
    """Store the distinct items of several sets as one.

    Statistics that all parts hold are merged exactly where no duplicate was dropped.
    """
    created = datetime.now(UTC).isoformat(timespec="seconds")
    request = MergeRequest(parts, output, model, licence, note, created)
    with TerminalProgress(Console(stderr=True)) as progress:
        outcome = merge_sets(request, progress)
    if as_json:
        document = {**document_set(outcome.report), "dropped": outcome.dropped, "remarks": outcome.remarks}
        print_json(document)
        return
    console = Console()
    print_set(outcome.report, console)
    console.print(f"{outcome.dropped:,} duplicates were dropped", highlight=False)
    for remark in outcome.remarks:
        console.print(remark, highlight=False, markup=False)
