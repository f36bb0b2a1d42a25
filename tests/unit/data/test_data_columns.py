from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from assay.core.errors import DataError, RequestError
from assay.core.tensor import Array, Signature, TensorSpec
from assay.data.batching import rebatch, slice_batch
from assay.data.cache import remember
from assay.data.open import open_dataset
from assay.data.seeking import read_columns
from assay.data.shuffle import shuffle
from assay.data.source import DataSource, Preprocess
from assay.data.subset import every

MODEL = Signature((TensorSpec("x", "float32", ("n", 2)),), ())
PICTURES = Signature((TensorSpec("x", "float32", ("n", 3, 4, 4)),), ())
X = np.arange(12, dtype=np.float32).reshape(6, 2)
CAMERA = np.array(["a", "b", "long name", "b", "a", "a"])
YEAR = np.array([2001, 2002, 2001, 2003, 2003, 2001])
ARRAYS: dict[str, Array] = {"x": X, "target": np.arange(6), "camera": CAMERA, "year": YEAR}
MODULE = """
import numpy as np
def items():
    for i, camera in enumerate(["a", "b", "long name"]):
        yield {"x": np.zeros(2, np.float32), "target": i, "camera": camera, "year": 2000 + i}
def some():
    yield {"x": np.zeros(2, np.float32), "target": 0, "camera": "a"}
    yield {"x": np.zeros(2, np.float32), "target": 0}
def mixed():
    yield {"x": np.zeros(2, np.float32), "target": 0, "camera": "a"}
    yield {"x": np.zeros(2, np.float32), "target": 0, "camera": 1}
def wide():
    yield {"x": np.zeros(2, np.float32), "target": 0, "camera": [1, 2]}
"""


def write(folder: Path, **changes: Array) -> str:
    np.savez(folder / "items.npz", **(ARRAYS | changes))
    return str(folder / "items.npz")


@pytest.fixture
def npz(tmp_path: Path) -> str:
    return write(tmp_path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name in ("cat/day/1.png", "cat/night/2.png", "dog/3.png"):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    return tmp_path / "pictures"


def gather(source: DataSource, model: Signature = MODEL, size: int = 2) -> dict[str, list[object]]:
    dataset = open_dataset(source, model)
    batches = list(dataset.batches(size))
    found = {name: [value for batch in batches for value in batch.columns[name].tolist()] for name in source.columns}
    assert {name: values.tolist() for name, values in read_columns(dataset).items()} == found
    return found


def test_columns_of_an_npz(npz: str) -> None:
    assert gather(DataSource(npz, columns=("year", "camera"))) == {"year": YEAR.tolist(), "camera": CAMERA.tolist()}


def test_nothing_is_read_that_is_not_declared(npz: str) -> None:
    dataset = open_dataset(DataSource(npz), MODEL)
    assert [dict(batch.columns) for batch in dataset.batches(6)] == [{}]
    assert read_columns(dataset) == {}


def test_columns_of_a_table(tmp_path: Path) -> None:
    columns = {"x": list(X), "target": list(range(6)), "camera": pa.array(CAMERA).dictionary_encode(), "year": YEAR}
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    source = DataSource(str(tmp_path / "a.parquet"), columns=("camera", "year", "target"))
    assert gather(source) == {"camera": CAMERA.tolist(), "year": YEAR.tolist(), "target": list(range(6))}


def test_columns_of_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "columned_items.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    source = DataSource("columned_items:items", columns=("camera", "year"))
    assert gather(source) == {"camera": ["a", "b", "long name"], "year": [2000, 2001, 2002]}
    with pytest.raises(
        DataError, match=r"columned_items:some, item 1 has no column 'camera'; its columns are 'target'"
    ):
        gather(DataSource("columned_items:some", columns=("camera",)))
    with pytest.raises(DataError, match="column 'camera' is int64 in columned_items:mixed, item 1"):
        gather(DataSource("columned_items:mixed", columns=("camera",)))
    with pytest.raises(DataError, match=r"column 'camera' of columned_items:wide, item 0 has the shape \[1, 2\]"):
        gather(DataSource("columned_items:wide", columns=("camera",)))


def test_columns_of_an_image_folder(pictures: Path) -> None:
    source = DataSource(str(pictures), Preprocess(), columns=("folder", "folder2"))
    assert gather(source, PICTURES) == {"folder": ["cat", "cat", "dog"], "folder2": ["day", "night", ""]}


def test_columns_of_tables_beside_the_images(pictures: Path) -> None:
    lines = ["file,label,hour", "dog/3.png,1,23", "cat/day/1.png,0,11", "cat/night/2.png,0,1"]
    (pictures / "labels.csv").write_text("\n".join(lines))
    (pictures / "slices.csv").write_text("file,camera\ncat/day/1.png,a\ncat/night/2.png,b\ndog/3.png,c\n")
    source = DataSource(str(pictures), Preprocess(), columns=("hour", "camera", "folder"))
    found = gather(source, PICTURES)
    assert found == {"hour": ["23", "11", "1"], "camera": ["c", "a", "b"], "folder": ["dog", "cat", "cat"]}
    (pictures / "slices.csv").write_text("file,camera\ncat/day/1.png,a\n")
    with pytest.raises(DataError, match=r"column 'camera' has no value for .*dog/3\.png"):
        gather(source, PICTURES)
    (pictures / "slices.csv").write_text("name,camera\n1,2\n")
    with pytest.raises(DataError, match="its first line must begin: file,"):
        gather(source, PICTURES)


def test_an_unknown_column_is_refused_with_those_there_are(npz: str, pictures: Path) -> None:
    with pytest.raises(
        DataError, match=r"no column 'kamera'; its columns are 'target', 'camera', 'year' \(did you mean 'cam"
    ):
        open_dataset(DataSource(npz, columns=("kamera",)), MODEL)
    with pytest.raises(DataError, match="no column 'camera'; its columns are 'folder', 'folder2'"):
        open_dataset(DataSource(str(pictures), Preprocess(), columns=("camera",)), PICTURES)
    with pytest.raises(RequestError, match="repeat"):
        DataSource(npz, columns=("year", "year"))


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (np.zeros((6, 2)), r"shape \[6, 2\] for 6 items"),
        (np.zeros(5), r"shape \[5\] for 6 items"),
        (np.zeros(6, complex), "type complex128"),
        (np.array([1, 2, np.nan, 4, 5, 6]), "item 2: column 'year' holds nan"),
    ],
)
def test_columns_hold_one_value_per_item(column: Array, told: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=told):
        gather(DataSource(write(tmp_path, year=column), columns=("year",)), size=4)


