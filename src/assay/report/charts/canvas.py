"""A sheet of pixels to draw on, and its way to SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from html import escape
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

from assay.report.charts.ink import Ink, resolve_inks

DPI = 72
"""At 72 dots per inch a point, the unit of fonts and lines, is one unit of the SVG."""
SETTINGS: dict[RcKeyType, Any] = {
    "svg.fonttype": "none",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "axes.unicode_minus": False,
    "path.simplify": True,
    "hatch.linewidth": 1.0,
}
CHARACTER = 0.56
"""Mean width of a character over the font size, for system fonts."""
BOLD_CHARACTER = 0.60
TIP = "tip-"
"""How the ids of shapes begin that tell something."""


class Sheet(Enum):
    """Widths that charts are drawn at, in pixels: one for a desk and for paper, one for a phone."""

    WIDE = 960
    NARROW = 360

    @property
    def is_wide(self) -> bool:
        """The sheet has room for columns of text beside the plot."""
        return self is Sheet.WIDE


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart at both widths.

    Attributes:
        wide: SVG element for 960 pixels.
        narrow: SVG element for 360 pixels.
        summary: what the chart shows, in words.
    """

    title: str
    summary: str
    wide: str
    narrow: str


@dataclass(slots=True)
class Canvas:
    """A sheet in pixels, the origin at the top left, on which texts and plots stand.

    Attributes:
        overlay: before every plot, in pixels.
        size: font size of plain text in pixels.
        tips: what is told of single shapes where a pointer rests on them.
    """

    sheet: Sheet
    height: float
    figure: Figure = field(init=False)
    overlay: Axes = field(init=False)
    size: float = 12.5
    tips: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Set up an empty sheet."""
        self.figure = Figure(figsize=(self.width / DPI, self.height / DPI), dpi=DPI)
        FigureCanvasSVG(self.figure)
        self.figure.patch.set_visible(False)
        self.overlay = self.add_layer(5)

    @property
    def width(self) -> float:
        """Width in pixels."""
        return float(self.sheet.value)

    def add_layer(self, order: int) -> Axes:
        """Axes over the whole sheet that count pixels from the top left."""
        layer = self.figure.add_axes((0, 0, 1, 1), zorder=order)
        layer.set_axis_off()
        layer.patch.set_visible(False)
        layer.set_xlim(0, self.width)
        layer.set_ylim(self.height, 0)
        return layer

    def add_plot(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes with no frame but the bottom line, their box given in pixels."""
        box = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(box)
        axes.patch.set_visible(False)
        for name, spine in axes.spines.items():
            spine.set_visible(name == "bottom")
            spine.set_color(Ink.MUTED.placeholder)
            spine.set_linewidth(1)
        axes.tick_params(
            length=0, pad=6, labelsize=self.size - 0.5, labelcolor=Ink.MUTED.placeholder, color=Ink.GRID.placeholder
        )
        axes.grid(visible=True, color=Ink.GRID.placeholder, linewidth=1)
        axes.set_axisbelow(True)
        return axes

    def write(
        self,
        x: float,
        y: float,
        text: str,
        *,
        ink: Ink = Ink.TEXT,
        align: Literal["left", "center", "right"] = "left",
        bold: bool = False,
        size: float | None = None,
    ) -> None:
        """Write one line, its middle at height ``y``."""
        self.overlay.text(
            x,
            y,
            text,
            color=ink.placeholder,
            ha=align,
            va="center_baseline",
            fontsize=size or self.size,
            fontweight="bold" if bold else "normal",
            parse_math=False,
        )

    def tell(self, shape: Artist, text: str) -> None:
        """Tell something of a shape where a pointer rests on it."""
        shape.set_gid(f"{TIP}{len(self.tips)}")
        self.tips.append(text)

    def measure(self, text: str, *, bold: bool = False, size: float | None = None) -> float:
        """Estimated width of a text in pixels."""
        return len(text) * (size or self.size) * (BOLD_CHARACTER if bold else CHARACTER)

    def clip(self, text: str, width: float, *, bold: bool = False) -> str:
        """A text cut to a width, with an ellipsis where something was cut."""
        fits = int(width / self.size / (BOLD_CHARACTER if bold else CHARACTER))
        return text if len(text) <= fits else text[: max(1, fits - 1)].rstrip() + "…"

    def render(self, name: str, title: str, summary: str) -> str:
        """The SVG element: scalable, labelled for screen readers, free of ids that another chart could have.

        Args:
            name: tells the chart's ids apart from those of the page's other charts.
            title: accessible name.
            summary: accessible description.
        """
        buffer = io.StringIO()
        salt = f"{name}-{self.sheet.name.lower()}"
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        with mpl.rc_context({"svg.hashsalt": salt}):
            self.figure.savefig(buffer, format="svg", metadata=nothing)
        return _clean(_insert_tips(buffer.getvalue(), self.tips), salt, title, summary)


def draw_chart(name: str, title: str, summary: str, draw: Callable[[Sheet], Canvas]) -> Chart:
    """A chart at both widths, whatever the user's own settings of the plotting library are.

    Args:
        name: tells the chart's ids apart from those of the page's other charts.
        title: accessible name.
        summary: what the chart shows, in words.
        draw: draws on one sheet.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)
        wide, narrow = (draw(sheet).render(name, title, summary) for sheet in (Sheet.WIDE, Sheet.NARROW))
    return Chart(title, summary, wide, narrow)


def _insert_tips(svg: str, tips: Sequence[str]) -> str:
    """Give the marked shapes their texts."""
    return re.sub(rf'<g id="{TIP}(\d+)">', lambda match: f"<g><title>{escape(tips[int(match[1])])}</title>", svg)


def _clean(svg: str, salt: str, title: str, summary: str) -> str:
    """Turn a stand-alone SVG file into an element of a page."""
    body = svg[svg.index("<svg") :]
    head, _, rest = body.partition(">")
    box = re.search(r'viewBox="([^"]*)"', head)
    rest = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", rest, count=1, flags=re.DOTALL)
    rest = re.sub(r"<!--.*?-->", "", rest, flags=re.DOTALL)
    rest = re.sub(r'<g id="[^"]*"', "<g", rest)
    rest = re.sub(r"; font-family: [^;\"]*", "", re.sub(r"font-family: [^;\"]*; ?", "", rest))
    rest = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", rest)
    rest = rest.replace("xlink:href", "href")
    rest = re.sub(r'fill="(#7e[0-9a-f]{2}c3)"', r'style="fill: \1"', rest)
    rest = re.sub(r"[ \t]*\n\s*", " ", rest)
    labels = f'<title id="{salt}-t">{escape(title)}</title><desc id="{salt}-d">{escape(summary)}</desc>'
    opening = (
        f'<svg class="chart {salt.rpartition("-")[2]}" viewBox="{box[1] if box else ""}" '
        f'role="img" aria-labelledby="{salt}-t {salt}-d">'
    )
    return opening + labels + resolve_inks(rest).strip()
