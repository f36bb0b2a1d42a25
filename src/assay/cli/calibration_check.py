"""``assay calibration check``: whether a stored set may be trusted."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from assay.cli.drawing import TerminalProgress
from assay.cli.printing import print_json
from assay.core.errors import MeasurementError
from assay.core.fitness import Fitness, Verdict
from assay.report.document import show_fitness
from assay.report.fitness import list_worst, summarise_fitness
from assay.studies.set_fitness import check_set
from assay.studies.set_requests import compose_check_request

STYLES = {Verdict.FIT: "bold green", Verdict.DOUBTFUL: "bold yellow", Verdict.UNFIT: "bold red"}
NAMED_ITEMS = 8


@click.command()
@click.argument("folder", metavar="SET", type=click.Path(path_type=Path))
@click.option("--against", metavar="DATA", help="Items to judge by, such as a sample of production; may be a set.")
@click.option("--model", type=click.Path(path_type=Path), help="ONNX file that the set is for.")
@click.option(
    "--sample", type=int, default=300, help="Items of DATA to observe, drawn at random from more (default 300)."
)
@click.option("--preprocess", "prepare", is_flag=True, help="Prepare the items of DATA as the set records.")
@click.option(
    "--study", type=click.Path(path_type=Path), help="Study file: preprocessing, and paths that are not given."
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON (schema 1).")
def check(folder: Path, as_json: bool, **options: object) -> int:  # noqa: FBT001 - a flag of the command line
    """Judge a stored set by other items, before anything is built from it.

    With --study and without --against, the set is judged by [production], or else by [evaluation].

    Exit status: 0 fit, 0 with reasons doubtful, 4 unfit, 2 wrong input, 3 the model cannot run.
    """
    request = compose_check_request(folder=folder, **options)  # type: ignore[arg-type] # the options have these types
    with TerminalProgress(Console(stderr=True)) as progress:
        fitness = check_set(request, progress)
    if as_json:
        print_json({"schema": 1, "set": str(folder), "against": request.against.path, "fitness": show_fitness(fitness)})
    else:
        print_fitness(fitness, Console())
    return MeasurementError.exit_code if fitness.verdict is Verdict.UNFIT else 0


def print_fitness(fitness: Fitness, console: Console) -> None:
    """The verdict, its reasons, and the tensors and items to blame."""
    grounds = summarise_fitness(fitness).partition(": ")[2]
    console.print(Text.assemble((f"{fitness.verdict.upper()}  ", STYLES[fitness.verdict]), grounds))
    for reason in fitness.reasons:
        console.print(Text.assemble(("! ", STYLES[fitness.verdict]), reason))
    table = Table(title="Tensors, the worst first", title_justify="left", box=None, pad_edge=False)
    table.add_column("tensor", overflow="fold")
    for header in ("excess noise", "clipped", "unused", "distance"):
        table.add_column(header, justify="right")
    for cells in list_worst(fitness):
        table.add_row(
            cells.tensor, *("\n".join(cell) for cell in (cells.noise, cells.clipped, cells.unused, cells.distance))
        )
    console.print(table)
    for item in fitness.items[:NAMED_ITEMS]:
        console.print(f"item {item.position}: {item.reason}", highlight=False, markup=False)
    if len(fitness.items) > NAMED_ITEMS:
        console.print(f"and {len(fitness.items) - NAMED_ITEMS:,} more items to blame", highlight=False)
