"""A chart with one strip per trial: its name, its plot and, where there is room, its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from assay.report.charts.canvas import Canvas, Sheet
from assay.report.charts.ink import Ink
from assay.report.rows import MeasuredRow, Standing

WIDE_STRIP = 32.0
NARROW_STRIP = 48.0
NAMES = 322.0
"""Pixels for names on a wide sheet."""
NARROW_EDGE = 18.0
NUMBER = 24.0
MIDDLE = 0.5
NARROW_MIDDLE = 0.71
NARROW_LINE = 13.0
NARROW_NAME = 22.0
"""Pixels from the top of a narrow strip that its name takes."""
FOOT = 52.0


class Strips:
    """A canvas with one strip per row, the plot's y axis counting strips from the top."""

    def __init__(
        self, sheet: Sheet, rows: Sequence[MeasuredRow], head: float, values: float, reserve: float = 0.0
    ) -> None:
        """Lay the strips out.

        Args:
            sheet: wide or narrow.
            rows: one strip each.
            head: pixels kept free above the strips.
            values: pixels kept free on the right of a wide sheet, for numbers.
            reserve: pixels that names leave free on a narrow sheet, for what is told beside them.
        """
        self.rows = rows
        self.strip = WIDE_STRIP if sheet.is_wide else NARROW_STRIP
        self.canvas = Canvas(sheet, head + self.strip * max(1, len(rows)) + FOOT)
        self._backdrop = self.canvas.add_layer(-1)
        self._head = head
        self._reserve = reserve
        left = NAMES if sheet.is_wide else NARROW_EDGE
        right = values if sheet.is_wide else NARROW_EDGE
        height = self.strip * max(1, len(rows))
        self.axes: Axes = self.canvas.add_plot(left, head, self.canvas.width - left - right, height)
        self.axes.set_ylim(max(1, len(rows)), 0)
        self.axes.set_yticks([])
        self.axes.grid(visible=sheet.is_wide, axis="x")
        for index, measured in enumerate(rows):
            self._name(index, measured)

    def middle(self, index: int) -> float:
        """Height of a strip's plot, in strips."""
        return index + (MIDDLE if self.canvas.sheet.is_wide else NARROW_MIDDLE)

    def thickness(self, share: float) -> float:
        """Height in strips of something that takes a share of a wide strip."""
        return share * WIDE_STRIP / self.strip

    def rule(self, x: float, ink: Ink, width: float = 1.0, *, dashed: bool = False) -> None:
        """A vertical line at an axis value that spares the names, which stand in the plot on a narrow sheet."""
        wide = self.canvas.sheet.is_wide
        for index in [0] if wide else range(len(self.rows)):
            ends = (0, len(self.rows)) if wide else (index + NARROW_NAME / self.strip, index + 1.0)
            (line,) = self.axes.plot([x, x], ends, color=ink.placeholder, linewidth=width, zorder=1)
            if dashed:
                line.set_dashes((5, 3))

    def tell(self, index: int, text: str, ink: Ink = Ink.MUTED) -> None:
        """Write a strip's numbers at the right end, on a narrow sheet where the name leaves room."""
        canvas = self.canvas
        y = self._top(index) + (self.strip / 2 if canvas.sheet.is_wide else NARROW_LINE)
        size = canvas.size - (0.5 if canvas.sheet.is_wide else 1.5)
        bold = self._stands_out(index)
        name = NUMBER + canvas.measure(self._clip(index), bold=bold) + 10
        if canvas.sheet.is_wide or name + canvas.measure(text, size=size) < canvas.width - 4:
            canvas.write(canvas.width - 4, y, text, ink=ink, align="right", size=size)

    def caption(self, text: str) -> None:
        """Title of the x axis."""
        y = self.canvas.height - 10
        self.canvas.write(self.canvas.width - 4, y, text, ink=Ink.MUTED, align="right", size=self.canvas.size - 0.5)

    def _top(self, index: int) -> float:
        """Upper edge of a strip in pixels."""
        return self._head + index * self.strip

    def _stands_out(self, index: int) -> bool:
        """Whether a strip is that of the chosen one, or of the best so far."""
        return self.rows[index].row.standing in {Standing.CHOSEN, Standing.BEST}

    def _name(self, index: int, measured: MeasuredRow) -> None:
        """Number and name of a strip; the chosen one stands out."""
        canvas = self.canvas
        wide = canvas.sheet.is_wide
        top = self._top(index)
        chosen = self._stands_out(index)
        if chosen:
            band = Rectangle(
                (0, top + 1), canvas.width, self.strip - 2, color=Ink.ACCENT.placeholder, alpha=0.10, linewidth=0
            )
            self._backdrop.add_patch(band)
        y = top + (self.strip / 2 if wide else NARROW_LINE)
        canvas.write(NUMBER - 8, y, str(measured.row.number), ink=Ink.MUTED, align="right")
        canvas.write(NUMBER, y, self._clip(index), bold=chosen)

    def _clip(self, index: int) -> str:
        """Name of a strip, cut where it leaves its room."""
        canvas = self.canvas
        room = (NAMES if canvas.sheet.is_wide else canvas.width - self._reserve) - NUMBER - 10
        return canvas.clip(self.rows[index].row.title, room, bold=self._stands_out(index))
