"""Quality against the objective: what each trial loses and what it costs, with intervals and the front."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from assay.core.estimate import Estimate
from assay.core.requirements import Objective, Requirements
from assay.decide.front import find_front
from assay.decide.objective import cost_of
from assay.report.charts.canvas import Canvas, Chart, Sheet, draw_chart
from assay.report.charts.ink import PRECISION_INKS, Ink
from assay.report.charts.labels import Anchor, Box, find_end, place_labels
from assay.report.charts.marks import (
    RING_SIZE,
    Entry,
    Filling,
    Sign,
    assign_fillings,
    draw_legend,
    draw_mark,
    draw_ring,
    list_entries,
    measure_legend,
)
from assay.report.charts.scales import find_window, format_tick, scale_positive
from assay.report.charts.units import LossUnit, find_loss_unit
from assay.report.costs import estimate_cost, name_cost
from assay.report.rows import MeasuredRow, Standing, keep_measured, list_rows
from assay.studies.record import StudyRecord

Place = Callable[[float, float], tuple[float, float]]
"""From axis value and loss to pixels."""
MILLION = 1e6
LABEL_HEIGHT = 16.0
LABEL_GAP = 5.0
"""Pixels that neighbouring labels keep apart."""
WIDEST_FONT = 1.15
"""Width of a system's widest font over the estimate."""
MARK_RADIUS = 8.0

AXES = {
    Objective.LATENCY: "median latency per item, ms",
    Objective.THROUGHPUT: "throughput, items/s",
    Objective.MEMORY: "peak memory, MB",
    Objective.SIZE: "size on disk, MB",
}
BETTER = {objective: "right" if objective is Objective.THROUGHPUT else "left" for objective in Objective}


@dataclass(frozen=True, slots=True)
class Point:
    """One trial; ``x`` in the axis's unit and ``loss`` in the drawn one, each with bounds."""

    measured: MeasuredRow
    x: float
    x_low: float
    x_high: float
    loss: float
    loss_low: float
    loss_high: float

    @property
    def important(self) -> bool:
        """Named beside the mark; the others have their number only."""
        return self.measured.row.trial.reference or self.measured.row.standing in {Standing.CHOSEN, Standing.BEST}


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that both sheets show.

    Attributes:
        axis: title of the horizontal axis.
        absent: trials of which nothing is known that could be drawn, such as those that have no certified rate.
    """

    objective: Objective
    axis: str
    absent: int
    points: tuple[Point, ...]
    front: tuple[Point, ...]
    margin: float
    unit: LossUnit
    fillings: dict[str, Filling]


def draw_tradeoff(record: StudyRecord, objective: Objective = Objective.LATENCY) -> Chart:
    """Loss against an objective at both widths."""
    scene = _set_scene(record, objective)
    title = f"Quality against {objective}"
    names = ", ".join(point.measured.row.title for point in scene.front) or "none"
    tolerated = f"{format_tick(round(scene.margin, 4))} {scene.unit.suffix}".strip()
    summary = (
        f"{len(scene.points)} trials by {scene.axis} and {scene.unit.axis}; tolerated loss {tolerated}; "
        f"on the Pareto front: {names}."
        f"{f' Not drawn, for want of a certified rate: {scene.absent}.' if scene.absent else ''}"
    )
    return draw_chart(f"tradeoff-{objective}", title, summary, lambda sheet: _draw(scene, sheet))


def _set_scene(record: StudyRecord, objective: Objective) -> Scene:
    """Points, front and units of a record."""
    rows = keep_measured(list_rows(record))
    unit = find_loss_unit(record.requirements.tolerance.metric, rows)
    requirements = record.requirements
    price = requirements.price_per_hour
    points = tuple(p for m in rows if (p := _make_point(m, objective, requirements, unit.factor)) is not None)
    unpriced = objective is Objective.COST
    absent = sum(unpriced and estimate_cost(requirements, m.evidence) is None for m in rows)
    axis = name_cost(requirements) if unpriced else AXES[objective]
    by_id = {point.measured.row.trial.id: point for point in points}
    front = find_front(
        {name: (point.loss, cost_of(point.measured.evidence, objective, price)) for name, point in by_id.items()}
    )
    reference = next((m.evidence.quality for m in rows if m.evidence.quality is not None), None)
    margin = record.requirements.tolerance.margin(reference.reference if reference else 1.0) * unit.factor
    chosen = tuple(by_id[name] for name in front)
    return Scene(objective, axis, absent, points, chosen, margin, unit, assign_fillings(rows))


def _make_point(measured: MeasuredRow, objective: Objective, requirements: Requirements, factor: float) -> Point | None:
    """One trial's point; None where its loss is not known, or it has no certified rate to be paid for."""
    loss = measured.row.loss
    if measured.row.trial.reference:
        low = value = high = 0.0
    elif loss is None or not math.isfinite(loss.point):
        return None
    else:
        low, value, high = loss.lower * factor, loss.point * factor, loss.upper * factor
    place = _measure(measured, objective, requirements)
    if place is None:
        return None
    x, x_low, x_high = place
    return Point(measured, x, x_low, x_high, value, low, high)


