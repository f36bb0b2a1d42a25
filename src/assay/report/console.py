"""A study on the terminal; narrow ones get fewer columns."""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from assay.core.decision import DecisionStatus
from assay.decide import words
from assay.report import cells
from assay.report.rows import Row, Standing, list_rows, list_warnings
from assay.studies.record import StudyRecord

WIDE_COLUMNS = 110
"""Columns of a terminal from which the wide table fits."""
STATUS_STYLES = {
    DecisionStatus.CHOSEN: "bold green",
    DecisionStatus.UNDECIDED: "bold yellow",
    DecisionStatus.NONE: "bold red",
}
STANDING_STYLES = {
    Standing.CHOSEN: "bold green",
    Standing.BEST: "bold yellow",
    Standing.FALLBACK: "cyan",
    Standing.MEETS: "green",
    Standing.UNDECIDED: "yellow",
    Standing.FAILS: "red",
    Standing.MISSING: "dim",
}


def print_study(record: StudyRecord, console: Console) -> None:
    """Print the decision, the warnings, the trials and their reasons."""
    rows = list_rows(record)
    status = record.decision.status
    console.print(Text.assemble((f"{status.upper()}  ", STATUS_STYLES[status]), record.decision.sentence))
    for warning in list_warnings(record, rows):
        console.print(Text.assemble(("! ", "bold yellow"), warning))
    console.print()
    console.print(_draw_trials(rows, wide=console.width >= WIDE_COLUMNS))
    console.print()
    for row in rows:
        console.print(Text(f"{row.number:>2} {row.title}", STANDING_STYLES[row.standing]))
        console.print(Padding(Text(row.reason), (0, 0, 0, 3)))
    if record.decision.chosen is not None:
        chain = " > ".join((record.decision.chosen, *record.decision.fallbacks))
        console.print()
        console.print(Text.assemble(("chain: ", "bold"), chain))


def _draw_trials(rows: tuple[Row, ...], *, wide: bool) -> Table:
    """The table of trials."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("variant", overflow="fold", min_width=12)
    table.add_column("outcome")
    for header in ("change", "p50", "speed-up", *(("bounds", "size", "executed") if wide else ())):
        table.add_column(header, justify="left" if header == "executed" else "right", no_wrap=header != "executed")
    for row in rows:
        style = STANDING_STYLES[row.standing]
        name = row.title if wide else row.short
        table.add_row(str(row.number), name, Text(str(row.standing), style), *_measure(row, wide=wide))
    return table


def _measure(row: Row, *, wide: bool) -> tuple[str, ...]:
    """The measured cells."""
    evidence = row.trial.evidence
    if evidence is None:
        return (cells.NOTHING,) * (6 if wide else 3)
    narrow = (cells.change_cell(row), words.format_ms(evidence.latency.p50.value), cells.speedup_cell(evidence))
    if not wide:
        return narrow
    size = words.format_bytes(evidence.footprint.size_bytes)
    return (*narrow, cells.change_bounds(row) or cells.NOTHING, size, cells.executed_cell(evidence))
