"""Sentence embeddings from a study to a release: what they retrieve, and how they agree with ratings of pairs."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr
from study_samples import Ran, call_assay, run_assay
from text_samples import NEGATIVE, PLAIN, POSITIVE, WORDS, write_text_model, write_tokenizer

pytest.importorskip("tokenizers")

EXAMPLE = Path(__file__).parents[2] / "examples" / "embeddings"
QUESTIONS, CANDIDATES, PAIRS = 300, 4, 400
BODIES = [f"body{place + 1}" for place in range(CANDIDATES)]
STUDY = """\
model = "encoder.onnx"
output = "{output}"
task = "embedding"
tolerance = "{tolerance}"
minimize = "size"
latency_seconds = 0.3
sequential = false
runtimes = ["onnxruntime"]
precisions = {precisions}
ranges = ["min-max"]
repairs = ["none"]
mixed_plans = 0

[calibration]
path = "{calibration}"

[evaluation]
path = "{evaluation}"

[preprocess.text]
tokenizer = "tokenizer.json"
max_length = 24
column = "{column}"
beside = {beside}
"""
Vectors = NDArray[np.float64]


def draw_words(rng: np.random.Generator, count: int) -> list[str]:
    found: list[str] = rng.choice(np.array([*POSITIVE, *NEGATIVE, *PLAIN]), count).tolist()
    return found


def ask(rng: np.random.Generator) -> dict[str, object]:
    """Some words of a body as the query, and the body among others."""
    bodies = [draw_words(rng, int(rng.integers(6, 20))) for _ in range(CANDIDATES)]
    own = int(rng.integers(CANDIDATES))
    query = rng.choice(np.array(bodies[own]), 5)
    row: dict[str, object] = {"query": " ".join(query)}
    row |= dict(zip(BODIES, map(" ".join, bodies), strict=True))
    return {**row, "target": [int(place == own) for place in range(CANDIDATES)]}


def write_rows(path: Path, rows: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return list(rows)


def embed(folder: Path, texts: Sequence[str]) -> Vectors:
    """Vectors ``[n, 32]``, text by text, without Assay."""
    session = onnxruntime.InferenceSession(folder / "encoder.onnx", providers=["CPUExecutionProvider"])
    found = []
    for text in texts:
        ids = np.array([[2, *(WORDS.index(word) for word in text.split()), 3]], np.int64)[:, :24]
        (vectors,) = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        found.append(vectors[0])
    vectors = np.array(found, np.float64)
    normed: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normed


def study(folder: Path, output: str, **keys: str) -> Ran:
    keys.setdefault("precisions", '["fp32", "int8"]')
    (folder / f"{output}.toml").write_text(STUDY.format(output=output, **keys))
    return call_assay("study", f"{output}.toml", "--json", cwd=folder)


def retrieve(folder: Path, output: str, tolerance: str, evaluation: str) -> Ran:
    """A study of questions with candidates."""
    named = {"calibration": "calibration.jsonl", "evaluation": evaluation, "column": "query"}
    return study(folder, output, tolerance=tolerance, beside=str(BODIES), **named)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder with its tokenizer and questions to calibrate with."""
    made = tmp_path_factory.mktemp("embeddings")
    rng = np.random.default_rng(4)
    write_text_model(made / "encoder.onnx", rng, head=False)
    write_tokenizer(made / "tokenizer.json")
    write_rows(made / "calibration.jsonl", [ask(rng) for _ in range(10)])
    return made


@pytest.fixture(scope="module")
def questions(folder: Path) -> list[dict[str, object]]:
    rng = np.random.default_rng(8)
    return write_rows(folder / "evaluation.jsonl", [ask(rng) for _ in range(QUESTIONS)])


@pytest.fixture(scope="module")
def retrieved(folder: Path, questions: list[dict[str, object]]) -> Ran:
    assert len(questions) == QUESTIONS
    ran = retrieve(folder, "RETRIEVED", "ndcg@10: 5pp", "evaluation.jsonl")
    assert ran.status == 0, ran.err
    return ran


def find_trials(ran: Ran) -> dict[str, dict[str, object]]:
    trials = ran.document["trials"]
    assert isinstance(trials, list)
    return {trial["id"]: trial for trial in trials}


def rank_own(folder: Path, rows: Sequence[dict[str, object]]) -> NDArray[np.int64]:
    """Rank of each question's own body, from 1 on."""
    texts = [str(row[name]) for row in rows for name in ("query", *BODIES)]
    vectors = embed(folder, texts).reshape(len(rows), CANDIDATES + 1, -1)
    near = np.einsum("qd,qcd->qc", vectors[:, 0], vectors[:, 1:])
    own = np.array([np.argmax(row["target"]) for row in rows])  # type: ignore[call-overload] # a list of relevances
    ranks: NDArray[np.int64] = 1 + (near > near[np.arange(len(rows)), own][:, None]).sum(axis=1)
    return ranks


def test_a_study_certifies_what_is_retrieved(folder: Path, questions: list[dict[str, object]], retrieved: Ran) -> None:
    trials = find_trials(retrieved)
    decision = retrieved.document["decision"]
    assert isinstance(decision, dict)
    assert "int8" in decision["chosen"]
    quality, certificate = trials[decision["chosen"]]["quality"], trials[decision["chosen"]]["certificate"]
    assert isinstance(quality, dict)
    assert isinstance(certificate, dict)
    assert certificate["status"] == "certified"
    # of the certification items, which are what was not searched on
    ranks = rank_own(folder, questions)
    whole = (1 / np.log2(1 + ranks)).mean()
    assert quality["reference"] == pytest.approx(whole, abs=0.04)
    assert 0.6 < whole < 0.99


