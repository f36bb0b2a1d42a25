"""Costs are those that the decision counts, and what has no certified rate breaks nothing."""

from __future__ import annotations

import html
import io
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import msgspec
import pytest
from cost_samples import COST, TOO_SLOW, make_endless, make_served_record, serve
from rich.cells import cell_len
from rich.console import Console
from trial_samples import make_evidence, make_record

from assay.core.estimate import Estimate
from assay.core.requirements import Objective
from assay.decide.objective import cost_of
from assay.report import costs
from assay.report.charts.tradeoff import draw_tradeoff
from assay.report.console import print_study
from assay.report.document import encode_document
from assay.report.html import list_figures, render_html
from assay.report.markdown import escape, render_markdown
from assay.report.percentiles import list_asked, name_percentile
from assay.report.rows import keep_measured, list_rows
from assay.report.table import tabulate_trials

RECORD = make_served_record()
NOWHERE = make_served_record(served=False)


def strip(page: str) -> str:
    return html.unescape(
        " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"<svg .*?</svg>", "", page, flags=re.DOTALL)).split())
    )


def test_the_cost_is_that_of_the_decision() -> None:
    for measured in keep_measured(list_rows(RECORD)):
        estimate = costs.estimate_cost(COST, measured.evidence)
        counted = cost_of(measured.evidence, Objective.COST, COST.price_per_hour)
        if measured.evidence.served is None:
            assert estimate is None
            assert counted == float("inf")
        else:
            assert estimate is not None
            assert estimate.value == pytest.approx(counted)
            assert estimate.low is not None
            assert estimate.low < estimate.value == estimate.high


def test_bounds_that_say_nothing_are_told() -> None:
    assert costs.say_bounds(Estimate(1.0, None, None, 0.95, 1, "")) == "no bounds"
    assert costs.say_bounds(Estimate(1.0, 0.5, float("inf"), 0.95, 1, "")) == "from 0.500, no upper bound"
    assert costs.say_bounds(Estimate(1.0, None, 2.0, 0.95, 1, "")) == "to 2.00"
    endless = make_endless(make_evidence(10.0))
    assert costs.cost_cell(COST, endless) == "10.0 EUR"
    assert costs.cost_cell(replace(COST, currency=""), endless) == "10.0"
    assert costs.cost_bounds(COST, endless) == "from 0, no upper bound"


def test_carbon_is_told_only_where_energy_and_the_grid_are_known() -> None:
    measured, without = serve(make_evidence(10.0)), make_evidence(10.0)
    assert costs.carbon_cell(COST, measured) == "1.00 g"
    assert costs.carbon_cell(replace(COST, grid_g_per_kwh=7.2e5), measured) == "2.00 kg"
    assert costs.estimate_carbon(COST, without) is None
    assert costs.estimate_carbon(replace(COST, grid_g_per_kwh=None), measured) is None
    assert not costs.pick_columns(replace(COST, grid_g_per_kwh=None), [measured]).carbon


@pytest.mark.parametrize("record", [RECORD, NOWHERE])
def test_the_chart_of_costs_leaves_out_what_has_no_rate(record: object) -> None:
    assert isinstance(record, type(RECORD))
    chart = draw_tradeoff(record, Objective.COST)
    absent = sum(m.evidence.served is None for m in keep_measured(list_rows(record)))
    assert absent
    for sheet in (chart.wide, chart.narrow):
        root = ET.fromstring(sheet)  # noqa: S314 - our own output
        assert "cost per million items, EUR" in "".join(root.itertext())
        assert f"for want of a certified rate: {absent}." in (root[1].text or "")
        assert "nan" not in sheet
        assert "inf" not in re.sub(r"[a-z]*info[a-z]*", "", sheet)


