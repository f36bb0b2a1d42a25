"""Where the loss comes from: the model's groups as boxes with the ways between them, the guilty ones coloured."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.patches import FancyBboxPatch, PathPatch, Rectangle
from matplotlib.path import Path

from assay.core.precision import Precision
from assay.core.sensitivity import Blame, NodeGroup
from assay.decide import words
from assay.report.blames import Explained, write_db, write_share
from assay.report.charts.canvas import Canvas, Chart, Sheet, draw_chart
from assay.report.charts.group_layout import Edge, Layout, lay_out
from assay.report.charts.ink import PRECISION_INKS, TEXT_ON_PRECISION, Ink

MARGIN = 15.0
"""Pixels on both sides, in which ways leave a row and enter the next."""
BOX_HEIGHT = 38.0
LANE_GAP = 13.0
ROW_GAP = 14.0
CHANNEL = 13.0
"""Pixels between the boxes and the lowest track: ranks stand out of the boxes."""
TRACK = 7.0
MOST_CHANNEL = 56.0
"""Pixels that all tracks of a row take at most."""
STRONGEST = 0.5
"""Opacity of the largest share, at which text on it is still legible in light and dark."""
CORNER = 4.0
BADGE = 8.0
LEGEND = 46.0
LETTERS = 3
"""That are left of a part of a name at first; at last it is one."""
STEPS = 4
SWATCH = 20.0


@dataclass(frozen=True, slots=True)
class Grid:
    """Sizes of a sheet in pixels.

    Attributes:
        columns: most boxes of a row.
        gap: between boxes.
        widest: width of a box, at most.
        size: of the font in boxes.
    """

    columns: int
    gap: float
    widest: float
    size: float


GRIDS = {Sheet.WIDE: Grid(8, 20.0, 136.0, 11.0), Sheet.NARROW: Grid(4, 15.0, 104.0, 9.5)}


def draw_groups(explained: Explained, name: str) -> Chart:
    """The groups of an explanation at both widths.

    Args:
        explained: the explanation.
        name: tells the chart's ids apart from those of the page's other charts.
    """
    graph = explained.explanation.graph
    title = f"Where the loss of {explained.row.title} comes from"
    count = len(graph.groups)
    summary = f"{count} group{'s' if count > 1 else ''} of nodes in the order of execution. {explained.sentence} "
    guilty = explained.guilty[:3]
    summary += " ".join(f"{blame.rank}: {_name(blame)}, {write_share(blame.share)}." for blame in guilty)
    return draw_chart(name, title, summary, lambda sheet: _Drawing(explained, sheet).draw())


def _name(blame: Blame) -> str:
    return blame.sensitivity.group.name


class _Drawing:
    """One sheet."""

    def __init__(self, explained: Explained, sheet: Sheet) -> None:
        self._explained, self._grid = explained, GRIDS[sheet]
        graph = explained.explanation.graph
        self._groups = graph.groups
        self._labels = shorten_names(graph.groups)
        self._blames = {_name(blame): blame for blame in explained.explanation.blames}
        self._most = max((blame.share for blame in self._blames.values()), default=0.0)
        self._layout: Layout = lay_out(len(graph.groups), graph.edges, self._grid.columns)
        self._tops, height = self._stack_rows()
        self._canvas = Canvas(sheet, height + LEGEND)
        room = self._canvas.width - 2 * MARGIN + self._grid.gap
        self._pitch = min(room / self._layout.width, self._grid.widest + self._grid.gap)
        self._right = 2 * MARGIN + self._layout.width * self._pitch - self._grid.gap
        self._lines, self._hits = self._canvas.add_layer(1), self._canvas.add_layer(7)
        self._boxes = self._canvas.add_layer(3)

    def draw(self) -> Canvas:
        """Ways, boxes and the legend."""
        for edge in self._layout.straight:
            self._draw_straight(edge)
        for edge, track in self._layout.buses:
            self._draw_bus(edge, track)
        for index, group in enumerate(self._groups):
            self._draw_box(index, group)
        self._draw_legend(self._canvas.height - LEGEND / 2 + 6)
        return self._canvas

    def _stack_rows(self) -> tuple[list[float], float]:
        """Top of the boxes of each row, and the height of all rows."""
        tops, y = [], 0.0
        for lanes, tracks in zip(self._layout.lanes, self._layout.tracks, strict=True):
            y += CHANNEL + tracks * self._spacing(tracks)
            tops.append(y)
            y += lanes * (BOX_HEIGHT + LANE_GAP) - LANE_GAP + ROW_GAP
        return tops, y

    def _spacing(self, tracks: int) -> float:
        """Pixels between neighbouring tracks of a row."""
        return min(TRACK, MOST_CHANNEL / max(1, tracks))

    def _corner(self, index: int) -> tuple[float, float]:
        """Top left of a box."""
        place = self._layout.places[index]
        return MARGIN + place.column * self._pitch, self._tops[place.row] + place.lane * (BOX_HEIGHT + LANE_GAP)

    def _ends(self, edge: Edge) -> tuple[tuple[float, float], tuple[float, float]]:
        """Where a way leaves the first box and enters the second."""
        (x0, y0), (x1, y1) = (self._corner(index) for index in edge)
        return (x0 + self._pitch - self._grid.gap, y0 + BOX_HEIGHT / 2), (x1, y1 + BOX_HEIGHT / 2)

    def _draw_straight(self, edge: Edge) -> None:
        """A way to the next column, round the end of the row where that ends here."""
        (x0, y0), (x1, y1) = self._ends(edge)
        if self._layout.places[edge[0]].row == self._layout.places[edge[1]].row:
            middle = (x0 + x1) / 2
            self._draw_way([(x0, y0), (x1, y1)] if y0 == y1 else [(x0, y0), (middle, y0), (middle, y1), (x1, y1)])
        else:
            self._draw_way([(x0, y0), (self._right, y0)], ends=False)
            self._draw_way([(0, y1), (x1, y1)])

    def _draw_bus(self, edge: Edge, track: int) -> None:
        """A way along a track, through all rows between the two boxes."""
        (x0, y0), (x1, y1) = self._ends(edge)
        first, last = (self._layout.places[index] for index in edge)
        rise = x0 + 0.25 * self._grid.gap + 2 * first.lane
        fall = x1 - 0.3 * self._grid.gap - 2 * last.lane
        start, end = [(x0, y0), (rise, y0)], [(fall, y1), (x1, y1)]
        for row in range(first.row, last.row + 1):
            y = self._tops[row] - CHANNEL - track * self._spacing(self._layout.tracks[row])
            before = [*start, (rise, y)] if row == first.row else [(0, y)]
            behind = [(fall, y), *end] if row == last.row else [(self._right, y)]
            self._draw_way([*before, *behind], ends=row == last.row)

    def _draw_way(self, points: Sequence[tuple[float, float]], *, ends: bool = True) -> None:
        """A line with round corners, and an arrow head where it ends at a box."""
        ink = Ink.MUTED.placeholder
        self._lines.add_patch(PathPatch(round_corners(points), facecolor="none", edgecolor=ink, linewidth=1.1))
        if ends:
            x, y = points[-1]
            self._lines.plot([x - 2.5], [y], marker=">", markersize=4.5, color=ink, markeredgewidth=0)

    def _draw_box(self, index: int, group: NodeGroup) -> None:
        """One group with its name, share and format."""
        x, y = self._corner(index)
        width = self._pitch - self._grid.gap
        blame = self._blames.get(group.name)
        guilty = blame is not None and bool(blame.proposals)
        share = 0.0 if blame is None else blame.share
        box = FancyBboxPatch(
            (x, y),
            width,
            BOX_HEIGHT,
            boxstyle=f"round,pad=0,rounding_size={CORNER}",
            facecolor=(Ink.BAD.placeholder, self._strength(share)),
            edgecolor=(Ink.BAD if guilty else Ink.MUTED).placeholder,
            linewidth=1.6 if guilty else 0.9,
            linestyle="-" if group.quantized else (0, (3, 2)),
        )
        self._boxes.add_patch(box)
        self._write(index, blame, (x, y), width)
        if blame is not None and guilty:
            self._boxes.plot([x + 1], [y + 1], "o", ms=2 * BADGE, color=Ink.BAD.placeholder, mew=0)
            text = str(blame.rank)
            self._canvas.write(x + 1, y + 1, text, ink=Ink.SURFACE, align="center", bold=True, size=10)
        reach = BADGE if guilty else 0
        area = Rectangle((x - reach, y - reach), width + reach, BOX_HEIGHT + reach)
        area.set(facecolor=(Ink.TEXT.placeholder, 0.004), linewidth=0)
        self._canvas.tell(self._hits.add_patch(area), self._explain(index, group, blame))

    def _write(self, index: int, blame: Blame | None, corner: tuple[float, float], width: float) -> None:
        """What stands in a box: the name, and beneath it the share and the format."""
        (x, y), size, canvas = corner, self._grid.size, self._canvas
        left = x + (8 if blame is not None and blame.proposals else 5)
        room = int((x + width - 3 - left) / canvas.measure("x", size=size, bold=True))
        canvas.write(left, y + 12, fit_name(self._labels[index], room), size=size)
        below = y + BOX_HEIGHT - 11
        if blame is not None:
            canvas.write(left, below, write_share(blame.share), size=size, bold=bool(blame.proposals))
        if self._explained.formats:
            self._mark(self._explained.formats[index], x + width, below)

    def _mark(self, precision: Precision, right: float, y: float) -> None:
        """The format of a group, at the right end of its box; floats stand out."""
        canvas, size, text = self._canvas, self._grid.size - 1.5, precision.upper()
        if precision is Precision.INT8:
            canvas.write(right - 5, y, text, align="right", size=size)
            return
        width = canvas.measure(text, bold=True, size=size) + 8
        tag = FancyBboxPatch((right - width - 3, y - 7), width, 14, boxstyle="round,pad=0,rounding_size=3")
        tag.set(facecolor=PRECISION_INKS[precision].placeholder, linewidth=0)
        self._boxes.add_patch(tag)
        middle = right - 3 - width / 2
        canvas.write(middle, y, text, ink=TEXT_ON_PRECISION[precision], align="center", bold=True, size=size)

    def _explain(self, index: int, group: NodeGroup, blame: Blame | None) -> str:
        """All of a group in words."""
        parts = [group.name, " + ".join(group.operators)]
        if blame is None:
            parts.append("kept in floats by this plan")
        else:
            alone = blame.sensitivity.alone
            parts += [f"rank {blame.rank}, {write_share(blame.share)} of the {self._explained.measure}"]
            parts += [f"alone {write_db(alone)}" + ("" if alone.loss is None else f", loss {alone.loss:.2g}")]
        if self._explained.formats and self._explained.marked is not None:
            parts.append(f"{self._explained.formats[index].upper()} in {self._explained.marked.title}")
        return "; ".join(parts)

    def _strength(self, share: float) -> float:
        """Opacity of a share's colour: by the root, so that small shares are told apart."""
        return STRONGEST * math.sqrt(share / self._most) if self._most > 0 else 0.0

    def _draw_legend(self, y: float) -> None:
        """The scale of the colours, and what ranks mean."""
        canvas, x = self._canvas, MARGIN
        for step in range(STEPS + 1):
            part = Rectangle((x + step * SWATCH, y - 6), SWATCH - 2, 12)
            strength = self._strength(self._most * step / STEPS)
            part.set(facecolor=(Ink.BAD.placeholder, strength), edgecolor=Ink.MUTED.placeholder, linewidth=0.7)
            self._boxes.add_patch(part)
        x += (STEPS + 1) * SWATCH + 6
        text = f"0 to {write_share(self._most)} of the {self._explained.measure}"
        canvas.write(x, y, text, ink=Ink.MUTED, size=canvas.size - 1)
        if canvas.sheet.is_wide:
            at = x + canvas.measure(text, size=canvas.size - 1) + 28
            self._boxes.plot([at], [y], "o", ms=2 * BADGE, color=Ink.BAD.placeholder, mew=0)
            canvas.write(at, y, "1", ink=Ink.SURFACE, align="center", bold=True, size=10)
            told = f"rank of a guilty group, {words.format_count(len(self._explained.guilty))} in all"
            canvas.write(at + 14, y, told, ink=Ink.MUTED, size=canvas.size - 1)


