"""Each trial's loss with its interval, beside the tolerance."""

from __future__ import annotations

import math

from matplotlib.ticker import FuncFormatter, MaxNLocator

from assay.decide import words
from assay.decide.finding import Verdict
from assay.report.charts.canvas import Canvas, Chart, Sheet, draw_chart
from assay.report.charts.ink import PRECISION_INKS, PRECISION_MARKERS, Ink
from assay.report.charts.scales import find_window, format_tick
from assay.report.charts.strips import Strips
from assay.report.charts.units import MINUS, LossUnit, find_loss_unit
from assay.report.rows import MeasuredRow, keep_measured, list_rows
from assay.studies.record import StudyRecord

VERDICTS = {
    Verdict.MEETS: ("within", Ink.GOOD),
    Verdict.UNDECIDED: ("undecided", Ink.WARN),
    Verdict.FAILS: ("beyond", Ink.BAD),
}


def draw_forest(record: StudyRecord) -> Chart | None:
    """Losses beside the tolerance at both widths; None where no loss was measured."""
    rows = tuple(m for m in keep_measured(list_rows(record)) if m.row.loss is not None and not m.row.trial.reference)
    if not rows:
        return None
    unit = find_loss_unit(record.requirements.tolerance.metric, rows)
    counts = {verdict: sum(m.row.quality is verdict for m in rows) for verdict in Verdict}
    summary = (
        f"Loss of {unit.metric} with bounds: {counts[Verdict.MEETS]} trials within the tolerance, "
        f"{counts[Verdict.UNDECIDED]} undecided, {counts[Verdict.FAILS]} beyond."
    )
    title = "Loss against the tolerance"
    return draw_chart("forest", title, summary, lambda sheet: _draw(rows, unit, sheet))


def _draw(rows: tuple[MeasuredRow, ...], unit: LossUnit, sheet: Sheet) -> Canvas:
    """The chart on one sheet."""
    strips = Strips(sheet, rows, head=22, values=170)
    losses = [m.row.loss for m in rows if m.row.loss is not None]
    margin = losses[0].margin * unit.factor
    low, high = find_window(margin, [(loss.lower * unit.factor, loss.upper * unit.factor) for loss in losses])
    axes = strips.axes
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(MaxNLocator(7 if sheet.is_wide else 5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_tick(round(value, 9))))
    axes.axvspan(margin, high, color=Ink.BAD.placeholder, alpha=0.07, linewidth=0)
    strips.rule(margin, Ink.BAD, 1.5, dashed=True)
    strips.rule(0, Ink.MUTED)
    _write_margin(strips, margin, unit)
    for index, measured in enumerate(rows):
        _draw_row(strips, index, measured, unit, (low, high))
    strips.caption(f"{unit.axis} (left is better)")
    return strips.canvas


def _write_margin(strips: Strips, margin: float, unit: LossUnit) -> None:
    """What the line stands for, above it."""
    canvas = strips.canvas
    x = float(strips.axes.transData.transform((margin, 0))[0])
    text = f"tolerated {format_tick(round(margin, 4))} {unit.suffix}".strip()
    half = canvas.measure(text) / 2
    canvas.write(min(max(x, half), canvas.width - half - 4), 8, text, ink=Ink.BAD, align="center")


def _draw_row(strips: Strips, index: int, measured: MeasuredRow, unit: LossUnit, window: tuple[float, float]) -> None:
    """One interval with its point; what leaves the window ends in an arrow."""
    loss = measured.row.loss
    if loss is None or not math.isfinite(loss.point):
        return
    precision = measured.row.trial.candidate.plan.precision
    ink = PRECISION_INKS[precision].placeholder
    y = strips.middle(index)
    low, point, high = (value * unit.factor for value in (loss.lower, loss.point, loss.upper))
    ends = [min(max(value, window[0]), window[1]) for value in (low, high)]
    strips.axes.plot(ends, [y, y], color=ink, linewidth=2.5, solid_capstyle="butt", zorder=3)
    for cut, end, marker in ((low < window[0], window[0], "<"), (high > window[1], window[1], ">")):
        if cut:
            strips.axes.plot([end], [y], marker, color=ink, ms=8, clip_on=False, zorder=4)
    if window[0] <= point <= window[1]:
        strips.axes.plot([point], [y], PRECISION_MARKERS[precision], color=ink, ms=8, zorder=4, clip_on=False)
    word, verdict_ink = VERDICTS[measured.row.quality or Verdict.UNDECIDED]
    number = f"{point:.2f} {unit.suffix}" if unit.suffix else words.format_significant(point)
    number = number.replace("-", MINUS)
    strips.tell(index, f"{number}, {word}", verdict_ink)
