"""``assay run``: all items of a file through a release."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from assay.cli.drawing import TerminalProgress
from assay.cli.printing import print_json
from assay.studies.running import run_file


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--input", "source", required=True, metavar="ITEMS", help="Arrays by input (.npz), or texts.")
@click.option("--output", "destination", required=True, type=click.Path(path_type=Path), help="One array per output.")
@click.option("--preprocess", is_flag=True, help="Prepare stored arrays as the study declared it.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def run(folder: Path, source: str, destination: Path, preprocess: bool, as_json: bool) -> None:  # noqa: FBT001 - flags
    """Run every item through the chosen artifact; its fallbacks take over where it fails."""
    with TerminalProgress(Console(stderr=True)) as progress:
        outcome = run_file(folder, source, destination, preprocess, progress)
    if as_json:
        print_json(outcome)
        return
    for trial, reason in outcome.failures.items():
        click.echo(f"passed over {trial}: {reason}", err=True)
    click.echo(f"ran {outcome.items} items through {outcome.trial} into {destination}")
    for output, offsets in outcome.offsets.items():
        whose = "item i" if outcome.call_items == 1 else f"call i of {outcome.call_items} items"
        click.echo(f"rows of {output!r} that {whose} gave: from {offsets}[i] to {offsets}[i + 1]")
    if outcome.thresholds:
        told = ", ".join(f"{value:.6g}" for value in outcome.thresholds)
        click.echo(f"the array 'positive' says what scores above {told}: the threshold of {outcome.trial}")
