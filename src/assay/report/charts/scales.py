"""Axes that a reader can trust: plain numbers on ticks, logarithms only where the values span them, robust windows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from assay.report.charts.units import MINUS

LOG_SPAN = 3.0
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""
STEPS = (1.0, 2.0, 5.0)
FINE_STEPS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
FEWEST_TICKS = 4


def scale_positive(axes: Axes, values: Sequence[float], pad: float = 0.08, most_ticks: int = 9) -> None:
    """Scale the x axis for positive values: logarithmic where they span a factor of three.

    Args:
        axes: to scale.
        values: all that must be visible; at least one.
        pad: room at either end, as a share of the span.
        most_ticks: of a linear axis.
    """
    low, high = min(values), max(values)
    if low > 0 and high / low >= LOG_SPAN:
        room = (high / low) ** pad
        low, high = low / room, high * room
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        axes.xaxis.set_major_locator(FixedLocator(list_log_ticks(low, high, most_ticks)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        room = max(high - low, abs(high) * 0.05, 1e-12) * pad * 2
        axes.set_xlim(max(0.0, low - room), high + room)
        axes.xaxis.set_major_locator(MaxNLocator(most_ticks, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_tick(value)))


def list_log_ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers between two positive ones: at least four where fine steps give them, at most ``most``."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1.0,), (1.0, 3.0), STEPS, FINE_STEPS):
        finer = [step * 10.0**decade for decade in decades for step in steps]
        finer = [tick for tick in finer if low <= tick <= high]
        if len(finer) > most:
            break
        ticks = finer
        if len(ticks) >= FEWEST_TICKS:
            break
    return ticks or [low, high]


def format_tick(value: float) -> str:
    """A tick without trailing zeros or exponents."""
    text = f"{value:.6f}".rstrip("0").rstrip(".") if abs(value) < 1 else f"{value:,.3f}".rstrip("0").rstrip(".")
    return "0" if text in {"", "-0"} else text.replace("-", MINUS)


def find_window(margin: float, bounds: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Window of losses in which the tolerance can be read although some variant lost far more.

    Args:
        margin: tolerated loss.
        bounds: lower and upper bound of each loss.

    Returns:
        Lowest and highest loss to draw. It holds all intervals unless a few reach far beyond the margin and the
        others; those are cut.
    """
    finite = [(low, high) for low, high in bounds if math.isfinite(low) and math.isfinite(high)]
    highs = sorted(max(high, -low, 0.0) for low, high in finite)
    largest = highs[-1] if highs else margin
    typical = highs[(len(highs) - 1) * 3 // 5] if highs else margin
    reach = max(4 * margin, 2 * typical, 1e-9)
    top = min(max(1.15 * largest, 1.6 * margin, 1e-9), reach)
    bottom = min([0.0, *(low for low, _ in finite)])
    return max(bottom * 1.15, -reach) - 0.06 * top, top
