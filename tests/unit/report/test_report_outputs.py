from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from certificate_samples import CHOSEN, DEAD_CLASS, make_certified_record
from rich.cells import cell_len
from rich.console import Console
from trial_samples import make_quality, make_record, make_reference, make_trial

from assay.core.errors import StoreError
from assay.core.precision import Precision
from assay.data.source import Preprocess
from assay.report import cells
from assay.report.card import render_card
from assay.report.console import print_study
from assay.report.document import ShowDocument, encode_document, show_document
from assay.report.facts import data_facts, format_date, format_seconds
from assay.report.markdown import escape, render_markdown
from assay.report.rows import Standing, list_rows, list_warnings
from assay.report.table import tabulate_trials
from assay.report.write import write_report

RECORD = make_record()
CERTIFIED = make_certified_record()


def test_the_stable_interface_has_its_fields() -> None:
    document = msgspec.json.decode(encode_document(RECORD))
    assert document["schema"] == 1
    decision = document["decision"]
    assert decision["status"] == "chosen"
    assert decision["chosen"] == "openvino.int8-u8s8-chain-mse"
    assert decision["fallbacks"] == ["openvino.bf16", "openvino.fp32"]
    assert decision["sentence"].startswith("INT8 on openvino")
    trial = next(t for t in document["trials"] if t["id"] == decision["chosen"])
    assert (trial["runtime"], trial["precision"], trial["status"]) == ("openvino", "int8", "ok")
    quality = {"metric", "reference", "value", "difference", "low", "high", "n", "flips_lost", "flips_won"}
    assert quality <= trial["quality"].keys()
    assert {"p50", "p95", "p99", "n"} <= trial["latency_ms"].keys()
    assert trial["latency_ms"]["p50"] == 4.4
    assert trial["executed"] == {"int8": 0.98, "bf16": 0.0, "fp16": 0.0, "fp32": 0.02}
    numbers = ("throughput_per_s", "size_bytes", "peak_memory_bytes", "load_ms")
    assert all(isinstance(trial[name], int | float) for name in numbers)
    assert [t["id"] for t in document["trials"]] == [t.id for t in RECORD.trials]


def test_what_failed_has_its_reason_and_nulls() -> None:
    document = msgspec.json.decode(encode_document(RECORD))
    for status, text in (("failed", "NOT_IMPLEMENTED"), ("unsupported", "no BF16 kernels")):
        trial = next(t for t in document["trials"] if t["status"] == status)
        assert text in trial["reason"]
        measured = {
            name: value for name, value in trial.items() if name not in {"id", "runtime", "precision", "status"}
        }
        assert {k for k, v in measured.items() if v not in (None, [])} == {"reason", "reference"}
        assert {"quality", "latency_ms", "executed", "size_bytes"} <= measured.keys()


def test_json_without_numbers_stays_json() -> None:
    quality = replace(make_quality(), value=float("nan"), low=float("-inf"))
    record = make_record([make_reference(), make_trial(Precision.INT8, 4.0, quality)])
    document = msgspec.json.decode(encode_document(record), type=dict)
    assert document["trials"][1]["quality"]["value"] is None


def test_the_document_reads_back() -> None:
    assert msgspec.json.decode(encode_document(RECORD), type=ShowDocument) == show_document(RECORD)


def test_markdown_tables_have_even_rows_and_every_reason() -> None:
    text = render_markdown(RECORD)
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1
    for reason in RECORD.decision.reasons.values():
        assert escape(reason) in text
    for warning in RECORD.warnings:
        assert escape(warning) in text
    assert text.endswith("\n")
    assert "\n\n\n" not in text


def test_markdown_escapes_what_is_not_its_own() -> None:
    text = render_markdown(replace(RECORD, title="a|b *c* <i>\nd", machine={"x|y": "`z`"}))
    assert text.startswith("# a\\|b \\*c\\* \\<i\\> d\n")
    assert "x\\|y | \\`z\\`" in text


@pytest.mark.parametrize("width", [40, 72, 100, 160])
def test_the_terminal_is_never_overrun(width: int) -> None:
    stream = io.StringIO()
    print_study(RECORD, Console(file=stream, width=width, color_system=None))
    lines = stream.getvalue().splitlines()
    assert max(cell_len(line.rstrip()) for line in lines) <= width
    text = " ".join(stream.getvalue().split())
    assert text.startswith("CHOSEN INT8 on openvino is 9.09x as fast")
    for part in ("4.40 ms", "9.09x", "undecided", "NOT_IMPLEMENTED"):
        assert part in text


def test_markup_in_names_is_not_interpreted() -> None:
    stream = io.StringIO()
    record = replace(RECORD, warnings=("[bold]x[/bold] [/red]",))
    print_study(record, Console(file=stream, width=200, color_system=None))
    assert "[bold]x[/bold] [/red]" in stream.getvalue()


def test_rows_are_numbered_from_the_best_and_end_with_the_missing() -> None:
    rows = list_rows(RECORD)
    assert [row.number for row in rows] == list(range(1, len(RECORD.trials) + 1))
    assert rows[1].standing is Standing.CHOSEN
    assert [row.standing for row in rows[-2:]] == [Standing.MISSING, Standing.MISSING]
    latencies = [r.trial.evidence.latency.p50.value for r in rows if r.trial.evidence]
    assert latencies == sorted(latencies)


def test_a_flag_that_a_warning_repeats_is_told_once() -> None:
    rows = list_rows(RECORD)
    flags = [(t.id, flag) for t in RECORD.trials if t.evidence for flag in t.evidence.flags]
    assert len(flags) == 2
    assert len(list_warnings(RECORD, rows)) == len(RECORD.warnings) + 2
    told = replace(RECORD, warnings=tuple(f"{name}: {flag}" for name, flag in flags))
    assert list_warnings(told, rows) == told.warnings