def _measure(
    measured: MeasuredRow, objective: Objective, requirements: Requirements
) -> tuple[float, float, float] | None:
    """Value and bounds on the axis of an objective; None where there is no value."""
    evidence = measured.evidence
    if objective is Objective.LATENCY:
        return _bound(evidence.latency.p50, 1 / evidence.latency.batch)
    if objective is Objective.THROUGHPUT:
        return _bound(evidence.throughput, 1.0)
    if objective is Objective.COST:
        cost = estimate_cost(requirements, evidence)
        return None if cost is None else _bound(cost, 1.0)
    megabytes = cost_of(evidence, objective) / MILLION
    return megabytes, megabytes, megabytes


def _bound(estimate: Estimate, factor: float) -> tuple[float, float, float]:
    """Value and bounds; a missing or an infinite bound is drawn as none."""
    low = estimate.value if estimate.low is None else estimate.low
    high = estimate.value if estimate.high is None or math.isinf(estimate.high) else estimate.high
    return estimate.value * factor, low * factor, high * factor


def _draw(scene: Scene, sheet: Sheet) -> Canvas:
    """The chart on one sheet."""
    entries = [
        *list_entries([point.measured for point in scene.points], scene.fillings),
        Entry("tolerated loss", Sign.TOLERANCE),
        Entry("Pareto front", Sign.FRONT),
        Entry("chosen or best", Sign.CHOSEN),
    ]
    head = measure_legend(sheet.value, entries) + 14
    body = 400.0 if sheet.is_wide else 320.0
    canvas = Canvas(sheet, head + body + 50)
    draw_legend(canvas, entries, 0)
    left = 52.0 if sheet.is_wide else 44.0
    axes = canvas.add_plot(left, head + 18, canvas.width - left - 8, body - 18)
    canvas.write(0, head + 4, f"{scene.unit.axis} (up is better)", ink=Ink.MUTED, size=canvas.size - 0.5)
    title = f"{scene.axis} ({BETTER[scene.objective]} is better)"
    canvas.write(canvas.width - 8, head + body + 38, title, ink=Ink.MUTED, align="right", size=canvas.size - 0.5)
    low, high = find_window(scene.margin, [scene.unit.trim(p.loss, p.loss_low, p.loss_high) for p in scene.points])
    axes.set_ylim(high, low)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_tick(round(value, 9))))
    scale_positive(
        axes, [x for p in scene.points for x in (p.x_low, p.x_high)] or [1.0], most_ticks=9 if sheet.is_wide else 6
    )
    axes.axhspan(max(scene.margin, low), high, color=Ink.BAD.placeholder, alpha=0.07, linewidth=0)
    axes.axhline(scene.margin, color=Ink.BAD.placeholder, linewidth=1.5, dashes=(5, 3))
    axes.axhline(0, color=Ink.MUTED.placeholder, linewidth=1)
    _draw_points(canvas, axes, scene, (low, high))
    return canvas


