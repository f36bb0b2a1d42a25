from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from certificate_samples import STATUS, make_certificate, make_certified_record, make_looks

from assay.report.certificates import CertifiedRow, list_certified
from assay.report.charts.trail import draw_trail, format_items

ROWS = list_certified(make_certified_record())


def look_at(ends: tuple[int, ...], available: int = 9000) -> CertifiedRow:
    certificate = make_certificate(STATUS.CERTIFIED, make_looks(0.0, ends, 0.05), order=1)
    return replace(ROWS[0], certificate=replace(certificate, available=available))


def read(svg: str) -> list[str]:
    return [text.strip() for text in ET.fromstring(svg).itertext() if text.strip()]  # noqa: S314 our own text


def test_every_tested_candidate_has_a_panel_that_says_where_it_stopped() -> None:
    chart = draw_trail(ROWS)
    assert chart is not None
    for svg in (chart.wide, chart.narrow):
        texts = read(svg)
        for end in ("certified at 1,200 items", "certified at 4,800 items", "worse in class 6 at 9,000 items"):
            assert end in texts
        assert "cannot tell at 9,000 items" in texts
        assert not any("untested" in text for text in texts)
    assert "in 5 looks, from" in chart.summary


def test_where_no_test_was_looked_at_there_is_no_chart() -> None:
    assert draw_trail(ROWS[4:]) is None
    assert draw_trail([replace(ROWS[0], certificate=make_certificate(STATUS.CERTIFIED))]) is None


@pytest.mark.parametrize("looks", [1, 2, 40])
def test_any_number_of_looks_is_drawn(looks: int) -> None:
    ends = tuple(int(n) for n in np.linspace(9000 // looks, 9000, looks))
    chart = draw_trail([look_at(ends)])
    assert chart is not None
    assert f"in {looks} look{'s' if looks > 1 else ''}, from" in chart.summary
    assert "certified at 9,000 items" in read(chart.wide)


def test_items_are_on_a_logarithmic_axis_only_where_they_span_it() -> None:
    wide = draw_trail([look_at((100, 1000, 9000))])
    close = draw_trail([look_at((8000, 9000))])
    assert wide is not None
    assert close is not None
    ticks = [text for text in read(wide.wide) if re.fullmatch(r"[\d,]+k?", text)]
    assert {"100", "1,000", "10k"} & set(ticks) >= {"1,000"}
    assert any(text.startswith("8,") for text in read(close.wide))


def test_the_last_item_at_hand_is_on_the_axis_though_the_test_stopped_before() -> None:
    chart = draw_trail([look_at((200, 400), available=50_000)])
    assert chart is not None
    assert "10k" in read(chart.wide)


def test_bounds_that_say_nothing_yet_run_along_the_edge() -> None:
    def draw(low: float, high: float) -> tuple[str, str]:
        looks = (replace(make_looks(0.0, (10,))[0], low=low, high=high), *make_looks(0, (9000,)))
        certificate = replace(make_certificate(STATUS.OPEN, order=1), looks=looks)
        chart = draw_trail([replace(ROWS[0], certificate=certificate)])
        assert chart is not None
        return chart.summary, re.sub(r"<desc.*?</desc>", "", chart.wide)

    summary, endless = draw(float("-inf"), float("inf"))
    assert "from −∞ to ∞ at 10 to" in summary  # noqa: RUF001 - a minus sign
    assert endless == draw(-0.9, 0.9)[1]
    assert endless != draw(-0.001, 0.001)[1]


@pytest.mark.parametrize(
    ("count", "text"), [(300, "300"), (5000, "5,000"), (20_000, "20k"), (1_500_000, "1.5M"), (12_500, "12.5k")]
)
def test_items_on_an_axis_are_short(count: float, text: str) -> None:
    assert format_items(count) == text
