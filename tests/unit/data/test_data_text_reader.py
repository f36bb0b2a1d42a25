"""Texts of files as token ids in batches of one length."""

import json
from pathlib import Path

import numpy as np
import pytest
from text_samples import WORDS, write_tokenizer

from assay.core.errors import DataError, RequestError
from assay.core.session import Dataset
from assay.core.tensor import Signature, TensorSpec
from assay.data.bucketing import BucketedDataset
from assay.data.cache import remember
from assay.data.lengths import Lengths
from assay.data.open import open_dataset
from assay.data.shuffle import shuffle
from assay.data.source import DataSource, Preprocess
from assay.data.subset import every
from assay.data.telling import tell_item
from assay.data.text_options import TextOptions, TokenRole

pytest.importorskip("tokenizers")

IDS = TensorSpec("input_ids", "int64", ("n", "t"), rows=len(WORDS))
MASK = TensorSpec("attention_mask", "int64", ("n", "t"))
TYPES = TensorSpec("token_type_ids", "int32", ("n", "t"))
MODEL = Signature((IDS, MASK, TYPES), ())
TEXTS = [(" ".join(["good"] * (1 + 7 * (index % 5))), index % 2) for index in range(23)]


def open_texts(path: Path, signature: Signature = MODEL, **keys: object) -> Dataset:
    target = str(keys.pop("target", "target"))
    apart = bool(keys.pop("apart", False))
    lengths = keys.pop("lengths", None)
    keys = {"max_length": 64, **keys}
    tokenizer = write_tokenizer(path.parent / "tokenizer.json")
    text = TextOptions(str(tokenizer), **keys)  # type: ignore[arg-type] # keys of a test
    assert lengths is None or isinstance(lengths, Lengths)
    source = DataSource(str(path), Preprocess(text=text, lengths=lengths), target=target, apart=apart)
    return open_dataset(source, signature)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "texts.csv"
    path.write_text("text,target\n" + "".join(f'"{text}",{label}\n' for text, label in TEXTS))
    return path


def check_items(dataset: Dataset) -> None:
    """Every item once, in a batch of its own length, with its own label."""
    places: list[int] = []
    for batch in dataset.batches(4):
        assert batch.places is not None
        assert batch.size <= 4
        for row, place in enumerate(batch.places.tolist()):
            words, label = TEXTS[place]
            length = int(batch.feeds["attention_mask"][row].sum())
            assert length == len(words.split()) + 2
            assert batch.feeds["input_ids"][row, :length].tolist() == [2, *[4] * (length - 2), 3]
            assert not batch.feeds["input_ids"][row, length:].any()
            assert batch.feeds["input_ids"].shape[1] == next(size for size in (16, 32, 64) if size >= length)
            assert batch.targets is not None
            assert batch.targets[row] == label
        places += batch.places.tolist()
    assert sorted(places) == list(range(len(TEXTS)))


def test_batches_hold_one_length_and_say_the_places_of_their_items(table: Path) -> None:
    dataset = open_texts(table)
    assert isinstance(dataset, BucketedDataset)
    assert dataset.rule == Lengths((16, 32, 64), (("input_ids", 0.0),), "attention_mask")
    check_items(dataset)
    check_items(remember(dataset, 1 << 20))
    check_items(every(dataset, range(len(dataset))))


def test_an_item_is_the_same_array_in_whatever_batch(table: Path) -> None:
    dataset = open_texts(table)
    alone = {batch.start: batch.feeds for batch in dataset.batches(1)}
    assert list(alone) == list(range(len(TEXTS)))
    for batch in dataset.batches(8):
        assert batch.places is not None
        for row, place in enumerate(batch.places.tolist()):
            for name, array in batch.feeds.items():
                np.testing.assert_array_equal(array[row], alone[place][name][0])


