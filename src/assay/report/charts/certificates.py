"""Each candidate's loss over the certification items with its bounds, beside the tolerance."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.ticker import FuncFormatter, MaxNLocator

from assay.core.certificate import CertificateStatus
from assay.report.certificates import CertifiedRow, say_margins
from assay.report.charts.canvas import Canvas, Chart, Sheet, draw_chart
from assay.report.charts.ink import STATUS_INKS, STATUS_MARKERS, Ink
from assay.report.charts.scales import find_window, format_tick
from assay.report.charts.strips import NARROW_NAME, Strips
from assay.report.slices import STATUS_WORDS

VALUES = 236.0
"""Pixels for numbers on a wide sheet."""
RESERVE = 128.0
"""Pixels for the outcome on a narrow sheet, at most."""
LETTER = 7.0
"""Pixels that a letter of it takes, at most."""
MOST_REACH = 20.0
"""Tolerances that the axis spans at most either way, so that one can still be seen."""


def draw_certificates(rows: Sequence[CertifiedRow]) -> Chart | None:
    """Intervals beside the tolerance at both widths; None where nothing has a certificate."""
    if not rows:
        return None
    counts = {status: sum(row.outcome.status is status for row in rows) for status in CertificateStatus}
    told = ", ".join(f"{count} {STATUS_WORDS[status]}" for status, count in counts.items() if count)
    summary = f"{rows[0].unit.axis}, in the order of testing: {told}. " + " ".join(
        f"{row.measured.row.title}: {row.outcome.words}{f', {row.bounds}' if row.known else ''}." for row in rows
    )
    return draw_chart("certificates", "Certificates", summary, lambda sheet: _draw(rows, sheet))


def _draw(rows: Sequence[CertifiedRow], sheet: Sheet) -> Canvas:
    """The chart on one sheet."""
    unit = rows[0].unit
    reserve = min(RESERVE, LETTER * max(len(row.outcome.words) for row in rows))
    strips = Strips(sheet, [row.measured for row in rows], head=22, values=VALUES, reserve=reserve)
    margins = [row.certificate.margin * unit.factor for row in rows]
    known = [row.certificate for row in rows if row.known]
    intervals = [unit.trim(*(value * unit.factor for value in (one.loss, one.low, one.high))) for one in known]
    low, high = find_window(max(margins), intervals)
    most = MOST_REACH * max(margins) or high
    window = max(low, -most), min(high, most)
    axes = strips.axes
    axes.set_xlim(*window)
    axes.xaxis.set_major_locator(MaxNLocator(7 if sheet.is_wide else 5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_tick(round(value, 9))))
    strips.rule(0, Ink.MUTED)
    for index, (row, margin) in enumerate(zip(rows, margins, strict=True)):
        _draw_margin(strips, index, margin, window[1])
        _draw_row(strips, index, row, window)
    _write_margin(strips, rows, margins)
    strips.caption(f"{unit.axis} (left is better)")
    return strips.canvas


def _draw_margin(strips: Strips, index: int, margin: float, end: float) -> None:
    """The line of one strip, and what lies beyond it; strips differ where the tolerance is relative."""
    top = index + (0.0 if strips.canvas.sheet.is_wide else NARROW_NAME / strips.strip)
    if margin < end:
        strips.axes.fill_between(
            [margin, end], top, index + 1, color=Ink.BAD.placeholder, alpha=0.07, linewidth=0, zorder=0
        )
    strips.axes.plot([margin, margin], [top, index + 1], color=Ink.BAD.placeholder, linewidth=1.5, dashes=(5, 3))


def _write_margin(strips: Strips, rows: Sequence[CertifiedRow], margins: Sequence[float]) -> None:
    """What the line stands for, above it."""
    canvas = strips.canvas
    x = float(strips.axes.transData.transform((margins[0], 0))[0])
    text = f"tolerated {say_margins(rows)}"
    half = canvas.measure(text) / 2
    canvas.write(min(max(x, half), canvas.width - half - 4), 8, text, ink=Ink.BAD, align="center")


def _draw_row(strips: Strips, index: int, row: CertifiedRow, window: tuple[float, float]) -> None:
    """One interval with its point, thin and dotted where it is that of the search items alone."""
    outcome = row.outcome
    ink = STATUS_INKS[outcome.status]
    strips.tell(index, _put_in_words(strips, row), ink)
    if not row.known:
        return
    y, factor = strips.middle(index), row.unit.factor
    certificate = row.certificate
    low, point, high = (value * factor for value in (certificate.low, certificate.loss, certificate.high))
    ends = [min(max(value, window[0]), window[1]) for value in (low, high)]
    (line,) = strips.axes.plot(ends, [y, y], color=ink.placeholder, linewidth=2.5, solid_capstyle="butt", zorder=3)
    if row.on_search:
        line.set_linestyle(":")
        line.set_linewidth(1.6)
    for cut, end, marker in ((low < window[0], window[0], "<"), (high > window[1], window[1], ">")):
        if cut:
            strips.axes.plot([end], [y], marker, color=ink.placeholder, ms=8, clip_on=False, zorder=4)
    if window[0] <= point <= window[1]:
        (mark,) = strips.axes.plot([point], [y], STATUS_MARKERS[outcome.status], ms=8.5, zorder=4, clip_on=False)
        hollow = outcome.status in {CertificateStatus.OPEN, CertificateStatus.UNTESTED}
        mark.set_markeredgewidth(1.6 if hollow else 0.6)
        mark.set_markerfacecolor(Ink.SURFACE.placeholder if hollow else ink.placeholder)
        mark.set_markeredgecolor(ink.placeholder)


def _put_in_words(strips: Strips, row: CertifiedRow) -> str:
    """The bound that counts, and the outcome; on a narrow sheet the outcome alone."""
    canvas, outcome = strips.canvas, row.outcome
    if not canvas.sheet.is_wide or not row.tested:
        return canvas.clip(outcome.words, RESERVE)
    low, high = row.unit.say(row.certificate.low), row.unit.say(row.certificate.high)
    if outcome.status is CertificateStatus.WORSE and outcome.guilty is None:
        bound = f"at least {low}"
    elif outcome.status is CertificateStatus.OPEN and outcome.guilty is None:
        bound = row.bounds
    else:
        bound = f"at most {high}"
    return canvas.clip(f"{bound}, {outcome.words}", VALUES)
