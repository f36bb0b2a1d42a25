"""``assay calibration create``: choose items from a pool and store them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from assay.cli.calibration_show import document_set, print_set
from assay.cli.drawing import TerminalProgress
from assay.cli.printing import print_json
from assay.data.calibration_set import SelectionMethod
from assay.studies.calibration_sets import create_set
from assay.studies.set_requests import compose_set_request


@click.command()
@click.argument("data", required=False)
@click.option("--model", type=click.Path(path_type=Path), help="ONNX file whose inputs the items are.")
@click.option("--output", required=True, metavar="SET", type=click.Path(path_type=Path), help="Folder to write.")
@click.option("--items", metavar="N|auto", help="At most so many, or as many as the data need (default auto).")
@click.option(
    "--select",
    type=click.Choice([method.value for method in SelectionMethod]),
    help="How items are chosen (default random).",
)
@click.option("--seed", type=int, default=0, help="Of the random choice (default 0).")
@click.option("--licence", default="", help="Licence of the items, as text to keep.")
@click.option("--note", default="", help="What else should be known of the set.")
@click.option(
    "--study", type=click.Path(path_type=Path), help="Study file: preprocessing, and paths that are not given."
)
@click.option("--json", "as_json", is_flag=True, help="Print the set as JSON.")
def create(as_json: bool, **options: object) -> None:  # noqa: FBT001 - a flag of the command line
    """Choose items of DATA, store them as a set, and observe the model over them.

    DATA is an .npz file, an image folder, a .parquet file, another set, or module:function. The set appears whole or
    not at all, and never changes.
    """
    created = datetime.now(UTC).isoformat(timespec="seconds")
    request = compose_set_request(created=created, **options)  # type: ignore[arg-type] # the options have these types
    with TerminalProgress(Console(stderr=True)) as progress:
        report = create_set(request, progress)
    if as_json:
        print_json(document_set(report))
    else:
        print_set(report, Console())
