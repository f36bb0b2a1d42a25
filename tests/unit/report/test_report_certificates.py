from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import msgspec
import pytest
from certificate_samples import (
    AVAILABLE,
    CHOSEN,
    DEAD_CLASS,
    MARGIN,
    STATUS,
    make_certificate,
    make_certified_record,
    make_looks,
    make_slice,
)
from trial_samples import make_evidence, make_quality, make_record, make_reference, make_requirements, make_trial

from assay.core.certificate import NEVER_ENOUGH, Certificate, CertificateStatus
from assay.core.precision import Precision
from assay.report.certificates import CertifiedRow, explain_guarantee, list_certified, list_sliced, say_margins
from assay.report.charts.canvas import Chart
from assay.report.charts.certificates import draw_certificates
from assay.report.document import encode_document
from assay.report.html import render_html
from assay.report.markdown import render_markdown
from assay.report.rows import Standing, list_rows
from assay.report.slices import judge
from assay.studies.record import StudyRecord

RECORD = make_certified_record()
ROWS = list_certified(RECORD)


def certify(certificate: Certificate, **quality: object) -> StudyRecord:
    """A study of one candidate."""
    evidence = replace(make_evidence(4.0, make_quality(**quality)), certificate=certificate)  # type: ignore[arg-type]
    return make_record([make_reference(), make_trial(Precision.INT8, evidence=evidence)])


def find(name: str) -> CertifiedRow:
    return next(row for row in ROWS if row.measured.row.trial.id == name)


def make_wordless() -> StudyRecord:
    """Slices of which numbers say nothing: one that the method refuses, and one in which nothing is tolerated."""
    refused = replace(
        make_slice("3", STATUS.OPEN, 0.0, 0.0, 2),
        low=-1e9,
        high=1e9,
        reference=float("nan"),
        items_needed=3,
        reason="2 items are too few for F1",
    )
    strict = replace(make_slice("5", STATUS.OPEN, 0.01, 0.02), items_needed=NEVER_ENOUGH, margin=0.0)
    record = certify(make_certificate(STATUS.OPEN, make_looks(0.004, (300, 9000), 0.05), slices=(strict, refused)))
    return replace(record, decision=replace(record.decision, chosen=None, best=record.trials[1].id))


def test_slices_without_numbers_get_words() -> None:
    record = make_wordless()
    strict, refused = list_certified(record)[-1].slices
    assert (strict.least, refused.least) == ("no number does", "–")  # noqa: RUF001 - the dash of an empty cell
    assert refused.bounds == "no bounds"
    assert refused.values == ("–", "93.0%")  # noqa: RUF001 - the dash of an empty cell
    for text in (render_html(record), render_markdown(record)):
        assert "2 items are too few for F1" in text
        assert "no number does" in text
        assert "2,147,483,647" not in text
        assert "00,000,000" not in text
        assert "nan" not in re.sub("nance|nant", "", text)
    parts = msgspec.json.decode(encode_document(record))["trials"][1]["certificate"]["slices"]
    assert [part["items_needed"] for part in parts] == [None, None]
    assert (parts[1]["low"], parts[1]["high"], parts[1]["reason"]) == (None, None, "2 items are too few for F1")
    assert parts[0]["low"] is not None


def test_a_slice_that_only_holms_procedure_proves_is_not_given_a_bound() -> None:
    guilty = replace(make_slice("3", STATUS.WORSE, 0.08, 0.04), low=0.04)
    record = certify(make_certificate(STATUS.WORSE, make_looks(0.002, (300, 9000), 0.05), slices=(guilty,)))
    reason = next(row.reason for row in list_rows(record) if not row.trial.reference)
    assert "in class 3 it loses 8.00 pp over 900 items, proven beyond the tolerated 5.00 pp" in reason


def draw() -> Chart:
    chart = draw_certificates(ROWS)
    assert chart is not None
    return chart


def test_certificates_stand_in_the_order_of_testing_and_the_untested_last() -> None:
    assert [row.order for row in ROWS] == ["1", "2", "3", "4", "5", "–"]  # noqa: RUF001 - the dash of an empty cell
    assert [row.tested for row in ROWS] == [True] * 4 + [False] * 2


def test_a_class_that_lost_too_much_is_named_where_the_whole_passes() -> None:
    row = find(DEAD_CLASS)
    assert row.certificate.high < MARGIN
    assert row.outcome.words == "worse in class 6"
    assert row.outcome.tone == "bad"


@pytest.mark.parametrize(
    ("loss", "status", "part", "words"),
    [
        (0.01, STATUS.WORSE, STATUS.WORSE, "worse"),
        (0.001, STATUS.WORSE, STATUS.WORSE, "worse in class 1"),
        (0.001, STATUS.OPEN, STATUS.OPEN, "cannot tell in class 1"),
        (0.0048, STATUS.OPEN, STATUS.OPEN, "cannot tell"),
        (0.001, STATUS.CERTIFIED, STATUS.OPEN, "certified"),
        (0.001, STATUS.UNTESTED, STATUS.WORSE, "untested"),
    ],
)
def test_a_slice_is_blamed_only_where_it_decides(
    loss: float, status: CertificateStatus, part: CertificateStatus, words: str
) -> None:
    certificate = make_certificate(status, make_looks(loss, (9000,), 0.05), slices=(make_slice("1", part, 0.1, 0.01),))
    assert judge(certificate).words == words


def test_items_tell_the_certification_from_the_search() -> None:
    assert find(CHOSEN).items == "4,800 of 9,000"
    assert ROWS[4].items == "1,000 of the search"
    assert (ROWS[5].items, ROWS[5].loss, ROWS[5].bounds) == ("–", "–", "")  # noqa: RUF001 - empty cells


