"""A small decoder with a cache, from texts to a certificate of its perplexity and what generating costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from decoder_samples import write_decoder, write_texts, write_tokenizer
from study_samples import Ran, call_assay, run_assay

EXAMPLE = Path(__file__).parents[2] / "examples" / "smollm2"
STUDY = """
model = "model.onnx"
output = "STUDY"
task = "language-model"
tolerance = "perplexity: 10%"
runtimes = ["onnxruntime"]
precisions = ["fp32", "int8"]
ranges = ["min-max"]
repairs = []
mixed_plans = 0
latency_seconds = 0.3

[evaluation]
path = "texts.jsonl"

[calibration]
path = "others.jsonl"

[preprocess.text]
tokenizer = "tokenizer.json"
max_length = 16
stride = 8

[generation]
contexts = [8, 24]
batches = [1, 2]
seconds = 0.2
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("language")
    rng = np.random.default_rng(0)
    write_decoder(made / "model.onnx", rng)
    write_tokenizer(made / "tokenizer.json")
    write_texts(made / "texts.jsonl", rng, 400, 24)
    write_texts(made / "others.jsonl", rng, 40)
    (made / "study.toml").write_text(STUDY, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def finished(folder: Path) -> dict[str, Any]:
    ran = run_assay("study", folder / "study.toml")
    assert ran.status == 0, ran.err
    document: dict[str, Any] = json.loads((folder / "STUDY" / "report.json").read_text(encoding="utf-8"))
    return document


def test_a_study_measures_perplexity_over_whole_texts(finished: dict[str, Any]) -> None:
    trials = {trial["id"]: trial for trial in finished["trials"]}
    reference = next(trial for trial in finished["trials"] if trial["reference"])
    assert reference["quality"]["metric"] == "perplexity"
    # Each text is one item, however many windows it is read in: a fifth is searched with, the others certify.
    assert reference["quality"]["n"] in (80, 400)
    assert 2 < reference["quality"]["value"] < 5000
    others = [trial for trial in trials.values() if not trial["reference"] and trial["quality"] is not None]
    assert others
    assert all(trial["quality"]["value"] != reference["quality"]["value"] for trial in others)


def test_a_study_tells_what_generating_costs(finished: dict[str, Any], folder: Path) -> None:
    measured = [trial for trial in finished["trials"] if trial["status"] == "ok"]
    assert len(measured) > 1
    for trial in measured:
        points = [(one["context"], one["batch"]) for one in trial["generation"]]
        assert points == [(8, 1), (8, 2), (24, 1), (24, 2)]
        last = trial["generation"][-1]
        # two layers, keys and values, two heads of 8, four bytes each
        assert last["cache_bytes"] == 2 * 24 * 2 * 2 * 2 * 8 * 4
        assert last["decode_tokens_per_s"]["value"] == pytest.approx(2000 / last["step_ms"]["value"], rel=0.2)
        assert last["peak_memory_bytes"] > 10 << 20
        assert (last["decode_gain"] is None) is (trial["precision"] == "fp32")
    report = (folder / "STUDY" / "report.md").read_text(encoding="utf-8")
    assert "## Generation" in report
    assert "decode, tokens/s" in report
    assert "Generation</h2>" in (folder / "STUDY" / "report.html").read_text(encoding="utf-8")


def test_a_finished_study_is_not_measured_again(finished: dict[str, Any], folder: Path) -> None:
    del finished
    ran = call_assay("study", folder / "study.toml")
    assert ran.status == 0, ran.err
    assert "nothing to do" in ran.err + ran.out


def run_study(folder: Path, name: str, keys: str) -> Ran:
    path = folder / f"{name}.toml"
    path.write_text(keys.replace('"STUDY"', f'"STUDY-{name}"'), encoding="utf-8")
    return call_assay("study", path)


@pytest.mark.slow
def test_token_ids_alone_are_enough(folder: Path) -> None:
    ids = np.random.default_rng(2).integers(0, 48, (30, 12))
    np.savez(folder / "ids.npz", input_ids=ids)
    keys = STUDY.partition("[calibration]")[0].replace("texts.jsonl", "ids.npz").replace('"fp32", "int8"', '"fp32"')
    ran = run_study(folder, "ids", keys + "[generation]\ncontexts = [4]\nseconds = 0.1\n")
    assert ran.status == 0, ran.err
    document = json.loads((folder / "STUDY-ids" / "report.json").read_text(encoding="utf-8"))
    assert document["trials"][0]["generation"][0]["context"] == 4


def test_a_token_out_of_the_vocabulary_is_refused(folder: Path) -> None:
    np.savez(folder / "beyond.npz", input_ids=np.full((30, 12), 49))
    keys = STUDY.partition("[calibration]")[0].replace("texts.jsonl", "beyond.npz")
    ran = run_study(folder, "beyond", keys)
    assert ran.status == 2
    assert "49" in ran.err
    assert "rows" in ran.err or "vocabulary" in ran.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("texts", "words"),
    [(["w1 w2 w3", ""], "item 1"), (["w1 w2 w3", "w4"], "no token that is predicted")],
)
def test_texts_without_anything_to_predict_are_refused(folder: Path, texts: list[str], words: str) -> None:
    lines = "".join(f"{json.dumps({'text': text})}\n" for text in [*texts, *["w1 w2"] * 300])
    (folder / "bad.jsonl").write_text(lines, encoding="utf-8")
    ran = run_study(folder, "bad", STUDY.replace("texts.jsonl", "bad.jsonl"))
    assert ran.status == 2
    assert words in ran.err


@pytest.mark.slow
def test_a_context_beyond_the_positions_is_refused(folder: Path) -> None:
    keys = STUDY.replace("contexts = [8, 24]", "contexts = [400]").replace('"fp32", "int8"', '"fp32"')
    ran = run_study(folder, "far", keys)
    assert ran.status != 0
    assert "400" in ran.err or "position_ids" in ran.err


@pytest.mark.slow
def test_the_example_reproduces_what_its_source_gives() -> None:
    model = EXAMPLE / "files" / "smollm2.onnx"
    if not model.exists():
        pytest.skip(f"{model} is not there: run python {EXAMPLE / 'fetch.py'} first")
    onnxruntime = pytest.importorskip("onnxruntime")
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer.from_file(str(EXAMPLE / "files" / "tokenizer.json"))
    text = "The capital of France is"
    session = onnxruntime.InferenceSession(str(model))
    ids = np.array([tokenizer.encode(text).ids])
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": np.arange(ids.shape[1])[np.newaxis]}
    feeds |= {
        one.name: np.zeros((1, 3, 0, 64), np.float32) for one in session.get_inputs() if one.name.startswith("past")
    }
    following = int(session.run(["logits"], feeds)[0][0, -1].argmax())
    assert tokenizer.decode([following]).strip() == "Paris"
