"""How the time of a call is spread: density, quartiles and percentiles of each trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from assay.decide import words
from assay.report.charts.canvas import Canvas, Chart, Sheet, draw_chart
from assay.report.charts.ink import PRECISION_INKS, Ink
from assay.report.charts.scales import scale_positive
from assay.report.charts.strips import Strips
from assay.report.rows import MeasuredRow, keep_measured, list_rows
from assay.studies.record import StudyRecord

GRID_POINTS = 160
HALF_HEIGHT = 0.40
FEWEST_FOR_DENSITY = 20
TOP = 99.5
"""Percentile at which the drawn densities end, so that one stray call does not squeeze all others."""


def draw_latency(record: StudyRecord) -> Chart | None:
    """Distributions of the latency at both widths; None where no samples were kept."""
    samples = {
        name: values
        for name, times in record.latency_samples.items()
        if (values := np.asarray(times, dtype=np.float64)).size and np.all(np.isfinite(values)) and values.min() > 0
    }
    rows = tuple(m for m in keep_measured(list_rows(record)) if m.row.trial.id in samples)
    if not rows:
        return None
    title = "Latency of one call"
    summary = f"Density, quartiles, median and 99th percentile of one call at batch {record.batch}: " + " ".join(
        f"{m.row.title}: p50 {words.format_ms(m.evidence.latency.p50.value)}, "
        f"p99 {words.format_ms(m.evidence.latency.p99.value)}."
        for m in rows
    )
    return draw_chart("latency", title, summary, lambda sheet: _draw(rows, samples, record.batch, sheet))


def _draw(rows: Sequence[MeasuredRow], samples: Mapping[str, NDArray[np.float64]], batch: int, sheet: Sheet) -> Canvas:
    """The chart on one sheet."""
    strips = Strips(sheet, rows, head=4, values=190)
    ends = [float(x) for m in rows for x in np.percentile(samples[m.row.trial.id], (0.5, TOP))]
    scale_positive(strips.axes, ends, pad=0.03, most_ticks=9 if sheet.is_wide else 6)
    for index, measured in enumerate(rows):
        _draw_row(strips, index, measured, samples[measured.row.trial.id])
        latency = measured.evidence.latency
        strips.tell(index, f"{words.format_ms(latency.p50.value)}, p99 {words.format_ms(latency.p99.value)}")
    strips.caption(f"time of one call at batch {batch}, ms")
    return strips.canvas


def _draw_row(strips: Strips, index: int, measured: MeasuredRow, values: NDArray[np.float64]) -> None:
    """One trial: its density, a bar between the quartiles, the median and the 99th percentile."""
    ink = PRECISION_INKS[measured.row.trial.candidate.plan.precision].placeholder
    axes = strips.axes
    y = strips.middle(index)
    half = strips.thickness(HALF_HEIGHT)
    low, quarter, median, three, p99 = (float(x) for x in np.percentile(values, (0.5, 25, 50, 75, 99)))
    axes.plot([low, p99], [y, y], color=ink, linewidth=1.2, zorder=2)
    if values.size >= FEWEST_FOR_DENSITY and low < p99:
        grid, density = estimate_density(values)
        axes.fill_between(grid, y - half * density, y + half * density, color=ink, alpha=0.30, linewidth=0, zorder=2)
    axes.plot([quarter, three], [y, y], color=ink, linewidth=6, solid_capstyle="butt", zorder=3)
    axes.plot([median, median], [y - half, y + half], color=Ink.TEXT.placeholder, linewidth=2, zorder=4)
    axes.plot([p99, p99], [y - half * 0.5, y + half * 0.5], color=ink, linewidth=1.6, zorder=3)


def estimate_density(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Density of positive samples on a logarithmic axis, scaled so that its peak is 1.

    Gaussian kernels on log10, with Silverman's bandwidth on the smaller of the deviation and the quartiles' spread
    (Density Estimation, 1986, equation 3.31).

    Args:
        values: ``[n] float64``, positive.

    Returns:
        Grid and density, ``[160] float64`` each.
    """
    logs = np.log10(values)
    low, high = (float(x) for x in np.percentile(logs, (0.5, TOP)))
    grid = np.linspace(low, high, GRID_POINTS)
    quartiles = np.percentile(logs, (25, 75))
    spreads = [s for s in (float(np.std(logs)), float(quartiles[1] - quartiles[0]) / 1.34) if s > 0]
    width = 0.9 * min(spreads, default=1e-3) * values.size**-0.2
    density = np.exp(-0.5 * ((grid[:, None] - logs[None, :]) / width) ** 2).sum(axis=1)
    peak = float(density.max())
    return 10**grid, density / peak if peak > 0 else density