def test_an_asymptotic_method_is_labelled() -> None:
    certificate = replace(make_certificate(STATUS.CERTIFIED, order=1), asymptotic=True, method="influence function")
    (row,) = list_certified(certify(certificate))
    assert row.method == "influence function, asymptotic"
    assert "asymptotic" in explain_guarantee(RECORD, [row])
    assert "asymptotic" not in explain_guarantee(RECORD, ROWS)
    assert "asymptotic" in row.statement


def test_the_guarantee_says_why_choosing_does_not_weaken_it() -> None:
    text = explain_guarantee(RECORD, ROWS)
    for part in (
        "at most 0.50 pp of top1",
        "at most 5%",
        "Choosing among 6",
        "on 1,000 items set apart",
        "9,000 items",
    ):
        assert part in text
    assert "stopping early" in text


def test_without_an_order_or_looks_the_guarantee_claims_no_more_than_was_done() -> None:
    certificate = make_certificate(STATUS.CERTIFIED)
    record = certify(certificate)
    text = explain_guarantee(record, list_certified(record))
    assert "Choosing among" not in text
    assert "stopping early" not in text


def test_a_relative_tolerance_that_differs_is_told_as_a_range() -> None:
    other = replace(ROWS[0], certificate=replace(ROWS[0].certificate, margin=0.006))
    assert say_margins(ROWS) == "0.50 pp"
    assert say_margins([*ROWS, other]) == "0.50 to 0.60 pp"


def test_slices_are_shown_of_the_chosen_one_and_of_those_they_rejected() -> None:
    sliced = list_sliced(RECORD, ROWS)
    assert [row.measured.row.trial.id for row in sliced] == [CHOSEN, DEAD_CLASS]
    part = sliced[1].slices[0]
    assert (part.name, part.values, part.loss, part.margin) == ("class 6", ("93.0%", "80.6%"), "12.40 pp", "5.00 pp")


def test_slices_are_bounded_in_number_and_the_page_says_so() -> None:
    slices = tuple(make_slice(str(k), STATUS.WORSE, 0.2 - 0.001 * k, 0.01) for k in range(30))
    record = certify(make_certificate(STATUS.WORSE, slices=slices, order=1))
    page = render_html(record)
    assert "The worst 8 of 30" in page
    assert "<strong>class 7</strong>" in page
    assert "<strong>class 8</strong>" not in page


def test_what_was_not_tested_is_not_called_undecided() -> None:
    standings = [row.standing for row in list_rows(RECORD)]
    assert standings.count(Standing.UNTESTED) == 2
    assert standings.count(Standing.UNDECIDED) == 1


def test_the_reason_names_the_class_once() -> None:
    row = next(row for row in list_rows(RECORD) if row.trial.id == DEAD_CLASS)
    assert row.reason.startswith(RECORD.decision.reasons[DEAD_CLASS])
    assert "in class 6 it loses at least 8.30 pp over 873 items, tolerated 5.00 pp" in row.reason
    told = replace(RECORD, decision=replace(RECORD.decision, reasons={DEAD_CLASS: "class 6 is dead"}))
    assert next(row for row in list_rows(told) if row.trial.id == DEAD_CLASS).reason == "class 6 is dead"


def test_the_chart_tells_every_outcome_by_word_colour_and_shape() -> None:
    chart = draw()
    for svg in (chart.wide, chart.narrow):
        text = " ".join(ET.fromstring(svg).itertext())  # noqa: S314 our own text
        for word in ("certified", "worse in class 6", "cannot tell", "untested", "tolerated 0.50 pp"):
            assert word in text
        for ink in ("--good", "--bad", "--warn", "--muted"):
            assert f"var({ink})" in svg
    assert "at most 0.44 pp, certified" in chart.wide
    title = "INT8 openvino u8s8 operands mse"
    assert f">{title}<" in chart.wide
    assert f">{title}<" not in chart.narrow, "a name leaves room for the outcome beside it"
    assert chart.summary.count("certified") >= 3


def test_without_certificates_there_is_no_section_and_the_losses_are_drawn() -> None:
    old, new = render_html(make_record()), render_html(RECORD)
    assert "<h2>Certificates</h2>" not in old
    assert "<h2>Loss against the tolerance</h2>" in old
    assert "<h2>Certificates</h2>" in new
    assert "<h2>Loss against the tolerance</h2>" not in new
    assert draw_certificates(()) is None


def test_a_metric_with_its_own_unit_is_not_told_in_points() -> None:
    certificate = replace(make_certificate(STATUS.CERTIFIED, order=1), metric="mae", margin=0.02, loss=0.012)
    evidence = make_evidence(4.0, make_quality(1.2, 0.5, metric="mae", higher_is_better=False))
    trial = make_trial(Precision.INT8, evidence=replace(evidence, certificate=certificate))
    record = make_record([make_reference(), trial], make_requirements("mae: 0.02"))
    (row,) = list_certified(record)
    assert (row.loss, row.margin) == ("0.0120", "0.0200")
    assert "pp" not in explain_guarantee(record, [row])


def test_a_bound_far_beyond_the_tolerance_leaves_it_readable() -> None:
    wide = make_certificate(STATUS.OPEN, make_looks(0.001, (3,), 3.0), order=1)
    record = replace(certify(wide), evaluation=replace(RECORD.evaluation, items=AVAILABLE))
    chart = draw_certificates(list_certified(record))
    assert chart is not None
    assert "tolerated 0.50 pp" in chart.wide
    texts = [text.strip() for text in ET.fromstring(chart.wide).itertext()]  # noqa: S314 our own text
    ticks = [float(text) for text in texts if re.fullmatch(r"\d+(\.\d+)?", text)]
    assert 0 < max(ticks) <= 20 * 100 * MARGIN
