"""The trail of the sequential tests: bounds of the loss over the items seen, one panel per tested candidate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from assay.core.certificate import CertificateStatus
from assay.decide import words
from assay.report.certificates import CertifiedRow
from assay.report.charts.canvas import Canvas, Chart, Sheet, draw_chart
from assay.report.charts.ink import STATUS_INKS, STATUS_MARKERS, Ink
from assay.report.charts.scales import find_window, format_tick, scale_positive
from assay.report.rows import Standing

WIDE_COLUMNS = 3
HEAD = 42.0
"""Pixels of a panel that its name and its outcome take."""
BODY = 128.0
FOOT = 30.0
GAP = 26.0
LEFT = 38.0
RIGHT = 14.0
CAPTION = 24.0
MOST_MARKED = 14
"""Looks up to which each has its mark."""
MILLION = 1e6
TEN_THOUSAND = 1e4


@dataclass(frozen=True, slots=True)
class Frame:
    """What all panels share, so that they can be compared.

    Attributes:
        window: lowest and highest loss drawn, in the drawn unit.
        items: fewest and most items.
    """

    window: tuple[float, float]
    items: tuple[float, float]


def draw_trail(rows: Sequence[CertifiedRow]) -> Chart | None:
    """A panel for each candidate whose test was looked at, at both widths; None where there is none."""
    rows = [row for row in rows if row.certificate.looks]
    if not rows:
        return None
    factor = rows[0].unit.factor
    margin = max(row.certificate.margin for row in rows) * factor
    ends = [(row.certificate.looks[-1].low * factor, row.certificate.looks[-1].high * factor) for row in rows]
    window = find_window(margin, [*ends, (-margin, 2 * margin)])
    seen = [look.n for row in rows for look in row.certificate.looks]
    most = max(*seen, *(row.certificate.available for row in rows))
    frame = Frame(window, (float(max(1, min(seen))), float(most)))
    summary = f"Bounds of the {rows[0].unit.axis} over the items seen. " + " ".join(map(_summarise, rows))
    return draw_chart("trail", "How the tests went", summary, lambda sheet: _draw(rows, frame, sheet))


def _summarise(row: CertifiedRow) -> str:
    """One panel in words."""
    looks = row.certificate.looks
    last = looks[-1]
    return (
        f"{row.measured.row.title}: {_tell_end(row)}, in {len(looks)} look{'s' if len(looks) != 1 else ''}, "
        f"from {row.unit.say_between(looks[0].low, looks[0].high)} at {words.format_count(looks[0].n)} "
        f"to {row.unit.say_between(last.low, last.high)}."
    )


def _tell_end(row: CertifiedRow) -> str:
    """Where the test stopped and with what."""
    return f"{row.outcome.words} at {words.format_count(row.certificate.looks[-1].n)} items"


def _draw(rows: Sequence[CertifiedRow], frame: Frame, sheet: Sheet) -> Canvas:
    """All panels on one sheet, row by row."""
    columns = min(WIDE_COLUMNS, max(2, len(rows))) if sheet.is_wide else 1
    lines = math.ceil(len(rows) / columns)
    panel = HEAD + BODY + FOOT
    canvas = Canvas(sheet, CAPTION + lines * panel + (lines - 1) * GAP / 2)
    width = (canvas.width - (columns - 1) * GAP) / columns
    caption = f"{rows[0].unit.axis} (down is better)"
    canvas.write(0, 9, canvas.clip(caption, canvas.width), ink=Ink.MUTED, size=canvas.size - 0.5)
    for index, row in enumerate(rows):
        line, column = divmod(index, columns)
        left, top = column * (width + GAP), CAPTION + line * (panel + GAP / 2)
        axes = canvas.add_plot(left + LEFT, top + HEAD, width - LEFT - RIGHT, BODY)
        _name_panel(canvas, row, left, top, width)
        _draw_panel(axes, row, frame)
    return canvas


def _name_panel(canvas: Canvas, row: CertifiedRow, left: float, top: float, width: float) -> None:
    """Number, name and outcome of a panel, above it."""
    bold = row.measured.row.standing in {Standing.CHOSEN, Standing.BEST}
    number = str(row.measured.row.number)
    canvas.write(left, top + 10, number, ink=Ink.MUTED)
    indent = canvas.measure(number) + 8
    canvas.write(left + indent, top + 10, canvas.clip(row.measured.row.title, width - indent - 4, bold=bold), bold=bold)
    ink = STATUS_INKS[row.outcome.status]
    canvas.write(left + indent, top + 28, canvas.clip(_tell_end(row), width - indent), ink=ink, size=canvas.size - 0.5)


def _draw_panel(axes: Axes, row: CertifiedRow, frame: Frame) -> None:
    """One trail: the band of the bounds, the margin, and where it stopped."""
    low, high = frame.window
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_tick(round(value, 9))))
    scale_positive(axes, frame.items, pad=0.05, most_ticks=4)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_items(value)))
    margin = row.certificate.margin * row.unit.factor
    if margin < high:
        axes.axhspan(margin, high, color=Ink.BAD.placeholder, alpha=0.07, linewidth=0)
    axes.axhline(margin, color=Ink.BAD.placeholder, linewidth=1.5, dashes=(5, 3), zorder=2)
    axes.axhline(0, color=Ink.MUTED.placeholder, linewidth=1, zorder=1)
    _draw_band(axes, row, frame.window)


def _draw_band(axes: Axes, row: CertifiedRow, window: tuple[float, float]) -> None:
    """Bounds and mean at each look; those outside the window run along its edge."""
    looks, factor = row.certificate.looks, row.unit.factor
    status = row.outcome.status
    ink = STATUS_INKS[status].placeholder
    items = [float(look.n) for look in looks]

    def fit(value: float) -> float:
        return min(max(value * factor, window[0]), window[1])

    lows, losses, highs = ([fit(value) for value in values] for values in _split(row))
    axes.fill_between(items, lows, highs, color=ink, alpha=0.16, linewidth=0, zorder=2)
    for bounds in (lows, highs):
        axes.plot(items, bounds, color=ink, linewidth=1.6, zorder=3)
    marker = "o" if len(looks) <= MOST_MARKED else ""
    axes.plot(items[:-1], losses[:-1], color=ink, linewidth=0, marker=marker, ms=4, zorder=4)
    axes.plot(items, losses, color=ink, linewidth=1, linestyle=":", zorder=3)
    axes.plot([items[-1]] * 2, [lows[-1], highs[-1]], color=ink, linewidth=2.2, zorder=4, clip_on=False)
    hollow = status is CertificateStatus.OPEN
    (stop,) = axes.plot([items[-1]], [losses[-1]], STATUS_MARKERS[status], ms=8.5, zorder=5, clip_on=False)
    stop.set_markeredgewidth(1.6 if hollow else 0.6)
    stop.set_markerfacecolor(Ink.SURFACE.placeholder if hollow else ink)
    stop.set_markeredgecolor(ink)


def _split(row: CertifiedRow) -> tuple[list[float], list[float], list[float]]:
    """Lower bounds, mean losses and upper bounds of all looks."""
    looks = row.certificate.looks
    return [look.low for look in looks], [look.loss for look in looks], [look.high for look in looks]


def format_items(value: float) -> str:
    """A number of items that is short on an axis: ``5,000``, ``20k`` or ``1.5M``."""
    if value >= MILLION:
        return f"{format_tick(round(value / MILLION, 3))}M"
    return f"{format_tick(round(value / 1000, 3))}k" if value >= TEN_THOUSAND else format_tick(value)
