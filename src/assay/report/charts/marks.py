"""Marks of trials: shape and colour tell the precision, the filling tells the runtime; and legends of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from assay.core.precision import Precision
from assay.report.charts.canvas import Canvas
from assay.report.charts.ink import PRECISION_INKS, PRECISION_MARKERS, Ink
from assay.report.rows import MeasuredRow

Filling = Literal["full", "none", "left", "top", "right", "bottom"]
FILLINGS: tuple[Filling, ...] = ("full", "none", "left", "top", "right", "bottom")
MARK_SIZE = 9.0
RING_SIZE = 19.0
LINE_HEIGHT = 24.0
MARK_ROOM = 20.0
ENTRY_GAP = 22.0


class Sign(Enum):
    """What a legend explains beside marks."""

    TOLERANCE = "tolerance"
    FRONT = "front"
    CHOSEN = "chosen"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a legend.

    Attributes:
        sign: what it shows: a precision's mark, a runtime's filling, or another sign.
    """

    text: str
    sign: Precision | Filling | Sign


def assign_fillings(rows: Sequence[MeasuredRow]) -> dict[str, Filling]:
    """A filling per runtime, the reference's first; more than six runtimes share them."""
    ordered = sorted(rows, key=lambda measured: not measured.row.trial.reference)
    runtimes = dict.fromkeys(measured.row.runtime for measured in ordered)
    return {runtime: FILLINGS[i % len(FILLINGS)] for i, runtime in enumerate(runtimes)}


def list_entries(rows: Sequence[MeasuredRow], fillings: dict[str, Filling]) -> list[Entry]:
    """Legend entries for the precisions and, where there are several, the runtimes."""
    present = {measured.row.trial.candidate.plan.precision for measured in rows}
    entries = [Entry(precision.upper(), precision) for precision in Precision if precision in present]
    if len(fillings) > 1:
        entries += [Entry(runtime, filling) for runtime, filling in fillings.items()]
    return entries


def draw_mark(canvas: Canvas, x: float, y: float, precision: Precision, filling: Filling) -> None:
    """One trial's mark."""
    ink = PRECISION_INKS[precision].placeholder
    canvas.overlay.plot(
        [x],
        [y],
        marker=PRECISION_MARKERS[precision],
        markersize=MARK_SIZE,
        color=ink,
        markeredgecolor=ink,
        markeredgewidth=2,
        markerfacecoloralt=Ink.SURFACE.placeholder,
        markerfacecolor=Ink.SURFACE.placeholder if filling == "none" else ink,
        fillstyle="full" if filling == "none" else filling,
        linestyle="none",
        zorder=4,
    )


def draw_ring(canvas: Canvas, x: float, y: float) -> None:
    """The ring around the chosen one."""
    canvas.overlay.plot(
        [x],
        [y],
        marker="o",
        markersize=RING_SIZE,
        markerfacecolor="none",
        markeredgecolor=Ink.ACCENT.placeholder,
        markeredgewidth=2,
        zorder=3,
    )


def flow_legend(sheet_width: float, entries: Sequence[Entry], size: float = 12.5) -> list[tuple[float, float]]:
    """Left end and line number of each entry, wrapped at the sheet's width."""
    spots: list[tuple[float, float]] = []
    x, line = 0.0, 0
    for entry in entries:
        width = MARK_ROOM + len(entry.text) * size * 0.58
        if x and x + width > sheet_width:
            x, line = 0.0, line + 1
        spots.append((x, line))
        x += width + ENTRY_GAP
    return spots


def measure_legend(sheet_width: float, entries: Sequence[Entry]) -> float:
    """Height of a legend in pixels."""
    spots = flow_legend(sheet_width, entries)
    return (spots[-1][1] + 1) * LINE_HEIGHT if spots else 0.0


def draw_legend(canvas: Canvas, entries: Sequence[Entry], top: float) -> None:
    """Draw the entries, wrapped at the sheet's width."""
    for entry, (x, line) in zip(entries, flow_legend(canvas.width, entries), strict=True):
        y = top + (line + 0.5) * LINE_HEIGHT
        _draw_sign(canvas, x + 7, y, entry.sign)
        canvas.write(x + MARK_ROOM, y, entry.text, ink=Ink.MUTED)


def _draw_sign(canvas: Canvas, x: float, y: float, sign: Precision | Filling | Sign) -> None:
    """The sign of one entry, centred."""
    if isinstance(sign, Precision):
        draw_mark(canvas, x, y, sign, "full")
    elif sign is Sign.CHOSEN:
        canvas.overlay.plot(
            [x], [y], "o", ms=12, markerfacecolor="none", markeredgecolor=Ink.ACCENT.placeholder, markeredgewidth=2
        )
    elif sign is Sign.TOLERANCE:
        canvas.overlay.plot([x - 8, x + 8], [y, y], color=Ink.BAD.placeholder, linewidth=1.5, dashes=(5, 3))
    elif sign is Sign.FRONT:
        canvas.overlay.plot([x - 8, x + 8], [y, y], color=Ink.MUTED.placeholder, linewidth=1.5)
    elif not isinstance(sign, Sign):
        ink = Ink.MUTED.placeholder
        canvas.overlay.plot(
            [x],
            [y],
            marker="o",
            markersize=MARK_SIZE,
            color=ink,
            markeredgecolor=ink,
            markeredgewidth=2,
            markerfacecoloralt=Ink.SURFACE.placeholder,
            markerfacecolor=Ink.SURFACE.placeholder if sign == "none" else ink,
            fillstyle="full" if sign == "none" else sign,
        )
