"""Texts from a study to a release: tokenized, in batches of one length, timed as they come."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from study_samples import call_assay, run_assay
from text_samples import TextFiles, write_text_files, write_text_model, write_texts

pytest.importorskip("tokenizers")

ROOT = Path(__file__).parents[2]
STUDY = """\
model = "text.onnx"
output = "STUDY"
task = "classification"
tolerance = "top1: 15pp"
minimize = "size"
latency_seconds = 0.3
runtimes = ["onnxruntime"]
precisions = ["fp32", "int8"]
ranges = ["min-max"]
repairs = ["none"]
mixed_plans = 0
batch = 4

[calibration]
path = "calibration.csv"
items = 24

[evaluation]
path = "evaluation.csv"

[preprocess.text]
tokenizer = "tokenizer.json"
max_length = 48
"""


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> TextFiles:
    """A small text classifier with its study finished."""
    made = write_text_files(tmp_path_factory.mktemp("texts"))
    (made.folder / "study.toml").write_text(STUDY)
    ran = run_assay("study", "study.toml", cwd=made.folder)
    assert ran.status == 0, ran.err
    return made


def test_the_report_has_a_table_of_lengths_and_the_texts_that_broke(texts: TextFiles) -> None:
    document = json.loads((texts.folder / "STUDY" / "report.json").read_text())
    lengths = document["lengths"]
    assert lengths["buckets"] == [16, 32, 48]
    assert sum(count for _, count in lengths["counts"]) == 400
    assert lengths["cut"] > 0
    measured = [trial for trial in document["trials"] if trial["latency_ms"]]
    assert len(measured) > 1
    for trial in measured:
        table = trial["latency_ms"]["lengths"]
        assert [one["length"] for one in table] == [16, 32, 48]
        assert sum(one["share"] for one in table) == pytest.approx(1)
        assert sum(one["n"] for one in table) == trial["latency_ms"]["n"]
    report = (texts.folder / "STUDY" / "report.md").read_text()
    assert "## Latency by length" in report
    assert "p50 at 16" in report
    assert "max length 48" in report
    shown = [flip["text"] for flips in document["flips"].values() for flip in flips]
    with texts.evaluation.open() as file:
        known = {row["text"][:200] for row in csv.DictReader(file)}
    assert all(text[:200] in known for text in shown)


def test_a_release_takes_texts_with_its_own_tokenizer(texts: TextFiles, tmp_path: Path) -> None:
    release = tmp_path / "release"
    assert call_assay("release", texts.folder / "STUDY", release).status == 0
    assert (release / "tokenizer.json").read_bytes() == texts.tokenizer.read_bytes()
    assert call_assay("verify", release).status == 0
    with texts.evaluation.open() as file:
        rows = list(csv.DictReader(file))[:60]
    unlabelled = tmp_path / "new.txt"
    unlabelled.write_text("".join(f"{row['text']}\n" for row in rows))
    ran = run_assay("run", release, "--input", unlabelled, "--output", tmp_path / "out.npz")
    assert ran.status == 0, ran.err
    with np.load(tmp_path / "out.npz") as outputs:
        found = outputs["logits"].argmax(axis=1)
    # in the order of the file, though they ran by length
    assert np.mean(found == [int(row["target"]) for row in rows]) > 0.8


@pytest.mark.slow
def test_texts_are_compared_loaded_and_stored(texts: TextFiles, tmp_path: Path) -> None:
    folder = texts.folder
    pair = (f"{folder / 'STUDY'}:onnxruntime.fp32", str(texts.model))
    options = ("--task", "classification", "--tolerance", "top1: 15pp", "--config", "study.toml")
    compared = run_assay("compare", *pair, *options, "--evaluation", texts.evaluation, "--json", cwd=folder)
    assert compared.status == 0, compared.err
    loaded = run_assay(
        "load", pair[0], "--scenario", "single-stream", "--evaluation", texts.evaluation, "--seconds", "1", "--json"
    )
    # other processes may disturb the machine, which the answer says then; that it was measured is what counts here
    assert loaded.status in {0, 11}, loaded.err
    assert loaded.document["outcome"]
    made = run_assay(
        "calibration", "create", texts.calibration, "--model", texts.model, "--output", tmp_path / "SET",
        "--items", "20", "--study", folder / "study.toml",
    )  # fmt: skip
    assert made.status == 0, made.err
    with np.load(tmp_path / "SET" / "items.npz") as items:
        assert items["input_ids"].shape == (20, 48)
    again = STUDY.replace('"calibration.csv"\nitems = 24', f'"{tmp_path / "SET"}"').replace('"STUDY"', '"OTHER"')
    (folder / "again.toml").write_text(again)
    ran = run_assay("study", "again.toml", cwd=folder)
    assert ran.status == 0, ran.err


@pytest.mark.parametrize(
    ("texts_file", "said"),
    [
        ([("good film", 1), ("", 0)], "item 1: column 'text' is an empty text"),
        ([("good film", 1), ("bad film", 7)], "target of item 1 is 7"),
    ],
)
def test_bad_texts_are_refused_without_a_traceback(
    tmp_path: Path, texts_file: list[tuple[str, int]], said: str
) -> None:
    made = write_text_files(tmp_path, evaluated=8)
    write_texts(made.evaluation, texts_file * 30)
    (tmp_path / "study.toml").write_text(STUDY)
    ran = call_assay("study", "study.toml", cwd=tmp_path)
    assert ran.status != 0
    assert said in ran.err


def test_tokens_out_of_the_vocabulary_and_a_false_tokenizer_are_refused(tmp_path: Path) -> None:
    made = write_text_files(tmp_path, evaluated=40)
    write_text_model(made.model, np.random.default_rng(0), rows=12)
    (tmp_path / "study.toml").write_text(STUDY)
    ran = call_assay("study", "study.toml", cwd=tmp_path)
    assert ran.status != 0
    assert "and the model's table has 12 rows" in ran.err
    made.tokenizer.write_text("{}")
    ran = call_assay("study", "study.toml", cwd=tmp_path)
    assert ran.status != 0
    assert "is no tokenizer" in ran.err


@pytest.mark.slow
def test_the_sentiment_example_ends_in_a_decision(tmp_path: Path) -> None:
    folder = ROOT / "examples" / "sentiment"
    if not (folder / "files" / "sentiment.onnx").exists():
        pytest.skip("examples/sentiment/files is empty: run fetch.py there")
    quick = ("--latency-seconds", "20", "--output", tmp_path / "STUDY")
    ran = run_assay("study", folder / "study.toml", *quick, "--json", limit_s=3600)
    assert ran.status == 0, ran.err
    trials = ran.document["trials"]
    assert isinstance(trials, list)
    reference = next(trial for trial in trials if trial["reference"])
    assert reference["quality"]["value"] > 0.85
