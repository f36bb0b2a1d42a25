"""Calls drawn from the data's own lengths."""

from pathlib import Path

import numpy as np
import pytest
from text_samples import write_text_model, write_texts, write_tokenizer

from assay.core.session import Dataset
from assay.core.tensor import Signature
from assay.data.open import open_dataset
from assay.data.source import DataSource, Preprocess
from assay.data.text_options import TextOptions
from assay.graph.ingest import load_model
from assay.graph.signature import describe_signature
from assay.studies.traffic import MOST_CALLS, draw_traffic, state_lengths

pytest.importorskip("tokenizers")


@pytest.fixture
def signature(tmp_path: Path) -> Signature:
    return describe_signature(load_model(write_text_model(tmp_path / "text.onnx", np.random.default_rng(0))))


def open_texts(folder: Path, signature: Signature, words: list[int], *, most: int = 64) -> Dataset:
    path = write_texts(folder / "texts.csv", [(" ".join(["film"] * count), 0) for count in words])
    text = TextOptions(str(write_tokenizer(folder / "tokenizer.json")), max_length=most)
    return open_dataset(DataSource(str(path), Preprocess(text=text)), signature)


def test_calls_are_as_frequent_in_each_length_as_items(tmp_path: Path, signature: Signature) -> None:
    dataset = open_texts(tmp_path, signature, [5] * 60 + [20] * 30 + [50] * 10)
    traffic = draw_traffic(dataset, 4)
    assert traffic is not None
    assert len(traffic.calls) == MOST_CALLS
    assert traffic.shares == {16: 0.6, 32: 0.3, 64: 0.1}
    for length, share in traffic.shares.items():
        assert traffic.lengths.count(length) / len(traffic.calls) == pytest.approx(share, abs=1 / MOST_CALLS)
    for feeds, length in zip(traffic.calls, traffic.lengths, strict=True):
        assert {array.shape for array in feeds.values()} == {(4, length)}
    assert traffic.typical["input_ids"].shape == (4, 16)
    assert traffic.lengths[:60] != tuple(sorted(traffic.lengths[:60]))


def test_the_draw_is_the_same_every_time(tmp_path: Path, signature: Signature) -> None:
    dataset = open_texts(tmp_path, signature, [5, 20, 50] * 9)
    one, other = draw_traffic(dataset, 2), draw_traffic(dataset, 2)
    assert one is not None
    assert other is not None
    assert one.lengths == other.lengths
    for first, second in zip(one.calls, other.calls, strict=True):
        np.testing.assert_array_equal(first["input_ids"], second["input_ids"])


def test_a_rare_length_repeats_its_items(tmp_path: Path, signature: Signature) -> None:
    traffic = draw_traffic(open_texts(tmp_path, signature, [5] * 9 + [50]), 8)
    assert traffic is not None
    rare = traffic.calls[traffic.lengths.index(64)]
    assert rare["input_ids"].shape == (8, 64)
    assert (rare["input_ids"] == rare["input_ids"][0]).all()


def test_equally_long_items_need_no_traffic(tmp_path: Path, signature: Signature) -> None:
    assert draw_traffic(open_texts(tmp_path, signature, [5, 6, 7]), 2) is None


def test_the_record_says_the_lengths(tmp_path: Path, signature: Signature) -> None:
    dataset = open_texts(tmp_path, signature, [5] * 3 + [20] * 2 + [60], most=40)
    traffic = draw_traffic(dataset, 2)
    assert traffic is not None
    stated = state_lengths(dataset, traffic)
    assert stated is not None
    assert stated.buckets == (16, 32, 40)
    assert stated.counts == ((16, 3), (32, 2), (40, 1))
    assert (stated.cut, stated.calls) == (1, MOST_CALLS)


def test_the_model_tells_which_tokens_it_knows(signature: Signature) -> None:
    assert [spec.rows for spec in signature.inputs] == [26, None]
