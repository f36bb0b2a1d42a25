"""``assay report``: the report of a study as HTML, Markdown and JSON."""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli.printing import print_json
from assay.report.write import write_report
from assay.studies.explanations import load_explanations
from assay.studies.store import load_record


@click.command()
@click.argument("folder", metavar="STUDY", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Where to write (default: the study's folder).")
@click.option("--json", "as_json", is_flag=True, help="Print the paths as JSON.")
def report(folder: Path, output: Path | None, as_json: bool) -> None:  # noqa: FBT001 - a flag of the command line
    """Write report.html, report.md and report.json."""
    written = write_report(load_record(folder), output or folder, load_explanations(folder))
    if as_json:
        print_json({"written": [str(path) for path in written]})
    else:
        for path in written:
            click.echo(path)
