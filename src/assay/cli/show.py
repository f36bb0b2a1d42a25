"""``assay show``: the decision and the trials of a study."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from assay.cli.printing import print_json
from assay.report.console import print_study
from assay.report.document import show_document
from assay.studies.explanations import load_explanations
from assay.studies.store import load_record


@click.command()
@click.argument("folder", metavar="STUDY", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON (schema 1, a stable interface).")
def show(folder: Path, as_json: bool) -> None:  # noqa: FBT001 - a flag of the command line
    """Print the decision of a study and its trials."""
    record, explanations = load_record(folder), load_explanations(folder)
    if as_json:
        print_json(show_document(record, explanations))
    else:
        print_study(record, Console(), explanations)