def test_a_part_counts_its_places_within_itself(table: Path) -> None:
    chosen = [2, 3, 7, 8, 12]
    found = {
        place: item
        for batch in every(open_texts(table), chosen).batches(2)
        for place, item in zip(batch.places.tolist(), batch.items.tolist(), strict=True)  # type: ignore[union-attr] # known
    }
    assert found == dict(enumerate(chosen))


def test_items_in_random_order_come_in_batches_of_one_length(table: Path) -> None:
    with shuffle(open_texts(table), 12, np.random.default_rng(0)) as shuffled:
        batches = list(shuffled.batches(3))
        for batch in batches:
            assert batch.places is not None
            assert batch.items is not None
            np.testing.assert_array_equal(batch.items, shuffled.order[batch.places])
        assert sum(batch.size for batch in batches) == 12
        parts = list(every(shuffled, [0, 3, 5]).batches(2))
        assert sorted(np.concatenate([p.items for p in parts if p.items is not None])) == sorted(
            shuffled.order[[0, 3, 5]]
        )


def test_lengths_are_those_that_items_are_run_in(table: Path) -> None:
    dataset = open_texts(table)
    assert isinstance(dataset, BucketedDataset)
    assert dataset.lengths[:5].tolist() == [16, 16, 32, 32, 32]
    assert dataset.kinds[:5].tolist() == [0, 0, 1, 1, 1]
    assert tell_item(dataset, 1) == TEXTS[1][0]


def test_too_long_texts_are_cut_and_counted_or_refused(table: Path) -> None:
    dataset = open_texts(table, max_length=20)
    assert isinstance(dataset, BucketedDataset)
    assert dataset.count_cut() == sum(len(text.split()) + 2 > 20 for text, _ in TEXTS)
    assert dataset.lengths.max() == 20
    refused = open_texts(table, max_length=20, truncate=False)
    with pytest.raises(DataError, match=r"item 3: column 'text' has 24 tokens, and the longest allowed has 20"):
        list(refused.batches(4))


def test_without_a_mask_only_texts_of_one_length_share_a_batch(table: Path) -> None:
    dataset = open_texts(table, Signature((IDS,), ()))
    assert isinstance(dataset, BucketedDataset)
    assert dataset.rule.buckets == ()
    assert {batch.feeds["input_ids"].shape[1] for batch in dataset.batches(4)} == {3, 10, 17, 24, 31}


def test_a_model_of_one_length_gets_texts_of_that_length(table: Path) -> None:
    fixed = Signature(tuple(TensorSpec(s.name, s.dtype, ("n", 24)) for s in MODEL.inputs), ())
    shapes = {batch.feeds["input_ids"].shape[1] for batch in open_texts(table, fixed, max_length=20).batches(4)}
    assert shapes == {24}
    with pytest.raises(RequestError, match="the model takes 24 tokens"):
        open_texts(table, fixed, max_length=32)


def test_declared_buckets_win(table: Path) -> None:
    dataset = open_texts(table, lengths=Lengths((40,)))
    assert {batch.feeds["input_ids"].shape[1] for batch in dataset.batches(4)} == {40}


