"""Draw what ``exhaustive.py`` measured: every subset as a point, and the way the search took among them.

Run: ``python bench/subsets/picture.py [--results FILE] [--tolerance 0.01] [--output docs/images/search.svg]``. The
picture stands on a card of its own, light or dark as the reader's system is, so that it can be read on any page.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[2]
INKS = {
    "card": ("#fffffe", "#161b22"),
    "text": ("#24292e", "#e6edf2"),
    "faint": ("#9aa3ac", "#6d7681"),
    "grid": ("#e3e6e9", "#2b323a"),
    "line": ("#57606b", "#b0b9c3"),
    "search": ("#b3470b", "#ffa25c"),
    "chosen": ("#0a6b3d", "#4fd08b"),
    "limit": ("#8a3ab8", "#cf9bf2"),
}
"""Role -> colour on a light card, and on a dark one."""
LIGHT = {role: light for role, (light, _dark) in INKS.items()}
BACKING = {"facecolor": LIGHT["card"], "edgecolor": "none", "pad": 1.0}
"""Behind words that stand among points."""
WIDTH, HEIGHT = 8.0, 5.0
SEARCHED = "expected by the search items"


@dataclass(frozen=True)
class Point:
    """A subset: percentage of answers that changed, and milliseconds of a call."""

    loss: float
    milliseconds: float


@dataclass(frozen=True)
class Scene:
    """What is drawn.

    Attributes:
        points: of all subsets, by number.
        tolerance: in percent.
        tries: numbers of the subsets that the search built, in order.
        chosen: the fastest of these that holds.
        optimum: the fastest subset that holds.
        clock: what was counted, "wall" or "processor".
    """

    points: dict[int, Point]
    tolerance: float
    tries: Sequence[int]
    chosen: int
    optimum: int
    clock: str
    title: str


def read_scene(results: Path, tolerance: float) -> Scene:
    """The search whose tolerance is nearest."""
    line = json.loads(results.read_text(encoding="utf-8"))
    losses, times = line["subsets"]["expected_bound"], line["subsets"]["milliseconds"]
    points = {number: Point(100 * loss, ms) for number, (loss, ms) in enumerate(zip(losses, times, strict=True))}
    rows = line["rows"][SEARCHED]
    row = min(rows, key=lambda one: abs(one["tolerance"] - tolerance))
    tries = [one["subset"] for one in line["searches"][rows.index(row)]["tries"]]
    title = f"{len(points):,} mixed plans of a network of {len(line['groups'])} groups, all of them built and measured"
    return Scene(points, 100 * row["tolerance"], tries, row["found"], row["optimum"], line["clock"], title)


def find_frontier(points: Sequence[Point]) -> list[Point]:
    """Points that no other one beats in both, from the least loss on."""
    frontier: list[Point] = []
    for point in sorted(points, key=lambda one: (one.loss, one.milliseconds)):
        if not frontier or point.milliseconds < frontier[-1].milliseconds:
            frontier.append(point)
    return frontier


def draw(scene: Scene) -> Figure:
    """The picture."""
    figure = Figure(figsize=(WIDTH, HEIGHT), facecolor=LIGHT["card"], layout="constrained")
    axes = figure.add_subplot(facecolor=LIGHT["card"])
    everything = list(scene.points.values())
    frontier = find_frontier(everything)
    axes.scatter([p.loss for p in everything], [p.milliseconds for p in everything], s=7, lw=0, c=LIGHT["faint"])
    axes.step([p.loss for p in frontier], [p.milliseconds for p in frontier], where="post", c=LIGHT["line"], lw=1.3)
    axes.axvline(scene.tolerance, c=LIGHT["limit"], lw=1.5, ls=(0, (5, 3)))
    top = max(p.milliseconds for p in everything)
    axes.annotate(
        f"tolerance {scene.tolerance:.2g}%",
        (scene.tolerance, top),
        (5, 0),
        textcoords="offset points",
        c=LIGHT["limit"],
        bbox=BACKING,
    )
    _draw_search(axes, scene)
    _name_ends(axes, scene)
    axes.set_xlabel("answers that are not the float model's, bound in %", c=LIGHT["text"])
    unit = "milliseconds a call" if scene.clock == "wall" else "milliseconds of processor time a call"
    axes.set_ylabel(unit, c=LIGHT["text"])
    axes.set_title(scene.title, c=LIGHT["text"], loc="left", fontsize=11)
    axes.tick_params(colors=LIGHT["text"])
    axes.grid(c=LIGHT["grid"], lw=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(LIGHT["line"])
    return figure


def _draw_search(axes: Axes, scene: Scene) -> None:
    """The plans that were built, numbered, and the one that is left."""
    for number, subset in enumerate(scene.tries, start=1):
        point, is_chosen = scene.points[subset], subset == scene.chosen
        colour = LIGHT["chosen" if is_chosen else "search"]
        axes.scatter([point.loss], [point.milliseconds], s=190 if is_chosen else 130, c=colour, zorder=4)
        axes.annotate(
            str(number),
            (point.loss, point.milliseconds),
            ha="center",
            va="center_baseline",
            c=LIGHT["card"],
            fontweight="bold",
            zorder=5,
        )
    best = scene.points[scene.optimum]
    axes.scatter(
        [best.loss], [best.milliseconds], s=330, facecolors="none", edgecolors=LIGHT["chosen"], linewidths=1.6, zorder=4
    )


def _name_ends(axes: Axes, scene: Scene) -> None:
    """All groups quantized, and none."""
    ends = ((0, "all groups in INT8", (-7, 0), "right"), (max(scene.points), "all groups in floats", (5, 8), "left"))
    for subset, name, offset, side in ends:
        point = scene.points[subset]
        axes.scatter([point.loss], [point.milliseconds], s=45, c=LIGHT["text"], zorder=3)
        axes.annotate(
            name,
            (point.loss, point.milliseconds),
            offset,
            textcoords="offset points",
            ha=side,
            va="center",
            c=LIGHT["text"],
            bbox=BACKING,
            zorder=2,
        )


def follow_scheme(svg: str) -> str:
    """Colours by name, which the reader's light or dark scheme sets; the light ones where that is not known."""
    roles = {light: role for role, (light, _dark) in INKS.items()}
    rules = "".join(
        f".{role}-fill{{fill:{dark}!important}}.{role}-stroke{{stroke:{dark}!important}}"
        for role, (_light, dark) in INKS.items()
    )

    def name_colours(style: re.Match[str]) -> str:
        found = re.findall(r"\b(fill|stroke): (#[0-9a-f]{6})", style[1])
        names = [f"{roles[colour]}-{kind}" for kind, colour in found if colour in roles]
        return f'class="{" ".join(names)}" {style[0]}' if names else style[0]

    named = re.sub(r'style="([^"]*)"', name_colours, svg)
    return named.replace("<defs>", f"<style>@media (prefers-color-scheme: dark){{{rules}}}</style><defs>", 1)


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results/exhaustive.json")
    parser.add_argument("--tolerance", type=float, default=0.01)
    parser.add_argument("--output", type=Path, default=ROOT / "docs/images/search.svg")
    options = parser.parse_args()
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "assay", "font.family": "sans-serif", "font.size": 10}
    options.output.parent.mkdir(exist_ok=True)
    draw(read_scene(options.results, options.tolerance)).savefig(
        options.output, facecolor=LIGHT["card"], metadata={"Date": None}
    )
    text = follow_scheme(options.output.read_text(encoding="utf-8"))
    options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
