"""Latency by length in the report and in the JSON."""

from dataclasses import replace

import pytest
from trial_samples import make_percentile, make_record

from assay.core.estimate import Estimate
from assay.core.item_lengths import ItemLengths
from assay.core.trial import LengthLatency
from assay.report.document import show_document
from assay.report.html import render_html
from assay.report.lengths import explain_lengths, tabulate_lengths
from assay.report.markdown import render_markdown
from assay.report.rows import list_rows
from assay.studies.record import StudyRecord

LENGTHS = ItemLengths((16, 64), ((16, 30), (64, 10)), cut=2, seed=0, calls=256)


def part(length: int, share: float, ms: float, speedup: float) -> LengthLatency:
    ratio = Estimate(speedup, speedup * 0.9, speedup * 1.1, 0.95, 90, "1")
    return LengthLatency(length, share, 90, make_percentile(ms), ratio)


@pytest.fixture
def record() -> StudyRecord:
    plain = make_record()
    trials = []
    for trial in plain.trials:
        if trial.evidence is None:
            trials.append(trial)
            continue
        parts = (part(16, 0.75, 1.5, 1.2), part(64, 0.25, 6.0, 3.4))
        latency = replace(trial.evidence.latency, lengths=parts)
        trials.append(replace(trial, evidence=replace(trial.evidence, latency=latency)))
    return replace(plain, trials=tuple(trials), lengths=LENGTHS)


def test_the_table_has_a_column_for_each_length_and_a_line_for_each_variant(record: StudyRecord) -> None:
    table = tabulate_lengths(record, list_rows(record))
    assert table.header == ("#", "variant", "p50 at 16 (75% of items)", "p50 at 64 (25% of items)")
    assert len(table.lines) == sum(trial.evidence is not None for trial in record.trials)
    reference = next(line for line in table.lines if line.row.trial.reference)
    other = next(line for line in table.lines if not line.row.trial.reference)
    assert reference.line[2:] == ("1.50 ms", "6.00 ms")
    assert other.line[2:] == ("1.50 ms (1.20x)", "6.00 ms (3.40x)")


def test_the_sentence_says_how_items_became_calls() -> None:
    text = explain_lengths(LENGTHS)
    assert "Items were filled up to 16, 64" in text
    assert "256 calls" in text
    assert text.endswith("2 items were longer than allowed and cut.")
    assert explain_lengths(replace(LENGTHS, buckets=(), cut=1)).startswith("Items were run in their own lengths")


def test_all_reports_have_it_and_only_where_items_differ(record: StudyRecord) -> None:
    document = show_document(record)
    assert document.lengths is not None
    assert document.lengths.counts == ((16, 30), (64, 10))
    first = next(trial for trial in document.trials if trial.latency_ms is not None)
    assert first.latency_ms is not None
    assert [(one.length, one.p50, one.speedup) for one in first.latency_ms.lengths] == [(16, 1.5, 1.2), (64, 6.0, 3.4)]
    for render in (render_html, render_markdown):
        assert "Latency by length" in render(record)
        assert "Latency by length" not in render(make_record())
    assert show_document(make_record()).lengths is None
