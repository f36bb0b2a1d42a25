from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import feather, parquet

from assay.core.errors import DataError, RequestError
from assay.core.session import Batch, Dataset
from assay.core.tensor import Signature, TensorSpec
from assay.data.open import open_dataset
from assay.data.source import DataSource, Preprocess

MODEL = Signature((TensorSpec("age", "int64", ("n",)), TensorSpec("tokens", "int64", ("n", "seq"))), ())
VECTOR = Signature((TensorSpec("x", "float32", ("n", 2, 3)),), ())
AGES = [31, 32, 33, 34, 35]
TOKENS = [[1, 2, 3], [4, 5, 6], [7, 8, 9], [1, 1, 1], [2, 2, 2]]


def rows(**changes: object) -> pa.Table:
    columns: dict[str, object] = {"id": list("abcde"), "age": AGES, "tokens": TOKENS, "target": [0, 1, 0, 1, 1]}
    return pa.table({**columns, **changes})


def write(path: Path, table: pa.Table) -> str:
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=2)
    elif path.suffix == ".feather":
        feather.write_feather(table, str(path), chunksize=2)
    elif path.stem == "stream":
        with pa.ipc.new_stream(str(path), table.schema) as sink:
            sink.write_table(table, max_chunksize=2)
    else:
        with pa.ipc.new_file(str(path), table.schema) as sink:
            sink.write_table(table, max_chunksize=2)
    return str(path)


def open_rows(path: Path, table: pa.Table, signature: Signature = MODEL, **options: object) -> Dataset:
    return open_dataset(DataSource(write(path, table), **options), signature)  # type: ignore[arg-type] # keywords of the case


