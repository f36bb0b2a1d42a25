"""What ran: the share of the multiply-accumulates per number format, as stacked bars."""

from __future__ import annotations

from assay.core.precision import Precision
from assay.report import cells
from assay.report.charts.canvas import Canvas, Chart, Sheet, draw_chart
from assay.report.charts.ink import PRECISION_INKS, TEXT_ON_PRECISION, Ink
from assay.report.charts.strips import Strips
from assay.report.rows import MeasuredRow, keep_measured, list_rows
from assay.studies.record import StudyRecord

ORDER = (Precision.INT8, Precision.FP8, Precision.BF16, Precision.FP16, Precision.TF32, Precision.FP32)
THICKNESS = 0.62
PADDING = 10.0


def draw_audit(record: StudyRecord) -> Chart:
    """Executed shares at both widths."""
    rows = keep_measured(list_rows(record))
    flagged = sum(bool(m.evidence.flags) for m in rows)
    title = "What ran, by number format"
    summary = f"Share of the multiply-accumulates per format for {len(rows)} trials; {flagged} of them flagged. "
    summary += " ".join(f"{m.row.title}: {cells.executed_cell(m.evidence)}." for m in rows)
    return draw_chart("audit", title, summary, lambda sheet: _draw(rows, sheet))


def _draw(rows: tuple[MeasuredRow, ...], sheet: Sheet) -> Canvas:
    """The chart on one sheet."""
    strips = Strips(sheet, rows, head=4, values=180)
    strips.axes.set_xlim(0, 100)
    strips.axes.set_xticks([0, 25, 50, 75, 100], ["0%", "25%", "50%", "75%", "100%"])
    for index, measured in enumerate(rows):
        _draw_row(strips, index, measured)
        if measured.evidence.flags:
            strips.tell(index, f"! {cells.executed_cell(measured.evidence)}", Ink.WARN)
        else:
            strips.tell(index, cells.executed_cell(measured.evidence))
    strips.caption("share of the multiply-accumulates")
    return strips.canvas


def _draw_row(strips: Strips, index: int, measured: MeasuredRow) -> None:
    """One stacked bar, its segments named where the name fits."""
    canvas = strips.canvas
    shares = measured.evidence.audit.shares()
    height = strips.thickness(THICKNESS)
    left = 0.0
    for precision in ORDER:
        share = shares[precision] * 100
        if share < cells.LEAST_SHARE * 100:
            continue
        strips.axes.barh(
            strips.middle(index),
            share,
            left=left,
            height=height,
            color=PRECISION_INKS[precision].placeholder,
            edgecolor=Ink.SURFACE.placeholder,
            linewidth=1,
            zorder=3,
        )
        start, end = (strips.axes.transData.transform((x, strips.middle(index))) for x in (left, left + share))
        text = precision.upper()
        if end[0] - start[0] > canvas.measure(text, bold=True) + PADDING:
            x, y = (start[0] + end[0]) / 2, canvas.height - start[1]
            canvas.write(
                x, y, text, ink=TEXT_ON_PRECISION[precision], align="center", bold=True, size=canvas.size - 1.5
            )
        left += share
