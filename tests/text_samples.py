"""A small text classifier with its tokenizer and labelled texts of different lengths, made in a moment."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
POSITIVE = ("good", "great", "fine", "lovely", "warm", "bright")
NEGATIVE = ("bad", "poor", "dull", "awful", "cold", "dim")
PLAIN = ("a", "the", "film", "plot", "scene", "and", "is", "with", "of", "its")
WORDS = (*SPECIAL, *POSITIVE, *NEGATIVE, *PLAIN)
WIDTH = 32


@dataclass(frozen=True)
class TextFiles:
    """Where everything lies."""

    folder: Path
    model: Path
    tokenizer: Path
    calibration: Path
    evaluation: Path


def write_tokenizer(path: Path) -> Path:
    """A tokenizer of whole words, with ``[CLS]`` and ``[SEP]`` around texts."""
    import tokenizers  # noqa: PLC0415 - an extra

    words = {word: index for index, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))  # noqa: S106 - a token
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(path))
    return path


def write_text_model(path: Path, rng: np.random.Generator, *, rows: int = len(WORDS), head: bool = True) -> Path:
    """Words looked up, two layers on each, their mean over the mask, and logits ``[n, 2]``: more good words or bad.

    Args:
        path: of the ONNX file.
        rng: draws what does not matter.
        rows: words that the model knows.
        head: else the mean itself comes out, ``[n, 32]``.
    """
    words = rng.normal(0, 0.3, (rows, WIDTH)).astype(np.float32)
    sense = np.zeros(rows)
    sense[: len(WORDS)] = [(word in POSITIVE) - 1.0 * (word in NEGATIVE) for word in WORDS][:rows]
    words[:, 0] = 2 * sense
    first = np.concatenate([np.eye(WIDTH), rng.normal(0, 0.1, (WIDTH, WIDTH))], axis=1).astype(np.float32)
    second = np.concatenate([np.eye(WIDTH), rng.normal(0, 0.02, (WIDTH, WIDTH))]).astype(np.float32)
    last = np.zeros((WIDTH, 2), np.float32)
    last[0] = (-1, 1)
    stored = {"words": words, "first": first, "second": second, "last": last, "at": np.array([-1], np.int64)}
    stored |= {"axis": np.array([1], np.int64)}
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["looked"], name="look"),
        helper.make_node("MatMul", ["looked", "first"], ["wide"], name="widen"),
        helper.make_node("Tanh", ["wide"], ["bent"], name="bend"),
        helper.make_node("MatMul", ["bent", "second"], ["hidden"], name="narrow"),
        helper.make_node("Cast", ["attention_mask"], ["present"], name="present", to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["present", "at"], ["column"], name="column"),
        helper.make_node("Mul", ["hidden", "column"], ["kept"], name="keep"),
        helper.make_node("ReduceSum", ["kept", "axis"], ["total"], name="add", keepdims=0),
        helper.make_node("ReduceSum", ["column", "axis"], ["count"], name="count", keepdims=0),
        helper.make_node("Div", ["total", "count"], ["mean"], name="divide"),
    ]
    if head:
        nodes.append(helper.make_node("MatMul", ["mean", "last"], ["logits"], name="judge"))
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    name, width = ("logits", 2) if head else ("mean", WIDTH)
    output = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
    initializers = [numpy_helper.from_array(array, name) for name, array in stored.items() if head or name != "last"]
    graph = helper.make_graph(nodes, "text", inputs, [output], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def draw_texts(rng: np.random.Generator, count: int) -> list[tuple[str, int]]:
    """Texts of 1 to 60 words, and whether more of them are good than bad; a few labels are wrong."""
    found = []
    for _ in range(count):
        length = int(np.clip(rng.geometric(0.06), 1, 60))
        words = rng.choice(np.array([*POSITIVE, *NEGATIVE, *PLAIN]), length).tolist()
        balance = sum((word in POSITIVE) - (word in NEGATIVE) for word in words)
        label = int(balance > 0) if balance else int(rng.integers(2))
        found.append((" ".join(words), label))
    return found


def write_texts(path: Path, texts: list[tuple[str, int]]) -> Path:
    """A CSV file with the columns ``text`` and ``target``."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "target"))
        writer.writerows(texts)
    return path


def write_text_files(folder: Path, evaluated: int = 400) -> TextFiles:
    """The model, its tokenizer, 60 texts for calibration and some to evaluate on."""
    rng = np.random.default_rng(5)
    return TextFiles(
        folder=folder,
        model=write_text_model(folder / "text.onnx", rng),
        tokenizer=write_tokenizer(folder / "tokenizer.json"),
        calibration=write_texts(folder / "calibration.csv", draw_texts(rng, 60)),
        evaluation=write_texts(folder / "evaluation.csv", draw_texts(rng, evaluated)),
    )
