from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from text_samples import write_tokenizer

from assay.core.errors import DataError
from assay.core.session import Dataset
from assay.core.tensor import Signature, TensorSpec
from assay.data.cache import remember
from assay.data.labels import read_labels
from assay.data.open import open_dataset
from assay.data.source import DataSource, Layout, Preprocess
from assay.data.text_options import TextOptions

MODEL = Signature((TensorSpec("x", "float32", ("n", 2)),), ())
PICTURES = Signature((TensorSpec("image", "float32", ("n", 3, 4, 4)),), ())
TEXTS = Signature(tuple(TensorSpec(name, "int64", ("n", "t")) for name in ("input_ids", "attention_mask")), ())
LABELS = [3, 1, 0, 2]
MODULE = """
import numpy as np

passes = 0
def items(labels=(3, 1, 0, 2)):
    global passes
    passes += 1
    for label in labels:
        yield {"x": np.zeros(2, np.float32), **({} if label is None else {"target": label})}
def partly(): return items((3, None, 0))
def uneven(): return items((3, [1, 2], 0))
def bare(): return items((None, None))
"""


def read_all(dataset: Dataset) -> list[object] | None:
    found = read_labels(dataset)
    return None if found is None else found.tolist()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    name = f"labelled_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return name


def test_labels_of_an_archive_are_read_under_their_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 2), np.float32), truth=LABELS)
    source = DataSource(str(tmp_path / "d.npz"), target="truth")
    assert read_all(open_dataset(source, MODEL)) == LABELS
    assert read_all(remember(open_dataset(replace(source, limit=3), MODEL), 1 << 20)) == LABELS[:3]
    np.savez(tmp_path / "bare.npz", x=np.zeros((4, 2), np.float32))
    assert read_labels(open_dataset(DataSource(str(tmp_path / "bare.npz")), MODEL)) is None


def open_pictures(folder: Path, names: tuple[str, ...]) -> Dataset:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / name)
    return open_dataset(DataSource(str(folder), preprocess=Preprocess(layout=Layout.NCHW, scale=255)), PICTURES)


def test_labels_of_a_folder_are_its_classes(tmp_path: Path) -> None:
    assert read_all(open_pictures(tmp_path, ("a/1.png", "b/1.png", "b2/1.png"))) == [0, 1, 2]


def test_images_without_classes_have_no_labels(tmp_path: Path) -> None:
    assert read_labels(open_pictures(tmp_path, ("1.png",))) is None


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow"])
@pytest.mark.parametrize("limit", [None, 3, 9])
def test_labels_of_a_table_are_read_alone(tmp_path: Path, name: str, limit: int | None) -> None:
    pa = pytest.importorskip("pyarrow")
    # behind the limit a row may lack its label, and is not looked at
    last = None if limit == 3 else LABELS[3]
    path = tmp_path / name
    table = pa.table({"x": [[0.0, 0.0]] * 4, "truth": [*LABELS[:3], last]})
    table = table.set_column(0, "x", table["x"].cast(pa.list_(pa.float32())))
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow.parquet").write_table(table, path, row_group_size=2)
    else:
        with pa.ipc.new_file(str(path), table.schema) as sink:
            sink.write_table(table, max_chunksize=2)
    source = DataSource(str(path), target="truth", limit=limit)
    assert read_all(open_dataset(source, MODEL)) == LABELS[:limit]
    if limit == 3:
        with pytest.raises(DataError, match="item 3: column 'truth' is empty"):
            read_labels(open_dataset(replace(source, limit=None), MODEL))


def test_labels_of_a_function_come_with_its_count(module: str) -> None:
    dataset = open_dataset(DataSource(f"{module}:items"), MODEL)
    assert len(dataset) == 4
    before = __import__(module).passes
    assert read_all(dataset) == LABELS
    assert __import__(module).passes == before
    assert read_all(open_dataset(DataSource(f"{module}:items", limit=2), MODEL)) == LABELS[:2]


@pytest.mark.parametrize("function", ["partly", "uneven", "bare"])
def test_labels_that_do_not_make_one_array_are_left_to_reading(module: str, function: str) -> None:
    assert read_labels(open_dataset(DataSource(f"{module}:{function}"), MODEL)) is None


def test_labels_of_texts_are_read_through_their_batches(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    tokenizer = write_tokenizer(tmp_path / "tokenizer.json")
    with (tmp_path / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "target"), *(("good film", label) for label in LABELS)])
    (tmp_path / "texts.jsonl").write_text(
        "".join(json.dumps({"text": "dull", "target": [one]}) + "\n" for one in LABELS)
    )
    preprocess = Preprocess(text=TextOptions(str(tokenizer), max_length=8))
    assert read_all(open_dataset(DataSource(str(tmp_path / "texts.csv"), preprocess=preprocess), TEXTS)) == LABELS
    source = DataSource(str(tmp_path / "texts.jsonl"), preprocess=preprocess, limit=3)
    assert read_all(open_dataset(source, TEXTS)) == [[one] for one in LABELS[:3]]