def test_scores_of_every_item_are_those_of_the_cosines(
    folder: Path, questions: list[dict[str, object]], retrieved: Ran
) -> None:
    assert retrieved.status == 0
    ranks = rank_own(folder, questions)
    (path,) = (folder / "RETRIEVED").glob("measurements/*/scores/onnxruntime.fp32.npz")
    with np.load(path) as scores:
        # items are stored in the order that the study drew
        assert np.sort(scores["metric.recall@1"]) == pytest.approx(np.sort(ranks == 1).astype(float))
        assert np.sort(scores["metric.mrr"]) == pytest.approx(np.sort(1 / ranks))
        assert np.sort(scores["metric.ndcg@10"]) == pytest.approx(np.sort(1 / np.log2(1 + ranks)))


@pytest.mark.slow
def test_a_release_embeds_new_texts(folder: Path, retrieved: Ran, tmp_path: Path) -> None:
    assert retrieved.status == 0
    release = tmp_path / "release"
    assert run_assay("release", folder / "RETRIEVED", release).status == 0
    rng = np.random.default_rng(9)
    rows = write_rows(tmp_path / "new.jsonl", [ask(rng) for _ in range(12)])
    ran = run_assay("run", release, "--input", tmp_path / "new.jsonl", "--output", tmp_path / "out.npz")
    assert ran.status == 0, ran.err
    with np.load(tmp_path / "out.npz") as outputs:
        vectors = outputs["mean"].astype(np.float64)
    expected = embed(folder, [str(row[name]) for row in rows for name in ("query", *BODIES)])
    cosine = (vectors.reshape(expected.shape) * expected).sum(axis=1) / np.linalg.norm(vectors, axis=-1).reshape(-1)
    assert cosine.min() > 0.98


def test_ratings_of_pairs_are_correlated(folder: Path) -> None:
    rng = np.random.default_rng(3)
    pairs = [(" ".join(draw_words(rng, 6)), " ".join(draw_words(rng, 6))) for _ in range(PAIRS)]
    vectors = embed(folder, [text for pair in pairs for text in pair]).reshape(PAIRS, 2, -1)
    cosine = (vectors[:, 0] * vectors[:, 1]).sum(axis=1)
    ratings = cosine + rng.normal(0, 0.5 * cosine.std(), PAIRS)
    with (folder / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("one", "two", "target"))
        writer.writerows((*pair, rating) for pair, rating in zip(pairs, ratings, strict=True))
    named = {"calibration": "pairs.csv", "evaluation": "pairs.csv", "column": "one", "beside": '["two"]'}
    named["precisions"] = '["fp32"]'
    ran = study(folder, "RATED", tolerance="spearman: 5pp", **named)
    assert ran.status == 0, ran.err
    (path,) = (folder / "RATED").glob("measurements/*/scores/onnxruntime.fp32.npz")
    with np.load(path) as scores:
        found = scores["record.pairs"]
    drawn = np.abs(found[:, 1:] - ratings).argmin(axis=1)
    assert np.unique(drawn).size == len(found) >= PAIRS // 5
    assert found[:, 1] == pytest.approx(ratings[drawn])
    assert found[:, 0] == pytest.approx(cosine[drawn], abs=1e-5)
    quality = find_trials(ran)["onnxruntime.fp32"]["quality"]
    assert isinstance(quality, dict)
    assert quality["value"] == pytest.approx(spearmanr(cosine[drawn], ratings[drawn]).statistic, abs=1e-3)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ([1, 0, 0], "for items of 5 texts"),
        pytest.param(1, "for items of 5 texts", marks=pytest.mark.slow),
        pytest.param(None, "such as 'cosine'", marks=pytest.mark.slow),
    ],
)
def test_relevances_that_do_not_fit_are_refused(folder: Path, target: object, message: str) -> None:
    rng = np.random.default_rng(5)
    rows = [{**ask(rng), "target": target} for _ in range(QUESTIONS)]
    if target is None:
        rows = [{name: value for name, value in row.items() if name != "target"} for row in rows]
    write_rows(folder / "wrong.jsonl", rows)
    ran = retrieve(folder, "WRONG", "ndcg@10: 5pp", "wrong.jsonl")
    assert ran.status == 2
    assert message in " ".join(ran.err.split())


@pytest.mark.slow
def test_the_example_finds_what_its_source_states(tmp_path: Path) -> None:
    if not (EXAMPLE / "files" / "encoder.onnx").exists():
        pytest.skip("examples/embeddings/files is empty: run fetch.py there")
    brief = ("--precisions", "fp32,int8", "--runtimes", "onnxruntime", "--ranges", "mse", "--repairs", "none")
    ran = run_assay(
        *("study", EXAMPLE / "study.toml", "--latency-seconds", "5", *brief),
        *("--output", tmp_path / "STUDY", "--json"),
        limit_s=3600,
    )
    assert ran.status in {0, 10}, ran.err
    (path,) = (tmp_path / "STUDY").glob("measurements/*/scores/onnxruntime.fp32.npz")
    with np.load(path) as scores:
        assert scores["metric.recall@1"].mean() == pytest.approx(0.8637, abs=0.003)
        assert scores["metric.ndcg@10"].mean() == pytest.approx(0.9398, abs=0.001)
