"""A study on the terminal; narrow ones get fewer columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from assay.core.certificate import CertificateStatus
from assay.core.decision import DecisionStatus
from assay.core.explanation import Explanation
from assay.core.requirements import Objective, Requirements
from assay.decide import words
from assay.report import cells, costs
from assay.report.blames import list_explained
from assay.report.certificates import CertifiedRow, list_certified
from assay.report.charts.units import find_loss_unit
from assay.report.flips import pick_galleries
from assay.report.generation import HEADER, list_generated
from assay.report.rows import Row, Standing, keep_measured, list_rows, list_warnings
from assay.report.sample_plans import summarise_plan
from assay.studies.record import StudyRecord

WIDE_COLUMNS = 110
"""Columns of a terminal from which the wide table fits."""
STATUS_STYLES = {
    DecisionStatus.CHOSEN: "bold green",
    DecisionStatus.UNDECIDED: "bold yellow",
    DecisionStatus.NONE: "bold red",
}
CERTIFICATE_STYLES = {
    CertificateStatus.CERTIFIED: "green",
    CertificateStatus.WORSE: "red",
    CertificateStatus.OPEN: "yellow",
    CertificateStatus.UNTESTED: "dim",
}
NARROW_GENERATION = (0, 1, 2, 4, 7, 8)
"""Number, variant, context, first token, decode and what it gains."""
WORST_FLIPS = 3
"""Flips that a terminal shows of a trial."""
WORST_GROUPS = 3
"""Guilty groups that a terminal shows of a trial."""
STANDING_STYLES = {
    Standing.CHOSEN: "bold green",
    Standing.BEST: "bold yellow",
    Standing.FALLBACK: "cyan",
    Standing.MEETS: "green",
    Standing.UNDECIDED: "yellow",
    Standing.UNTESTED: "dim",
    Standing.FAILS: "red",
    Standing.MISSING: "dim",
    Standing.BUILT: "dim",
    Standing.REFUSED: "yellow",
}


def print_study(record: StudyRecord, console: Console, explanations: Sequence[Explanation] = ()) -> None:
    """Print the decision, the warnings, the trials and their reasons, and the worst of what was explained."""
    rows = list_rows(record)
    status = record.decision.status
    console.print(Text.assemble((f"{status.upper()}  ", STATUS_STYLES[status]), record.decision.sentence))
    for warning in list_warnings(record, rows):
        console.print(Text.assemble(("! ", "bold yellow"), warning))
    console.print()
    console.print(_draw_trials(rows, record.requirements, wide=console.width >= WIDE_COLUMNS))
    console.print()
    for row in rows:
        console.print(Text(f"{row.number:>2} {row.title}", STANDING_STYLES[row.standing]))
        console.print(Padding(Text(row.reason), (0, 0, 0, 3)))
    _print_generation(rows, console)
    _print_certificates(record, rows, console)
    for explained in list_explained(rows, explanations):
        console.print()
        console.print(Text(f"where the loss of {explained.row.number} {explained.row.title} comes from:", "bold"))
        for guilty in explained.rows[:WORST_GROUPS]:
            told = f"{guilty.rank} {guilty.name}: {guilty.share} of the {explained.measure}, alone {guilty.alone}"
            console.print(Padding(Text(told), (0, 0, 0, 3)))
    if record.decision.chosen is not None:
        chain = " > ".join((record.decision.chosen, *record.decision.fallbacks))
        console.print()
        console.print(Text.assemble(("chain: ", "bold"), chain))


def _print_generation(rows: tuple[Row, ...], console: Console) -> None:
    """How the variants of a language model generate; a narrow terminal gets what is asked most."""
    lines = list_generated(rows)
    if not lines:
        return
    chosen = range(len(HEADER)) if console.width >= WIDE_COLUMNS else NARROW_GENERATION
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place in chosen:
        title = HEADER[place] if place != 1 else "generating"
        table.add_column(title, justify="left" if place == 1 else "right", overflow="fold")
    for line in lines:
        table.add_row(*(line.short[place] for place in chosen))
    console.print()
    console.print(table)


def _print_certificates(record: StudyRecord, rows: tuple[Row, ...], console: Console) -> None:
    """The certificates in the order of testing, the plan behind them, and the worst of what broke."""
    certified = list_certified(record)
    if certified:
        console.print()
        console.print(_draw_certificates(certified, wide=console.width >= WIDE_COLUMNS))
    if record.plan is not None:
        unit = find_loss_unit(record.requirements.tolerance.metric, keep_measured(rows))
        console.print()
        console.print(Text.assemble(("plan: ", "bold"), summarise_plan(record.plan, unit)))
    for gallery in pick_galleries(record, rows):
        console.print()
        console.print(Text(f"what broke in {gallery.row.number} {gallery.row.title}:", "bold"))
        for flip in gallery.flips[:WORST_FLIPS]:
            remark = f"; {flip.remark}" if flip.remark else ""
            console.print(Padding(Text(f"{flip.words}{remark}"), (0, 0, 0, 3)))


def _draw_certificates(certified: tuple[CertifiedRow, ...], *, wide: bool) -> Table:
    """The table of certificates."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("certificate", overflow="fold")
    for header in ("at most", "tolerated", *(("bounds", "items", "method") if wide else ())):
        table.add_column(header, justify="left" if header == "method" else "right", no_wrap=header != "method")
    for row in certified:
        style = CERTIFICATE_STYLES[row.certificate.status]
        extra = (row.bounds or cells.NOTHING, row.items, row.method) if wide else ()
        outcome = Text(row.outcome.words, style)
        table.add_row(str(row.measured.row.number), outcome, row.most, row.margin, *extra)
    return table


def _draw_trials(rows: tuple[Row, ...], requirements: Requirements, *, wide: bool) -> Table:
    """The table of trials."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("variant", overflow="fold", min_width=12)
    table.add_column("outcome")
    priced = requirements.objective is Objective.COST
    measures = ("change", "cost" if priced else "p50", "speed-up")
    for header in (*measures, *(("bounds", "size", "executed") if wide else ())):
        table.add_column(header, justify="left" if header == "executed" else "right", no_wrap=header != "executed")
    for row in rows:
        style = STANDING_STYLES[row.standing]
        name = row.title if wide else row.short
        table.add_row(str(row.number), name, Text(str(row.standing), style), *_measure(row, requirements, wide=wide))
    return table


def _measure(row: Row, requirements: Requirements, *, wide: bool) -> tuple[str, ...]:
    """The measured cells; a million items' cost takes the place of the latency where that is the objective."""
    evidence = row.trial.evidence
    if evidence is None:
        unknown = (cells.NOTHING,) * 3
        return (*unknown, cells.NOTHING, cells.size_cell(row), cells.NOTHING) if wide else unknown
    spent = words.format_ms(evidence.latency.p50.value)
    if requirements.objective is Objective.COST:
        spent = costs.cost_cell(requirements, evidence)
    narrow = (cells.change_cell(row), spent, cells.speedup_cell(evidence))
    if not wide:
        return narrow
    return (*narrow, cells.change_bounds(row) or cells.NOTHING, cells.size_cell(row), cells.executed_cell(evidence))