def test_spare_columns_are_welcome_beside_labels_only(tmp_path: Path) -> None:
    arrays = {name: value for name, value in ARRAYS.items() if name != "target"}
    np.savez(tmp_path / "unlabelled.npz", **arrays)
    with pytest.raises(DataError, match="holds 'camera', 'year', neither an input"):
        open_dataset(DataSource(str(tmp_path / "unlabelled.npz")), MODEL)
    with pytest.raises(DataError, match="holds 'other', neither an input"):
        open_dataset(DataSource(write(tmp_path, other=np.zeros((6, 2)))), MODEL)


def test_columns_change_no_fingerprint(tmp_path: Path) -> None:
    plain = open_dataset(DataSource(write(tmp_path)), MODEL).fingerprint
    assert open_dataset(DataSource(write(tmp_path), columns=("year",)), MODEL).fingerprint == plain
    assert open_dataset(DataSource(write(tmp_path, year=YEAR + 1), columns=("year",)), MODEL).fingerprint == plain


def test_columns_follow_their_items(npz: str) -> None:
    source = open_dataset(DataSource(npz, columns=("camera", "year")), MODEL)
    whole = next(source.batches(6))
    assert slice_batch(whole, 2, 4).columns["camera"].tolist() == ["long name", "b"]
    assert [batch.columns["year"].tolist() for batch in rebatch(source.batches(2), 4)] == [
        [2001, 2002, 2001, 2003],
        [2003, 2001],
    ]
    for dataset in (source, remember(source, 1 << 20)):
        part = every(dataset, [1, 2, 5])
        assert [batch.columns["camera"].tolist() for batch in part.batches(2)] == [["b", "long name"], ["a"]]
        assert read_columns(part)["year"].tolist() == [2002, 2001, 2001]
    with shuffle(source, 6, np.random.default_rng(3)) as mixed:
        batches = list(mixed.batches(4))
        assert [name for batch in batches for name in batch.columns["camera"].tolist()] == CAMERA[mixed.order].tolist()
        assert [item for batch in batches for item in np.asarray(batch.items).tolist()] == mixed.order.tolist()
        assert read_columns(mixed)["year"].tolist() == YEAR[mixed.order].tolist()
