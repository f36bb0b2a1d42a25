"""Token ids by a tokenizer file, and files that are none."""

import json
from pathlib import Path

import numpy as np
import pytest

from assay.core.errors import DataError
from assay.data.tokenizing import load_tokenizer

tokenizers = pytest.importorskip("tokenizers")

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "a")


def write_tokenizer(path: Path, *, truncate: int | None = None, pad: bool = False) -> Path:
    """A tokenizer of whole words, with ``[CLS]`` and ``[SEP]`` around texts."""
    model = tokenizers.models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]")  # noqa: S106 - a token of texts
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    if truncate:
        tokenizer.enable_truncation(truncate)
    if pad:
        tokenizer.enable_padding(length=32, pad_id=7, pad_token="a")  # noqa: S106 - a token of texts
    tokenizer.save(str(path))
    return path


def test_the_files_own_padding_and_truncation_are_undone(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_tokenizer(tmp_path / "t.json", truncate=4, pad=True))
    assert tokenizer.encode("good bad film a a").ids.tolist() == [2, 4, 5, 6, 7, 7, 3]
    assert (tokenizer.longest, tokenizer.pad, tokenizer.vocabulary) == (4, 7, len(WORDS))


def test_a_known_token_fills_up_where_the_file_names_none(tmp_path: Path) -> None:
    assert load_tokenizer(write_tokenizer(tmp_path / "t.json")).pad == 0


def test_a_pair_has_two_types_and_its_longer_text_is_cut(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_tokenizer(tmp_path / "t.json"))
    both = tokenizer.encode("good film", "bad")
    assert both.ids.tolist() == [2, 4, 6, 3, 5, 3]
    assert both.types.tolist() == [0, 0, 0, 0, 1, 1]
    cut = tokenizer.encode("good film a a a", "bad", most=6)
    assert cut.ids.tolist() == [2, 4, 6, 3, 5, 3]
    # what was cut once is not cut the next time
    assert len(tokenizer.encode("good film a a a", "bad")) == 9


def test_plain_tokens_have_nothing_around_them_and_can_be_read_back(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_tokenizer(tmp_path / "t.json"))
    tokens = tokenizer.encode("good film", special=False)
    assert tokens.ids.dtype == np.int64
    assert tokenizer.decode(tokens.ids) == "good film"
    assert (tokenizer.find_id("[SEP]"), tokenizer.find_id("<bos>")) == (3, None)


@pytest.mark.parametrize("content", [b"{}", b"not json", b"\xff\xfe", json.dumps({"model": 1}).encode()])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is no tokenizer"):
        load_tokenizer(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_tokenizer(tmp_path / "tokenizer.json")