def whole(dataset: Dataset) -> Batch:
    return next(dataset.batches(len(dataset)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rows.parquet"


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow", "stream.arrow", "rows.feather"])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_rows_become_batches_of_any_size(tmp_path: Path, name: str, size: int) -> None:
    dataset = open_rows(tmp_path / name, rows())
    batches = list(dataset.batches(size))
    assert [batch.start for batch in batches] == list(range(0, 5, size))
    np.testing.assert_array_equal(np.concatenate([batch.feeds["age"] for batch in batches]), AGES)
    np.testing.assert_array_equal(np.concatenate([batch.feeds["tokens"] for batch in batches]), TOKENS)
    np.testing.assert_array_equal(np.concatenate([batch.targets for batch in batches]), [0, 1, 0, 1, 1])
    assert len(dataset) == 5
    assert batches[0].feeds["age"].flags.writeable


def test_nested_fixed_size_lists(file: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    column = pa.array(values.tolist(), pa.list_(pa.list_(pa.float32(), 3), 2))
    np.testing.assert_array_equal(whole(open_rows(file, pa.table({"x": column}), VECTOR)).feeds["x"], values)


def test_flat_lists_take_the_models_shape(file: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    column = pa.array(values.reshape(2, 6).tolist(), pa.list_(pa.float32()))
    np.testing.assert_array_equal(whole(open_rows(file, pa.table({"x": column}), VECTOR)).feeds["x"], values)


def test_tensors_of_a_fixed_shape(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    table = pa.table({"x": pa.FixedShapeTensorArray.from_numpy_ndarray(values)})
    np.testing.assert_array_equal(whole(open_rows(tmp_path / "rows.arrow", table, VECTOR)).feeds["x"], values)


def test_sliced_lists_keep_their_rows(tmp_path: Path) -> None:
    column = pa.array(TOKENS, pa.list_(pa.int64(), 3))
    table = pa.table({"age": AGES, "tokens": column})
    batches = list(open_rows(tmp_path / "rows.arrow", table).batches(1))
    np.testing.assert_array_equal(batches[3].feeds["tokens"], [[1, 1, 1]])


def test_dictionary_columns_are_decoded(file: Path) -> None:
    table = rows(age=pa.array(AGES).dictionary_encode())
    np.testing.assert_array_equal(whole(open_rows(file, table)).feeds["age"], AGES)


def encoded(value: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (6, 4), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("shape", ["binary", "struct"])
def test_encoded_images_are_decoded(file: Path, shape: str) -> None:
    contents = [encoded(value) for value in (10, 20, 30)]
    column = contents if shape == "binary" else [{"bytes": content, "path": "a"} for content in contents]
    signature = Signature((TensorSpec("image", "float32", ("n", 3, 2, 3)),), ())
    dataset = open_rows(file, pa.table({"image": column}), signature, preprocess=Preprocess(resize=(3, 2)))
    assert [int(batch.feeds["image"][0, 0, 0, 0]) for batch in dataset.batches(1)] == [10, 20, 30]


def test_encoded_images_without_preprocessing(file: Path) -> None:
    signature = Signature((TensorSpec("image", "float32", ("n", 3, 2, 3)),), ())
    with pytest.raises(RequestError, match="declare preprocess"):
        open_rows(file, pa.table({"image": [encoded(1)]}), signature)


def test_damaged_image_names_its_row(file: Path) -> None:
    signature = Signature((TensorSpec("image", "float32", ("n", 3, 2, 3)),), ())
    table = pa.table({"image": [encoded(1), b"damaged"]})
    dataset = open_rows(file, table, signature, preprocess=Preprocess(resize=(3, 2)))
    with pytest.raises(DataError, match=r"rows\.parquet, item 1: column 'image' is not an image"):
        list(dataset.batches(1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"age": [31, None, 33, 34, 35]}, "item 1: column 'age' is empty"),
        ({"target": [0, 1, None, 1, 1]}, "item 2: column 'target' is empty"),
        ({"tokens": [[1, 2], [3, 4], [5, None], [1, 1], [2, 2]]}, "item 2: column 'tokens' is empty"),
        ({"tokens": [[1, 2], [3], [5, 6], [1, 1], [2, 2]]}, "item 1: column 'tokens' has 1 elements, .*item 0.* 2"),
        ({"age": list("abcde")}, "column 'age' has the type string"),
        ({"target": list("abcde")}, "column 'target' has the type string"),
        ({"age": [0.5] * 5}, "input 'age' has the type double|input 'age' has the type float64"),
        ({"tokens": AGES}, r"input 'tokens' has the shape \[\]"),
    ],
)
def test_rows_that_do_not_fit(file: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(open_rows(file, rows(**changes)).batches(5))


def test_missing_column_names_the_nearest(file: Path) -> None:
    with pytest.raises(DataError, match=r"'age'; it holds .*rename 'aged' to 'age'"):
        open_rows(file, rows().rename_columns(["id", "aged", "tokens", "target"]))


def test_misspelt_target(file: Path) -> None:
    with pytest.raises(DataError, match="typo of 'target'"):
        open_rows(file, rows().rename_columns(["id", "age", "tokens", "targets"]))


def test_zero_rows(file: Path) -> None:
    with pytest.raises(DataError, match="zero items"):
        open_rows(file, rows().slice(0, 0))


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow", "stream.arrow", "rows.feather"])
def test_truncated_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write(path, rows())
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match=rf"{path.name} cannot be read"):
        list(open_dataset(DataSource(str(path)), MODEL).batches(2))


def test_lists_of_different_lengths_stream_one_by_one(file: Path) -> None:
    table = rows(tokens=[[1], [1, 2], [1, 2, 3], [1], [2]])
    assert [batch.feeds["tokens"].shape[1] for batch in open_rows(file, table).batches(1)] == [1, 2, 3, 1, 1]


def test_fingerprint_follows_the_content_and_the_target(tmp_path: Path) -> None:
    table = rows(other=[9, 9, 9, 9, 9])
    first = open_rows(tmp_path / "a.parquet", table).fingerprint
    assert open_rows(tmp_path / "b.parquet", table).fingerprint == first
    assert open_rows(tmp_path / "c.parquet", table, target="other").fingerprint != first
    assert open_rows(tmp_path / "d.parquet", rows(age=[1, 2, 3, 4, 5])).fingerprint != first


def test_without_pyarrow_the_hint_says_how_to_get_it(file: Path) -> None:
    script = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from assay.core.errors import RequestError\n"
        "from assay.core.tensor import Signature\n"
        "from assay.data.open import open_dataset\n"
        "from assay.data.source import DataSource\n"
        "try: open_dataset(DataSource(sys.argv[1]), Signature((), ()))\n"
        "except RequestError as error: print(error)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, write(file, rows())], capture_output=True, text=True, check=True
    )
    assert "needs pyarrow" in answer.stdout
    assert "assay-precision[parquet]" in answer.stdout


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, name: str) -> None:
    width, count = 10_000, 2_000
    schema = pa.schema([("x", pa.list_(pa.float32(), width))])
    rng = np.random.default_rng(0)
    blocks = [pa.array(rng.random(100 * width, np.float32)) for _ in range(count // 100)]
    parts = [pa.record_batch([pa.FixedSizeListArray.from_arrays(block, width)], schema=schema) for block in blocks]
    path = tmp_path / name
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_batches(parts), path, row_group_size=count)
    else:
        with pa.ipc.new_file(str(path), schema) as sink:
            for part in parts:
                sink.write_batch(part)
    assert path.stat().st_size > 75 << 20
    dataset = open_dataset(DataSource(str(path)), Signature((TensorSpec("x", "float32", ("n", width)),), ()))
    before = pa.total_allocated_bytes()
    rises = [pa.total_allocated_bytes() - before for _ in dataset.batches(8)]
    assert len(rises) == count // 8
    assert max(rises) < 16 << 20
