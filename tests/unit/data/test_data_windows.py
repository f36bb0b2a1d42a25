"""Texts of a language model: windows, targets out of what is fed, and what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from decoder_samples import write_tokenizer

from assay.core.errors import DataError, RequestError
from assay.core.session import Batch, Dataset
from assay.core.tensor import Signature, TensorSpec
from assay.data.open import open_dataset
from assay.data.source import DataSource, Preprocess
from assay.data.text_options import TextOptions
from assay.data.tokenizing import Tokens
from assay.data.windows import divide
from assay.measure.tasks.language_model import LanguageModel

DECODER = Signature(
    (
        TensorSpec("input_ids", "int64", ("batch", "sequence")),
        TensorSpec("attention_mask", "int64", ("batch", "total")),
        TensorSpec("position_ids", "int64", ("batch", "sequence")),
        TensorSpec("past_key_values.0.key", "float32", ("batch", 2, "past", 8)),
        TensorSpec("past_key_values.0.value", "float32", ("batch", 2, "past", 8)),
    ),
    (TensorSpec("logits", "float32", ("batch", "sequence", 49)),),
)
TEXTS = ("w1 w2 w3 w4 w5 w6 w7", "w8 w9 w10", "w1 w2 w3 w4 w5")


def write(folder: Path, texts: tuple[str, ...] = TEXTS) -> Path:
    write_tokenizer(folder / "tokenizer.json")
    path = folder / "texts.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts), encoding="utf-8")
    return path


def open_texts(path: Path, max_length: int = 4, stride: int | None = None, *, truncate: bool = True) -> Dataset:
    options = TextOptions(str(path.parent / "tokenizer.json"), max_length=max_length, stride=stride, truncate=truncate)
    return open_dataset(DataSource(str(path), Preprocess(text=options)), DECODER, LanguageModel().make_targets)


def list_items(dataset: Dataset) -> list[Batch]:
    return list(dataset.batches(1))


def make_tokens(count: int) -> Tokens:
    return Tokens(np.arange(100, 100 + count), np.zeros(count, np.int64))


@pytest.mark.parametrize(
    ("count", "stride", "starts", "scored"),
    [
        (3, 4, [0], [[0, 1, 2]]),
        (4, 2, [0], [[0, 1, 2, 3]]),
        (8, 4, [0, 4], [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (7, 2, [0, 2, 3], [[0, 1, 2, 3], [4, 5], [6]]),
        (9, 4, [0, 4, 5], [[0, 1, 2, 3], [4, 5, 6, 7], [8]]),
    ],
)
def test_every_token_is_scored_once(count: int, stride: int, starts: list[int], scored: list[list[int]]) -> None:
    found = divide(make_tokens(count), 4, stride)
    assert [int(row.ids[0]) - 100 for row in found.rows] == starts
    assert [[int(token) - 100 for token in row if token >= 0] for row in found.targets] == scored
    assert all(len(row) == min(count, 4) for row in found.rows)


def test_a_text_in_windows_is_one_item(tmp_path: Path) -> None:
    items = list_items(open_texts(write(tmp_path), stride=2))
    assert [batch.rows for batch in items] == [3, 1, 2]
    assert [batch.size for batch in items] == [1, 1, 1]
    first = items[0]
    assert first.feeds["input_ids"].tolist() == [[1, 2, 3, 4], [3, 4, 5, 6], [4, 5, 6, 7]]
    assert first.targets is not None
    assert first.targets.tolist() == [[[1, 2, 3, 4], [-1, -1, 5, 6], [-1, -1, -1, 7]]]
    assert first.feeds["past_key_values.0.key"].shape == (3, 2, 0, 8)


def test_texts_of_different_windows_never_share_a_batch(tmp_path: Path) -> None:
    batches = list(open_texts(write(tmp_path), stride=2).batches(8))
    assert sorted((batch.rows, batch.size) for batch in batches) == [(1, 1), (2, 1), (3, 1)]


def test_short_texts_are_filled_up_and_what_fills_them_is_not_scored(tmp_path: Path) -> None:
    items = list_items(open_texts(write(tmp_path), max_length=16))
    assert [batch.feeds["input_ids"].shape for batch in items] == [(1, 16)] * 3
    second = items[1]
    assert second.targets is not None
    assert second.targets[0].tolist() == [8, 9, 10] + [-1] * 13
    assert second.feeds["attention_mask"].sum() == 3
    windows = list_items(open_texts(write(tmp_path), max_length=16, stride=8))
    assert windows[1].targets is not None
    np.testing.assert_array_equal(windows[1].targets, second.targets)


def test_longer_texts_are_cut_or_refused_without_a_stride(tmp_path: Path) -> None:
    path = write(tmp_path)
    cut = list_items(open_texts(path))
    assert cut[0].feeds["input_ids"].tolist() == [[1, 2, 3, 4]]
    with pytest.raises(DataError, match="7 tokens, and the longest allowed has 4"):
        list_items(open_texts(path, truncate=False))


def test_an_empty_text_and_one_of_a_single_token(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="item 1"):
        list_items(open_texts(write(tmp_path, ("w1 w2", " ")), stride=4))
    alone = list_items(open_texts(write(tmp_path, ("w1 w2", "w3"))))[1]
    logits = np.zeros((1, *alone.feeds["input_ids"].shape[1:], 49), np.float32)
    with pytest.raises(DataError, match="item 1 has no token that is predicted"):
        LanguageModel().check(DECODER, alone, {"logits": logits})


@pytest.mark.parametrize("stride", [0, 5])
def test_a_stride_must_lie_within_the_window(stride: int) -> None:
    with pytest.raises(RequestError, match=f"stride is {stride}"):
        TextOptions("tokenizer.json", max_length=4, stride=stride)


def test_ids_in_an_archive_need_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "ids.npz"
    np.savez(path, input_ids=np.array([[1, 2, 3], [4, 5, 6]]))
    found = open_dataset(DataSource(str(path)), DECODER, LanguageModel().make_targets)
    assert found.labelled
    batch = next(iter(found.batches(2)))
    assert batch.targets is not None
    assert batch.targets.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert batch.feeds["position_ids"].tolist() == [[0, 1, 2]] * 2
    assert not open_dataset(DataSource(str(path)), DECODER).labelled
