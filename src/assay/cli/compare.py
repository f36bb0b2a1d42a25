"""``assay compare``: two models or artifacts on the same items, as a gate."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from assay.cli.drawing import TerminalProgress
from assay.cli.printing import print_json
from assay.core.certificate import CertificateStatus
from assay.report.comparison import (
    EXITS,
    describe_comparison,
    forget_comparison,
    show_comparison,
    write_comparison,
)
from assay.studies.compare_request import compose_compare_request
from assay.studies.comparing import compare_pair

STYLES = {CertificateStatus.CERTIFIED: "bold green", CertificateStatus.WORSE: "bold red"}


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--task", help="What the models do, such as classification.")
@click.option("--decoder", metavar="NAME", help="What reads a detector's raw head, such as yolov8.")
@click.option("--tolerance", metavar="TEXT", help="Tolerated drop: 'top1: 0.5pp', 'top1: 0.005' or 'top1: 1%'.")
@click.option("--evaluation", metavar="DATA", help="Labelled items that both are measured on.")
@click.option("--config", type=click.Path(path_type=Path), help="Study file with the same keys, and [preprocess].")
@click.option("--confidence", type=float, help="One-sided confidence (default 0.95).")
@click.option(
    "--slice", "slices", multiple=True, metavar="TEXT", help="'class: 5pp' or 'COLUMN: 5pp'; may be repeated."
)
@click.option("--threshold", metavar="RULE", help="A number, 'max-f1', 'recall >= 0.9' or 'precision >= 0.95'.")
@click.option("--tuning-items", type=int, help="Items that thresholds are tuned on (default a fifth).")
@click.option("--runtime", help="For .onnx files (default onnxruntime).")
@click.option("--runtime-a", help="For A alone.")
@click.option("--runtime-b", help="For B alone.")
@click.option("--threads", type=int, help="Compute threads (default: all cores).")
@click.option("--full", is_flag=True, help="Use all items, even where fewer tell.")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FOLDER", help="Keep scores, JSON and Markdown here."
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON (schema 1).")
def compare(as_json: bool, **options: object) -> int:  # noqa: FBT001 - a flag of the command line
    """Tell whether B is as good as A, to a tolerance and a confidence.

    A and B are each an .onnx file, an OpenVINO .xml, the folder of a release, or STUDY_FOLDER:TRIAL. A is the
    reference. Items are used in a random order, only until they tell.

    Exit status: 0 certified, 10 worse, 11 cannot tell, 2 wrong input, 3 a runtime failed, 4 too few items for the
    metric's method, 5 a folder cannot be read or written.
    """
    request = compose_compare_request(**options)  # type: ignore[arg-type] # the options have these types
    if request.output is not None:
        forget_comparison(request.output)
    with TerminalProgress(Console(stderr=True)) as progress:
        comparison = compare_pair(request, progress)
    if request.output is not None:
        write_comparison(comparison, request.output)
    status = comparison.certificate.status
    if as_json:
        print_json(show_comparison(comparison))
        return EXITS[status]
    headline, _, rest = describe_comparison(comparison).partition(": ")
    console = Console(highlight=False)
    console.print(Text.assemble((headline, STYLES.get(status, "bold yellow")), f": {rest}"), soft_wrap=True)
    for warning in comparison.warnings:
        console.print(Text.assemble(("! ", "bold yellow"), warning), soft_wrap=True)
    return EXITS[status]
