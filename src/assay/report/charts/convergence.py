"""How the ranges settled: excess noise and movement of the ranges against the number of calibration items."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from assay.core.convergence import Convergence
from assay.decide import words
from assay.report.charts.canvas import Canvas, Chart, Sheet, draw_chart
from assay.report.charts.ink import Ink
from assay.report.charts.scales import format_tick

HEAD = 26.0
BODY = 170.0
FOOT = 34.0
LEFT = 40.0
GAP = 28.0
MOST_TICKS = 8
LEAST_REACH = 1.6
MOST_REACH = 6.0
"""Height of a panel at least and at most, in limits; what lies above ends in an arrow."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One quantity against the number of items.

    Attributes:
        limit: below which it is quiet.
    """

    title: str
    unit: str
    values: tuple[float, ...]
    limit: float


def draw_convergence(convergence: Convergence) -> Chart | None:
    """The trail at both widths; None where too few items were observed for one comparison."""
    points = convergence.points
    if not points:
        return None
    panels = (
        Panel("excess noise", "dB", tuple(p.excess_noise_db for p in points), convergence.most_excess_db),
        Panel("movement of ranges", "%", tuple(100 * p.range_change for p in points), _percent(convergence)),
    )
    end = "settled at" if convergence.converged else "had not settled at"
    summary = f"Against ranges of about half as many items; they {end} {convergence.items} items. " + " ".join(
        f"{p.items}: {words.format_significant(p.excess_noise_db, 2)} dB, {100 * p.range_change:.1f} %." for p in points
    )
    items = [p.items for p in points]
    title = "Calibration items that were enough" if convergence.converged else "Calibration items"
    return draw_chart("convergence", title, summary, lambda sheet: _draw(panels, items, convergence, sheet))


def _percent(convergence: Convergence) -> float:
    """Limit of the movement in percent."""
    return 100 * convergence.most_range_change


def _draw(panels: Sequence[Panel], items: Sequence[int], convergence: Convergence, sheet: Sheet) -> Canvas:
    """Both panels: side by side, or one above the other where the sheet is narrow."""
    height = HEAD + BODY + FOOT
    canvas = Canvas(sheet, height if sheet.is_wide else 2 * height)
    width = canvas.width / 2 - GAP / 2 if sheet.is_wide else canvas.width
    for index, panel in enumerate(panels):
        left, top = (index * (width + GAP), 0.0) if sheet.is_wide else (0.0, index * height)
        axes = canvas.add_plot(left + LEFT, top + HEAD, width - LEFT - 8, BODY)
        canvas.write(left, top + 10, f"{panel.title}, {panel.unit}", ink=Ink.MUTED, size=canvas.size - 0.5)
        _draw_panel(canvas, axes, panel, items, converged=convergence.converged)
        caption = "items observed"
        y = top + height - 6
        canvas.write(left + width - 4, y, caption, ink=Ink.MUTED, align="right", size=canvas.size - 0.5)
    return canvas


def _draw_panel(canvas: Canvas, axes: Axes, panel: Panel, items: Sequence[int], *, converged: bool) -> None:
    """One curve with its limit; the look at which the rule stopped is ringed."""
    bottom, top = find_reach(panel.values, panel.limit)
    axes.set_ylim(bottom, top)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_tick(round(value, 9))))
    _scale_items(axes, items)
    axes.axhspan(panel.limit, top, color=Ink.BAD.placeholder, alpha=0.07, linewidth=0)
    axes.axhline(panel.limit, color=Ink.BAD.placeholder, linewidth=1.5, dashes=(5, 3))
    axes.axhline(0, color=Ink.MUTED.placeholder, linewidth=1)
    shown = [min(value, top) for value in panel.values]
    ink = Ink.ACCENT.placeholder
    axes.plot(items, shown, color=ink, linewidth=2, zorder=3)
    for x, value in zip(items, panel.values, strict=True):
        marker = "o" if value <= top else "^"
        axes.plot([x], [min(value, top)], marker, color=ink, ms=7, zorder=4, clip_on=False)
    if converged:
        (ring,) = axes.plot([items[-1]], [shown[-1]], "o", ms=15, mew=2, zorder=4, clip_on=False)
        ring.set_markerfacecolor("none")
        ring.set_markeredgecolor(Ink.GOOD.placeholder)
    right, edge = axes.transAxes.transform((1, 0))[0], axes.transData.transform((items[0], panel.limit))[1]
    text = f"limit {words.format_significant(panel.limit, 2)} {panel.unit}"
    canvas.write(right - 4, canvas.height - edge - 9, text, ink=Ink.BAD, align="right", size=canvas.size - 1)


def _scale_items(axes: Axes, items: Sequence[int]) -> None:
    """A logarithmic axis whose ticks are the looks themselves."""
    axes.set_xscale("log")
    low, high = items[0], items[-1]
    room = max(high / low, 2.0) ** 0.06
    axes.set_xlim(low / room, high * room)
    every = math.ceil(len(items) / MOST_TICKS)
    axes.xaxis.set_major_locator(FixedLocator([float(n) for n in items[::-1][::every][::-1]]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_tick(value)))


def find_reach(values: Sequence[float], limit: float) -> tuple[float, float]:
    """Lowest and highest value of a panel in which the limit can be read although some values are far above it."""
    unit = limit if limit > 0 else max(*values, 1e-9)
    top = min(max(1.15 * max(values), LEAST_REACH * unit), MOST_REACH * unit)
    return min(0.0, *values) - 0.06 * top, top
