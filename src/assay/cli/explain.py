"""``assay explain``: which nodes cost an INT8 trial its answers, and what may mend them."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from assay.cli.drawing import TerminalProgress
from assay.cli.printing import print_json
from assay.report.explanation import print_explanation
from assay.report.explanation_document import show_explanation
from assay.report.write import write_report
from assay.studies.explaining import ITEMS, explain_study
from assay.studies.explanations import load_explanations
from assay.studies.store import load_record


@click.command()
@click.argument("folder", metavar="STUDY", type=click.Path(path_type=Path))
@click.argument("trial", required=False, default="")
@click.option("--items", type=int, default=ITEMS, show_default=True, help="Search items to measure on, at most.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (schema 1, a stable interface).")
def explain(folder: Path, trial: str, items: int, as_json: bool) -> None:  # noqa: FBT001 - a flag of the command line
    """Rank the nodes of an INT8 trial by how much of the loss they cause.

    TRIAL is the id of an INT8 trial; without it, the chosen one is explained, or the fastest one where another
    format was chosen. Every group of nodes is quantized alone, and with all before it, in one simulated model.
    The explanation is kept with the study, and drawn in its report.
    """
    with TerminalProgress(Console(stderr=True)) as progress:
        explanation = explain_study(folder, trial, items, progress)
    written = write_report(load_record(folder), folder, load_explanations(folder))
    if as_json:
        print_json(show_explanation(explanation))
    else:
        print_explanation(explanation, Console())
        Console().print(f"drawn in {written[0]}", highlight=False, soft_wrap=True)