def round_corners(points: Sequence[tuple[float, float]]) -> Path:
    """A path through points whose corners are rounded."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for before, corner, behind in zip(points, points[1:], points[2:], strict=False):
        for end, code in ((before, Path.LINETO), (behind, Path.CURVE3)):
            length = math.dist(corner, end)
            part = min(CORNER, length / 2) / length if length else 0.0
            near = (corner[0] + (end[0] - corner[0]) * part, corner[1] + (end[1] - corner[1]) * part)
            vertices += [near] if code == Path.LINETO else [corner, near]
            codes += [code] if code == Path.LINETO else [code, code]
    return Path([*vertices, points[-1]], [*codes, Path.LINETO])


def shorten_names(groups: Sequence[NodeGroup]) -> tuple[str, ...]:
    """Names without the path that all share, and without an operator at the end, which says nothing of the place."""
    names = [group.name for group in groups]
    first, last = min(names), max(names)
    same = next((i for i, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), 0)
    cut = max(first.rfind("/", 0, same), first.rfind(".", 0, same)) + 1
    short = [_drop_operator(name[cut:], group) for name, group in zip(names, groups, strict=True)]
    return tuple(short) if len(set(short)) == len(short) else tuple(name[cut:] for name in names)


def _drop_operator(name: str, group: NodeGroup) -> str:
    """A name without its last part, where that is the name of an operator of the group."""
    path, _, last = name.rpartition("/")
    return path if path and last in group.operators else name


def fit_name(name: str, fits: int) -> str:
    """A name of at most so many characters: its leading parts shortened, as far as needed, but for their numbers.

    What is still too long is cut at its end, or in its middle where a number stands behind it.
    """
    for letters in (LETTERS, 2, 1):
        parts = re.split(r"([/.])", name)
        for at in range(0, len(parts) - 1, 2):
            if sum(map(len, parts)) > fits:
                parts[at] = re.sub(rf"^([^\d]{{1,{letters}}})[^\d]*", r"\1", parts[at])
        text = "".join(parts)
        if len(text) <= fits:
            return text
    numbered = any(letter.isdigit() for letter in re.split(r"[/.]", name)[-1])
    tail = max(1, (fits - 1) * 3 // 5) if numbered else 0
    return f"{text[: max(0, fits - 1 - tail)]}…{text[len(text) - tail :]}"