def test_files_are_written_whole_and_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "report"
    paths = write_report(RECORD, folder)
    assert [path.name for path in paths] == ["report.html", "report.md", "report.json"]
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json", "report.md"]
    assert paths[0].read_text(encoding="utf-8").startswith("<!doctype html>")
    paths[1].write_text("old")
    write_report(RECORD, folder)
    assert paths[1].read_text(encoding="utf-8") == render_markdown(RECORD)
    assert len(list(folder.iterdir())) == 3


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="file"):
        write_report(RECORD, tmp_path / "file" / "report")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (format_seconds(12.4), "12 s"),
        (format_seconds(142.0), "2 min 22 s"),
        (format_date("2026-03-01T10:30:00+01:00"), "2026-03-01 09:30 UTC"),
        (format_date("yesterday"), "yesterday"),
        (cells.format_share(1.0), "100%"),
        (cells.format_share(0.9999), "100%"),
        (cells.format_share(0.996), "99%"),
        (cells.format_share(0.02), "2%"),
    ],
)
def test_cells_in_words(said: str, meant: str) -> None:
    assert said == meant


def test_declared_preprocessing_is_told_without_the_defaults() -> None:
    plain = dict(data_facts(RECORD))
    declared = dict(data_facts(replace(RECORD, preprocess=Preprocess(scale=255.0, mean=(0.4, 0.5), crop=224))))
    assert plain["preprocessing"] == "none declared"
    assert declared["preprocessing"] == "crop 224, scale 255.0, mean 0.4 0.5"


def test_certificates_plan_slices_and_flips_are_in_the_document() -> None:
    document = msgspec.json.decode(encode_document(CERTIFIED))
    certificates = {trial["id"]: trial["certificate"] for trial in document["trials"]}
    assert certificates["openvino.fp32"] is None
    chosen = certificates[CHOSEN]
    assert (chosen["status"], chosen["design"], chosen["order"]) == ("certified", "sequential", 2)
    assert (chosen["n"], chosen["available"], chosen["margin"]) == (4800, 9000, 0.005)
    assert [look["n"] for look in chosen["looks"]] == [300, 600, 1200, 2400, 4800]
    dead = certificates[DEAD_CLASS]["slices"][0]
    assert (dead["column"], dead["value"], dead["status"], dead["n"]) == ("class", "6", "worse", 873)
    assert document["plan"]["items"] == 7721
    assert len(document["flips"][DEAD_CLASS]) == 8
    assert document["flips"][CHOSEN][0].keys() == {"item", "target", "before", "after", "harm", "certainty", "text"}


def test_an_older_record_has_neither() -> None:
    document = msgspec.json.decode(encode_document(RECORD))
    assert document["plan"] is None
    assert document["flips"] == {}
    assert all(trial["certificate"] is None for trial in document["trials"])


def test_certificates_read_back_even_with_bounds_that_say_nothing() -> None:
    trial = CERTIFIED.trials[1]
    assert trial.evidence is not None
    assert trial.evidence.certificate is not None
    endless = replace(trial.evidence.certificate, high=float("inf"))
    record = replace(CERTIFIED, trials=(replace(trial, evidence=replace(trial.evidence, certificate=endless)),))
    document = msgspec.json.decode(encode_document(record), type=ShowDocument)
    assert document == show_document(record)
    assert document.trials[0].certificate is not None
    assert document.trials[0].certificate.high is None
    assert document.trials[0].certificate.low is not None


def test_markdown_has_the_certificates_and_names_the_class() -> None:
    text = render_markdown(CERTIFIED)
    for part in ("## Certificates", "worse in class 6", "4,800 of 9,000", "## Parts of the items", "## What broke"):
        assert part in text
    assert "7,721 (for a chance of 80%)" in text
    plain = render_markdown(RECORD)
    assert not any(part in plain for part in ("## Certificates", "## Parts", "## What broke", "## How many items"))


@pytest.mark.parametrize("width", [40, 72, 100, 160])
def test_certificates_fit_the_terminal(width: int) -> None:
    stream = io.StringIO()
    print_study(CERTIFIED, Console(file=stream, width=width, color_system=None))
    lines = stream.getvalue().splitlines()
    assert max(cell_len(line.rstrip()) for line in lines) <= width
    text = " ".join(stream.getvalue().split())
    for part in ("worse in class 6", "untested", "plan: items needed: 7,721", "what broke in"):
        assert part in text


def test_a_card_states_what_was_certified_of_what_is_released() -> None:
    trials = {trial.id: trial for trial in CERTIFIED.trials}
    text = render_card(CERTIFIED, (trials[CHOSEN], trials["openvino.fp32"]))
    assert f"- `{CHOSEN}`: certified: loss 0.10 pp" in text
    assert "over 4,800 of 9,000 items" in text
    assert "  - class 9: certified" in text
    assert "## Sample plan" in text
    assert "item 137: right answer shirt" in text
    assert DEAD_CLASS not in text
    plain = render_card(RECORD, (RECORD.trials[0],))
    assert "## Certificates" not in plain


def test_flat_rows_hold_the_certificate() -> None:
    rows = {str(row["id"]): row for row in tabulate_trials(CERTIFIED)}
    assert rows[DEAD_CLASS]["certificate"] == "worse"
    assert rows[DEAD_CLASS]["worst_slice"] == "class 6"
    assert rows["openvino.fp32"]["certificate"] is None
    assert {frozenset(row) for row in rows.values()} == {frozenset(rows[CHOSEN])}
