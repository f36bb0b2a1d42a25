from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from assay.core.convergence import Convergence, ConvergencePoint
from assay.report.charts.convergence import draw_convergence, find_reach

SETTLED = Convergence(
    points=(
        ConvergencePoint(33, 0.11, 6.2, "stem"),
        ConvergencePoint(47, 0.03, 0.08, "stem"),
        ConvergencePoint(67, 0.02, 0.06, "logits"),
    ),
    converged=True,
    items=67,
    most_range_change=0.049,
    most_excess_db=0.414,
)


def test_the_curve_is_told_in_words() -> None:
    chart = draw_convergence(SETTLED)
    assert chart is not None
    assert chart.title == "Calibration items that were enough"
    assert "they settled at 67 items" in chart.summary
    assert "33: 6.2 dB, 11.0 %." in chart.summary


def test_ranges_that_moved_to_the_end_are_not_called_settled() -> None:
    chart = draw_convergence(replace(SETTLED, converged=False))
    assert chart is not None
    assert "had not settled at 67 items" in chart.summary
    assert "enough" not in chart.title


def test_both_widths_are_well_formed_and_name_limits_and_looks() -> None:
    chart = draw_convergence(SETTLED)
    assert chart is not None
    for svg in (chart.wide, chart.narrow):
        text = " ".join(ET.fromstring(svg).itertext())  # noqa: S314 our own text
        for word in ("limit 0.41 dB", "limit 4.9 %", "33", "47", "67", "items observed"):
            assert word in text


def test_only_a_settled_curve_ends_in_a_ring() -> None:
    settled, moving = draw_convergence(SETTLED), draw_convergence(replace(SETTLED, converged=False))
    assert settled is not None
    assert moving is not None
    assert "--good" in settled.wide
    assert "--good" not in moving.wide


def test_without_a_comparison_there_is_no_chart() -> None:
    assert draw_convergence(replace(SETTLED, points=())) is None


def test_one_look_and_many_looks_can_be_drawn() -> None:
    points = tuple(ConvergencePoint(33 + 7 * index, 0.01, -0.02, "x") for index in range(25))
    for some in (points[:1], points):
        assert draw_convergence(replace(SETTLED, points=some)) is not None


@pytest.mark.parametrize(
    ("values", "limit", "top"), [((0.1, 0.2), 1.0, 1.6), ((0.1, 3.0), 1.0, 3.45), ((0.1, 80.0), 1.0, 6.0)]
)
def test_the_limit_stays_legible_beside_any_values(values: tuple[float, ...], limit: float, top: float) -> None:
    bottom, found = find_reach(values, limit)
    assert found == pytest.approx(top)
    assert bottom < 0


def test_a_limit_of_nothing_and_flat_values_leave_room() -> None:
    bottom, top = find_reach((0.0,), 0.0)
    assert bottom < 0 < top
    bottom, _ = find_reach((-0.5, 0.1), 0.4)
    assert bottom < -0.5
