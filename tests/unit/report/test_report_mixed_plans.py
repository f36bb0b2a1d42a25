from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from trial_samples import make_record

from assay.core.mixing import MixedPlan, MixedSearch
from assay.report.document import encode_document
from assay.report.html import render_html
from assay.report.markdown import render_markdown
from assay.report.mixed_plans import list_mixed
from assay.report.rows import list_rows
from assay.studies.record import StudyRecord


@pytest.fixture
def record() -> StudyRecord:
    """A study in which one INT8 form strained the tolerance, with two mixed plans of it."""
    made = make_record()
    base, first, second = [trial.id for trial in made.trials if trial.evidence is not None][:3]
    plans = (MixedPlan(first, 3, 4.25, 1e-3, 2e-3), MixedPlan(second, 1, 3.5, 0.0, 3e-3))
    search = MixedSearch(base, 17, 32, 19, 2e-2, 40, 4.2, plans, "its 2 plans are used up")
    return replace(made, mixed=(search,))


def test_a_plan_is_told_by_what_was_predicted_and_what_was_measured(record: StudyRecord) -> None:
    (table,) = list_mixed(record, list_rows(record))
    first, second = table.rows
    assert (first.kept, first.predicted, first.noise) == ("3 of 17", "4.25 ms", "30.0 dB")
    assert second.noise == "no noise"
    assert "19 passes of 32 items" in table.sentence
    assert "ended because its 2 plans are used up" in table.sentence


def test_page_markdown_and_json_tell_the_same(record: StudyRecord) -> None:
    for text in (render_html(record), render_markdown(record)):
        assert "Mixed plans" in text
        assert "3 of 17" in text
        assert "30.0 dB" in text
    document = msgspec.json.decode(encode_document(record))
    (search,) = document["mixed"]
    assert search["plans"][0] == {
        "trial": record.mixed[0].plans[0].trial,
        "groups_in_floats": 3,
        "predicted_ms": 4.25,
        "noise": 1e-3,
    }


def test_a_search_that_tried_nothing_says_why(record: StudyRecord) -> None:
    stopped = replace(record.mixed[0], plans=(), passes=0, stopped="it quantizes 1 group of nodes")
    text = render_markdown(replace(record, mixed=(stopped,)))
    assert "No mixed plan was tried: it quantizes 1 group of nodes." in text
    broken = replace(record.mixed[0], noise=-1.0)
    assert msgspec.json.decode(encode_document(replace(record, mixed=(broken,))))["mixed"][0]["noise"] is None


def test_a_study_without_a_search_has_no_such_section() -> None:
    assert "Mixed plans" not in render_html(make_record())
    assert "Mixed plans" not in render_markdown(make_record())