def test_a_pair_is_one_row_and_texts_beside_are_rows_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [{"a": "good film", "b": "bad", "target": 4.5}, {"a": "a plot", "b": "dim scene and", "target": 1.0}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    paired = next(iter(open_texts(path, column="a", pair="b").batches(1)))
    assert paired.feeds["input_ids"][0, :6].tolist() == [2, 4, 18, 3, 10, 3]
    assert paired.feeds["token_type_ids"][0, :6].tolist() == [0, 0, 0, 0, 1, 1]
    assert paired.feeds["token_type_ids"].dtype == np.int32

    beside = next(iter(open_texts(path, column="a", beside=("b",)).batches(2)))
    assert (beside.size, beside.rows) == (2, 2)
    assert beside.feeds["input_ids"].shape == (4, 16)
    assert beside.feeds["input_ids"][:, 1].tolist() == [4, 10, 16, 15]
    assert beside.targets is not None
    assert beside.targets.tolist() == [4.5, 1.0]

    apart = open_texts(path, column="a", beside=("b",), apart=True)
    assert (len(apart), apart.labelled) == (4, False)
    assert [tell_item(apart, item) for item in range(4)] == ["good film", "bad", "a plot", "dim scene and"]


def test_names_of_classes_become_their_places(tmp_path: Path) -> None:
    path = tmp_path / "texts.tsv"
    path.write_text("review\tsense\ngood\tpos\nbad\tneg\n")
    dataset = open_texts(path, column="review", target="sense", classes=("neg", "pos"))
    assert [int(batch.targets[0]) for batch in dataset.batches(1) if batch.targets is not None] == [1, 0]
    with pytest.raises(DataError, match=r"item 0: the label 'pos' is none of preprocess.text.classes"):
        open_texts(path, column="review", target="sense", classes=("negative", "positive"))
    with pytest.raises(DataError, match=r"item 0: the label 'pos' in column 'sense' is no number"):
        open_texts(path, column="review", target="sense")


def test_plain_lines_have_no_labels(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("good film\nbad\n")
    dataset = open_texts(path)
    assert (len(dataset), dataset.labelled) == (2, False)


def test_a_parquet_column_of_texts(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "texts.parquet"
    parquet.write_table(pa.table({"text": ["good film", "bad"], "target": [1, 0]}), path)
    dataset = open_texts(path)
    assert (len(dataset), dataset.labelled) == (2, True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,target\ngood,1\n,0\n", r"item 1: column 'text' is an empty text"),
        ("text,target\ngood,1\n  ,0\n", r"item 1: column 'text' is an empty text"),
        ("texts,target\ngood,1\n", r"has no column 'text'; its columns are 'texts', 'target'"),
        ("text,target\ngood,1,2\n", r"line 2: 3 fields, and the first line names 2"),
        ("text,target\n", "holds zero items"),
        ("", "is empty"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "texts.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        open_texts(path)


def test_bad_lines_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    for content, message in (
        ('{"text": "good"}\n{"text": 3}\n', "item 1: column 'text' is int, no text"),
        ('{"text": "good"}\nnone\n', "line 2: no JSON"),
        ('{"text": "good"}\n{"words": "bad"}\n', "line 2 has no 'text'"),
        ("[]\n", "line 1 is no JSON object"),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=message):
            open_texts(path)


def test_a_token_that_the_model_does_not_know_names_the_item(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("text\ngood\nits\n")
    small = Signature((TensorSpec("input_ids", "int64", ("n", "t"), rows=8), MASK), ())
    with pytest.raises(DataError, match=r"item 1: input 'input_ids' holds 25, and the model's table has 8 rows"):
        list(open_texts(path, small).batches(2))


def test_inputs_tell_what_they_take_or_are_declared(table: Path) -> None:
    odd = Signature((TensorSpec("x", "int64", ("n", "t")), TensorSpec("y", "float32", ("n", "t"))), ())
    with pytest.raises(RequestError, match="nothing of a text is known to go into the model's input 'x'"):
        open_texts(table, odd)
    named = ((TokenRole.IDS, "x"), (TokenRole.MASK, "y"))
    batch = next(iter(open_texts(table, odd, inputs=named).batches(1)))
    assert batch.feeds["y"].dtype == np.float32
    with pytest.raises(RequestError, match="two inputs of the model look like ids"):
        open_texts(table, Signature((IDS, TensorSpec("token_ids", "int64", ("n", "t"))), ()))


def test_how_long_texts_may_be_must_be_known(table: Path) -> None:
    with pytest.raises(RequestError, match="nothing says how many tokens the model takes"):
        open_texts(table, max_length=None)


def test_the_fingerprint_is_of_the_content_and_the_tokenizer(table: Path, tmp_path: Path) -> None:
    before = open_texts(table).fingerprint
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (moved / "texts.csv").write_bytes(table.read_bytes())
    assert open_texts(moved / "texts.csv").fingerprint == before
    assert open_texts(table, max_length=20).fingerprint != before