def _draw_points(canvas: Canvas, axes: Axes, scene: Scene, window: tuple[float, float]) -> None:
    """Front, intervals, marks and labels, placed in pixels."""

    def place(x: float, loss: float) -> tuple[float, float]:
        across, up = axes.transData.transform((x, min(max(loss, window[0]), window[1])))
        return float(across), canvas.height - float(up)

    spots = [place(point.x, point.loss) for point in scene.points]
    obstacles: list[Box] = []
    line = [place(point.x, point.loss) for point in scene.front]
    if line:
        canvas.overlay.plot(*zip(*line, strict=True), color=Ink.MUTED.placeholder, linewidth=1.5, zorder=1)
        obstacles += _cover_line(line)
    for point, (x, y) in zip(scene.points, spots, strict=True):
        precision = point.measured.row.trial.candidate.plan.precision
        obstacles += _draw_interval(canvas, place, point)
        if point.loss > window[1]:
            canvas.overlay.plot([x], [y - 4], "v", ms=9, color=Ink.BAD.placeholder, zorder=4)
            obstacles.append((x - 7, y - 12, x + 7, y + 2))
            continue
        draw_mark(canvas, x, y, precision, scene.fillings[point.measured.row.runtime])
        radius = MARK_RADIUS
        if point.measured.row.standing in {Standing.CHOSEN, Standing.BEST}:
            draw_ring(canvas, x, y)
            radius = RING_SIZE / 2 + 1
        obstacles.append((x - radius, y - radius, x + radius, y + radius))
    for level in (0.0, scene.margin):
        y = place(scene.points[0].x, level)[1] if scene.points else 0.0
        obstacles.append((0, y - 1, canvas.width, y + 1))
    _draw_labels(canvas, axes, scene, spots, obstacles, window[1])


def _draw_interval(canvas: Canvas, place: Place, point: Point) -> list[Box]:
    """The intervals of one trial, as thin boxes that labels avoid."""
    ink = PRECISION_INKS[point.measured.row.trial.candidate.plan.precision].placeholder
    ends = (
        (place(point.x, point.loss_low), place(point.x, point.loss_high)),
        (place(point.x_low, point.loss), place(point.x_high, point.loss)),
    )
    boxes = []
    for (x0, y0), (x1, y1) in ends:
        if math.hypot(x1 - x0, y1 - y0) > 1:
            canvas.overlay.plot([x0, x1], [y0, y1], color=ink, linewidth=1.5, alpha=0.75, zorder=2)
        boxes.append((min(x0, x1) - 4, min(y0, y1) - 2, max(x0, x1) + 4, max(y0, y1) + 2))
    return boxes


def _cover_line(line: Sequence[tuple[float, float]]) -> list[Box]:
    """Small boxes along a line, so that labels avoid it."""
    boxes = []
    for (x0, y0), (x1, y1) in pairwise(line):
        steps = max(1, int(math.hypot(x1 - x0, y1 - y0) / 6))
        for i in range(steps + 1):
            x, y = x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps
            boxes.append((x - 2, y - 2, x + 2, y + 2))
    return boxes


def _draw_labels(
    canvas: Canvas, axes: Axes, scene: Scene, spots: Sequence[tuple[float, float]], obstacles: list[Box], cut: float
) -> None:
    """Numbers beside all points, names beside the important ones."""
    order = sorted(
        zip(scene.points, spots, strict=True), key=lambda pair: (not pair[0].important, pair[0].measured.row.number)
    )
    texts = []
    for point, _ in order:
        row = point.measured.row
        text = f"{row.number} {row.short}" if point.important else str(row.number)
        if point.loss > cut:
            text += f" (lost {format_tick(round(point.loss, 1))}{f' {scene.unit.suffix}' if scene.unit.suffix else ''})"
        texts.append(text)
    anchors = [
        Anchor(x, y, canvas.measure(text, bold=point.important) * WIDEST_FONT + LABEL_GAP, LABEL_HEIGHT)
        for (point, (x, y)), text in zip(order, texts, strict=True)
    ]
    box = axes.get_position()
    frame = (
        box.x0 * canvas.width + 2,
        (1 - box.y1) * canvas.height - 2,
        box.x1 * canvas.width + 8,
        (1 - box.y0) * canvas.height - 2,
    )
    spots_of_labels = place_labels(anchors, obstacles, frame)
    for (point, _), text, anchor, spot in zip(order, texts, anchors, spots_of_labels, strict=True):
        left, top, right, bottom = spot.box
        if spot.leader:
            end = find_end(anchor, spot.box)
            canvas.overlay.plot(
                [anchor.x, end[0]], [anchor.y, end[1]], color=Ink.MUTED.placeholder, linewidth=0.8, zorder=1
            )
        canvas.write((left + right) / 2, (top + bottom) / 2, text, align="center", bold=point.important)
