"""How a language model generates, in every form of the report."""

from __future__ import annotations

import io
import json
from dataclasses import replace

from rich.console import Console
from trial_samples import make_record

from assay.core.estimate import Estimate
from assay.core.generation import Generation
from assay.report.console import print_study
from assay.report.document import encode_document
from assay.report.generation import explain_generated, list_generated
from assay.report.html import render_html
from assay.report.markdown import render_markdown
from assay.report.rows import list_rows
from assay.studies.record import StudyRecord


def estimate(value: float, unit: str) -> Estimate:
    return Estimate(value, value * 0.9, value * 1.1, 0.95, 20, unit)


def generate(context: int, *, cached: bool = True, gain: float | None = 2.5) -> Generation:
    return Generation(
        context=context,
        batch=2,
        first_token=estimate(500.0, "ms"),
        prefill=estimate(2048.0, "tokens/s"),
        step=estimate(20.0, "ms") if cached else None,
        decode=estimate(100.0, "tokens/s") if cached else None,
        gain=None if gain is None else estimate(gain, "1"),
        cache_bytes=3 << 20 if cached else 0,
        peak_memory_bytes=700 << 20,
    )


def make(*, cached: bool = True) -> StudyRecord:
    record = make_record()
    points = (generate(128, cached=cached, gain=2.5 if cached else None), generate(1024, cached=cached, gain=None))
    trials = tuple(
        trial if trial.evidence is None else replace(trial, evidence=replace(trial.evidence, generation=points))
        for trial in record.trials
    )
    return replace(record, trials=trials)


def test_lines_come_by_context_and_then_as_the_trials_stand() -> None:
    record = make()
    lines = list_generated(list_rows(record))
    measured = sum(trial.evidence is not None for trial in record.trials)
    assert [line.cells[0] for line in lines] == ["128"] * measured + ["1,024"] * measured
    assert [line.row.number for line in lines[:measured]] == sorted(line.row.number for line in lines[:measured])


def test_the_page_and_the_text_show_the_table() -> None:
    record = make()
    text, page = render_markdown(record), render_html(record)
    assert "## Generation" in text
    assert "100 (90.0 to 110)" in text
    assert "2.50x (2.25 to 2.75)" in text
    assert "Generation</h2>" in page
    assert "tokens/s" in page


def test_a_study_of_something_else_has_no_table() -> None:
    record = make_record()
    assert "Generation" not in render_markdown(record)
    assert "Generation" not in render_html(record)
    assert not list_generated(list_rows(record))


def test_without_a_cache_only_prompts_are_told() -> None:
    record = make(cached=False)
    lines = list_generated(list_rows(record))
    assert all(line.cells[4:8] == ("–",) * 4 for line in lines)  # noqa: RUF001 - the dash of an empty cell
    assert "cache" not in explain_generated(record, lines)
    told = explain_generated(make(), list_generated(list_rows(make())))
    assert "such a step with 128 tokens in the cache, at batch 4." in told


def test_the_json_has_units_in_its_names() -> None:
    document = json.loads(encode_document(make()))
    one = next(trial for trial in document["trials"] if trial["generation"])["generation"][0]
    assert one["context"] == 128
    assert one["first_token_ms"]["value"] == 500.0
    assert one["decode_tokens_per_s"]["low"] == 90.0
    assert one["decode_gain"]["value"] == 2.5
    assert one["cache_bytes"] == 3 << 20


def test_terminals_narrow_and_wide() -> None:
    for width, shown in ((80, "decode"), (160, "peak memory")):
        console = Console(file=io.StringIO(), width=width)
        print_study(make(), console)
        assert isinstance(console.file, io.StringIO)
        assert shown in console.file.getvalue()