def test_the_page_shows_cost_rate_and_asked_percentiles() -> None:
    page = strip(render_html(RECORD))
    for part in (
        "cost per million",
        "1.22 to 1.76",
        "the dear end of its interval",
        "no rate is certified",
        TOO_SLOW,
        "items/s that keep the latency",
        "p99 at 99%",
        "CO2e per million",
        "price per hour 3.60 EUR",
        "5 of 12 are not drawn",
    ):
        assert part in page, part
    plain = strip(render_html(make_record()))
    assert not any(part in plain for part in ("cost per million", "keep the latency", "p99 at", "not drawn"))


def test_nothing_with_a_rate_is_still_a_report() -> None:
    assert "12 of 12 are not drawn" in strip(render_html(NOWHERE))
    assert escape(TOO_SLOW) in render_markdown(NOWHERE)
    assert encode_document(NOWHERE)


def test_key_figures_hold_the_cost_and_the_percentile_that_is_bounded() -> None:
    figures = {figure.name: figure for figure in list_figures(RECORD, keep_measured(list_rows(RECORD)))}
    assert len(figures) == 6
    assert figures["cost per million"].value.endswith(" EUR")
    assert "p99 at 99%, a call" in figures


def test_markdown_tables_of_costs_have_even_rows() -> None:
    text = render_markdown(RECORD)
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    for part in (
        "cost per million items, EUR",
        "items/s that keep the latency",
        "p99 at 99%",
        "CO2e per million items",
    ):
        assert part in text


@pytest.mark.parametrize("width", [40, 72, 160])
def test_the_terminal_shows_the_cost(width: int) -> None:
    stream = io.StringIO()
    print_study(RECORD, Console(file=stream, width=width, color_system=None))
    assert max(cell_len(line.rstrip()) for line in stream.getvalue().splitlines()) <= width
    leader = keep_measured(list_rows(RECORD))[0].evidence
    assert costs.cost_cell(COST, leader) in " ".join(stream.getvalue().split())


def test_the_document_has_the_money() -> None:
    document = msgspec.json.decode(encode_document(RECORD))
    assert document["price"] == {"per_hour": 3.6, "currency": "EUR", "grid_g_per_kwh": 360.0}
    trials = {trial["id"]: trial for trial in document["trials"]}
    fast, slow = trials["openvino.bf16"], trials["openvino.fp32"]
    assert fast["served"]["low"] == pytest.approx(2500 / 6.4)
    assert fast["cost_per_million"]["value"] == pytest.approx(1e6 / 1000 / (2500 / 6.4))
    assert fast["carbon_g_per_million"]["value"] == pytest.approx(0.64)
    assert (slow["served"], slow["served_note"], slow["cost_per_million"]) == (None, TOO_SLOW, None)
    asked = [(one["quantile"], one["confidence"]) for one in fast["latency_ms"]["asked"]]
    assert asked == [(0.9, 0.95), (0.99, 0.95), (0.99, 0.99)]
    plain = msgspec.json.decode(encode_document(make_record()))
    assert plain["price"] is None
    assert plain["trials"][0]["cost_per_million"] is None


def test_flat_rows_hold_the_cost() -> None:
    rows = {str(row["id"]): row for row in tabulate_trials(RECORD)}
    assert rows["openvino.fp32"]["cost_per_million"] is None
    assert rows["openvino.bf16"]["cost_per_million"] == pytest.approx(2.56)
    assert {frozenset(row) for row in rows.values()} == {frozenset(rows["openvino.bf16"])}


def test_only_unusual_percentiles_get_a_column() -> None:
    evidences = [m.evidence for m in keep_measured(list_rows(RECORD))]
    assert [column.title for column in list_asked(COST, evidences)] == ["p90", "p99 at 99%"]
    assert list_asked(COST, [make_evidence(4.0)]) == ()
    assert name_percentile(0.999, 0.9, 0.95) == "p99.9 at 90%"
    (column,) = list_asked(COST, [evidences[0]])[1:]
    assert column.cell(make_evidence(4.0)) == "–"  # noqa: RUF001 - the dash of an empty cell
