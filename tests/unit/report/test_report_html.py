from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest
from certificate_samples import make_certified_record
from cost_samples import make_served_record
from trial_samples import (
    S8S8,
    U8S8,
    make_evidence,
    make_missing,
    make_plan,
    make_quality,
    make_realistic_trials,
    make_record,
    make_reference,
    make_requirements,
    make_trial,
)

from assay.core.plan import Plan, WeightScheme
from assay.core.precision import Placement, Precision, WeightStyle
from assay.core.requirements import Objective
from assay.core.trial import Trial
from assay.report.charts.ink import PLACEHOLDERS, Ink
from assay.report.html import render_html
from assay.studies.record import StudyRecord

INT8 = Precision.INT8
STORED = Plan(Precision.INT4, weights=WeightScheme(WeightStyle.WEIGHTS, block=32))
VOID = {"meta", "br", "hr", "img", "link", "input"}
PICTURE = "data:image/png;base64,"
HOSTILE = '<script>alert("x")</script> & $x_1$ %s {{ 7*7 }}'


@cache
def render(name: str) -> str:
    return render_html(RECORDS[name])


class Page(HTMLParser):
    """Reads a page, checks that tags nest, and keeps the text, the ids and the references."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self._keep(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._keep(tag, attrs)

    def _keep(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            assert value is not None or tag == "meta"
            if name == "id":
                self.ids.append(value or "")
            if name in {"href", "src", "xlink:href", "action"} and not (value or "").startswith(PICTURE):
                self.references.append(value or "")
            self.references += re.findall(r"url\(([^)]*)\)", value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def many_trials() -> list[Trial]:
    trials = [make_reference()]
    for i, runtime in enumerate(("openvino", "onnxruntime", "tvm")):
        for j, (dialect, placement) in enumerate((d, p) for d in (U8S8, S8S8) for p in Placement):
            plan = make_plan(INT8, dialect, placement)
            quality = make_quality(0.1 + 0.01 * j, 0.1)
            trials.append(make_trial(INT8, 4 + 0.1 * i + 0.05 * j, quality, runtime=runtime, plan=plan))
        trials.append(make_trial(Precision.BF16, 8 + i, make_quality(0.02, 0.05), runtime=runtime))
    return trials


RECORDS = {
    "chosen": make_record(),
    "undecided": make_record([make_reference(), make_trial(INT8, 4.0, make_quality(0.4, 0.8, n=250))]),
    "none": make_record(None, make_requirements("top1: 0.5pp", "p50 <= 1ms")),
    "one": make_record([make_reference()]),
    "many": make_record(many_trials()),
    "cost": make_record(None, make_requirements(objective=Objective.COST, price_per_hour=0.5)),
    "broken": make_record([make_reference(), make_trial(INT8, 4.0, make_quality(83.0, 1.0))]),
    "lower": make_record(
        [make_reference(), make_trial(INT8, 4.0, make_quality(1.2, 0.5, metric="mae", higher_is_better=False))],
        make_requirements("mae: 0.02"),
    ),
    "short": make_record([make_reference(), make_trial(INT8, evidence=make_evidence(4.0, make_quality(), calls=40))]),
    "certified": make_certified_record(),
    "served": make_served_record(),
    "nowhere": make_served_record(served=False),
    "formats": make_record(
        [
            make_reference(),
            *(make_trial(one, 4.0, make_quality(), runtime="torch") for one in Precision if one is not Precision.INT4),
            make_trial(Precision.INT4, 4.0, make_quality(), plan=STORED),
        ]
    ),
    "bare": replace(make_record(), calibration=None, warnings=(), latency_samples={}),
}


@pytest.fixture(scope="module")
def page() -> str:
    return render("chosen")


@pytest.mark.parametrize("name", RECORDS)
def test_every_kind_of_study_makes_a_sound_page_that_needs_nothing_else(name: str) -> None:
    text = render(name)
    page = Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert "script" not in page.tags
    assert all(reference.startswith("#") for reference in page.references)
    assert {reference[1:] for reference in page.references} <= set(page.ids)
    assert "://" not in text.replace("http://www.w3.org", "")
    assert "@import" not in text


@pytest.mark.parametrize("name", RECORDS)
def test_charts_are_wellformed_labelled_and_themed(name: str) -> None:
    text = render(name)
    charts = re.findall(r"<svg .*?</svg>", text, flags=re.DOTALL)
    assert len(charts) >= 4
    for chart in charts:
        root = ET.fromstring(chart)  # noqa: S314 - our own output
        title, description = root[0], root[1]
        assert (title.tag, description.tag) == ("title", "desc")
        assert title.text
        assert description.text
        assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
        assert not any(placeholder in chart for placeholder in PLACEHOLDERS)
        assert "DejaVu" not in chart
        assert "#000000" not in chart
        assert "#ffffff" not in chart


def test_light_and_dark_define_every_colour(page: str) -> None:
    style = page[page.index("<style>") : page.index("</style>")]
    light, dark = style.split("prefers-color-scheme: dark", 1)
    for ink in Ink:
        assert f"{ink}: #" in light
        assert f"{ink}: #" in dark.split("*, *::before")[0]
    assert "@media print" in style


def test_the_sentence_is_at_the_top(page: str) -> None:
    text = Page(page).text
    joined = "".join(text[text.index("Chosen") :])
    assert re.match(r"Chosen\s+INT8 on openvino is 9\.09x as fast as FP32", joined)


def test_flags_reasons_and_warnings_are_all_there(page: str) -> None:
    words = " ".join("".join(Page(page).text).split())
    record = RECORDS["chosen"]
    for warning in record.warnings:
        assert words.index(warning) < words.index("Quality against latency")
    for trial in record.trials:
        assert record.decision.reasons[trial.id] in words
        assert trial.candidate.runtime in words
        for flag in trial.evidence.flags if trial.evidence else ():
            assert words.count(flag) >= 2
    assert words.index("Read this first") < words.index("Quality against latency")


def hostile_record() -> StudyRecord:
    trials = [make_reference(runtime=HOSTILE), make_missing(INT8, "openvino", HOSTILE)]
    record = make_record([*trials, make_trial(INT8, 4.0, make_quality(), runtime="a" * 120)])
    return replace(record, title=HOSTILE, warnings=(HOSTILE,), machine={HOSTILE: HOSTILE})


def test_nothing_of_the_users_is_markup() -> None:
    page = Page(render_html(hostile_record()))
    assert "script" not in page.tags
    assert sum(text.count(HOSTILE) for text in page.text) >= 6
    assert "49" not in "".join(page.text).split("machine")[0]


def test_the_same_record_gives_the_same_page_whatever_the_users_settings_are(page: str) -> None:
    with mpl.rc_context({"font.size": 33, "axes.grid": True, "lines.linewidth": 9, "svg.fonttype": "path"}):
        assert render_html(make_record()) == page
        assert mpl.rcParams["font.size"] == 33


def test_a_study_without_samples_or_calibration_says_so() -> None:
    text = " ".join("".join(Page(render("bare")).text).split())
    assert "Latency of one call" not in text
    assert "calibrationnone" in text


def test_missing_upper_bound_of_a_percentile_is_said() -> None:
    assert "no upper bound" in render("short")


def test_an_extreme_loss_leaves_the_tolerance_readable() -> None:
    text = "".join(Page(render("broken")).text)
    assert "(lost 83 pp)" in text


def test_the_objective_gets_its_own_chart() -> None:
    assert "Quality against cost" in render("cost")
    assert "Quality against cost" not in render("chosen")


def test_realistic_trials_cover_every_standing(page: str) -> None:
    for standing in ("chosen", "fallback", "meets", "undecided", "misses", "no result"):
        assert f">{standing}</span>" in page
    assert len(make_realistic_trials()) == page.count('<tr class="data">')
