from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure

from assay.report.charts.labels import Anchor, Box, place_labels
from assay.report.charts.latency import estimate_density
from assay.report.charts.scales import find_window, format_tick, list_log_ticks, scale_positive

FRAME = (0.0, 0.0, 800.0, 400.0)


def overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@pytest.mark.parametrize("count", [2, 8, 20])
def test_labels_of_clustered_points_keep_apart_and_inside(count: int) -> None:
    rng = np.random.default_rng(count)
    anchors = [Anchor(float(x), float(y), 20, 15) for x, y in rng.normal((400, 200), (60, 40), (count, 2))]
    marks = [(a.x - 8, a.y - 8, a.x + 8, a.y + 8) for a in anchors]
    spots = place_labels(anchors, marks, FRAME)
    boxes = [spot.box for spot in spots]
    assert not any(overlap(a, b) for a, b in itertools.combinations(boxes, 2))
    assert not any(overlap(box, mark) for box in boxes for mark in marks)
    assert all(FRAME[0] <= b[0] and FRAME[1] <= b[1] and b[2] <= FRAME[2] and b[3] <= FRAME[3] for b in boxes)


def test_a_label_at_the_edge_turns_inwards() -> None:
    (spot,) = place_labels([Anchor(795, 200, 100, 15)], [], FRAME)
    assert spot.box[2] <= 795
    assert not spot.leader


def test_a_label_with_no_room_nearby_gets_a_leader() -> None:
    wall = [(330.0, 160.0, 470.0, 240.0)]
    (spot,) = place_labels([Anchor(400, 200, 30, 15)], wall, FRAME)
    assert spot.leader


@pytest.mark.parametrize(("low", "high"), [(0.9, 16.0), (0.01, 500.0), (3.0, 9.5), (1e-5, 3e6)])
def test_logarithmic_ticks_are_round_and_few(low: float, high: float) -> None:
    ticks = list_log_ticks(low, high, 9)
    assert 2 <= len(ticks) <= 12
    assert ticks == sorted(ticks)
    assert all(low <= tick <= high for tick in ticks)


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5"), (10.0, "10"), (1500.0, "1,500"), (-0.0, "0"), (0.02, "0.02")]
)
def test_ticks_have_no_trailing_zeros(value: float, text: str) -> None:
    assert format_tick(value) == text


def test_axis_is_logarithmic_only_where_values_span_it() -> None:
    for values, scale in (([4.0, 60.0], "log"), ([38.0, 40.0], "linear"), ([5.0], "linear")):
        axes = Figure().add_subplot()
        scale_positive(axes, values)
        assert axes.get_xscale() == scale
        left, right = axes.get_xlim()
        assert left < min(values)
        assert max(values) < right


def test_the_window_holds_everything_ordinary_and_cuts_the_extreme() -> None:
    low, high = find_window(0.5, [(0.0, 0.2), (0.1, 0.9), (-0.3, 0.1)])
    assert low < -0.3
    assert high > 0.9
    low, high = find_window(0.5, [(0.0, 0.2), (0.1, 0.9), (80.0, 85.0)])
    assert 0.9 < high < 10
    low, high = find_window(0.0, [(0.0, 0.0)])
    assert low < 0 < high
    low, high = find_window(0.5, [(float("nan"), float("inf")), (0.0, 0.1)])
    assert np.isfinite(low)
    assert 0.5 < high < 10


def test_density_peaks_where_the_samples_are() -> None:
    rng = np.random.default_rng(0)
    grid, density = estimate_density(10 ** rng.normal(1, 0.02, 2000))
    assert density.max() == pytest.approx(1)
    assert grid[np.argmax(density)] == pytest.approx(10, rel=0.02)
    assert density[0] < 0.2


def test_density_of_equal_samples_is_finite() -> None:
    _, density = estimate_density(np.full(50, 4.0))
    assert np.all(np.isfinite(density))
