from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image
from pyarrow import parquet

from assay.core.errors import DataError
from assay.core.session import Batch, Dataset
from assay.core.tensor import Array, Signature, TensorSpec
from assay.data.cache import BLOCK_BYTES, remember
from assay.data.open import open_dataset
from assay.data.seeking import is_seekable, take_items
from assay.data.source import DataSource, Preprocess
from assay.data.subset import every

COUNT = 23
MODEL = Signature((TensorSpec("x", "float32", ("n", 3)),), ())
PICTURES = Signature((TensorSpec("x", "float32", ("n", 3, 4, 4)),), ())
CAMERAS = np.array([f"camera {index % 3}" for index in range(COUNT)])
WANTED = [0, 3, 4, 5, 11, 19, 22]


def rows(count: int = COUNT) -> NDArray[np.float32]:
    return np.arange(count * 3, dtype=np.float32).reshape(count, 3)


def table() -> pa.Table:
    return pa.table({"x": rows().tolist(), "target": list(range(COUNT)), "camera": CAMERAS.tolist()}).cast(
        pa.schema([("x", pa.list_(pa.float32())), ("target", pa.int64()), ("camera", pa.string())])
    )


def write_npz(folder: Path) -> str:
    path = folder / "items.npz"
    np.savez(path, x=rows(), target=np.arange(COUNT), camera=CAMERAS)
    return str(path)


def write_compressed(folder: Path) -> str:
    path = folder / "packed.npz"
    np.savez_compressed(path, x=rows(), target=np.arange(COUNT), camera=CAMERAS)
    return str(path)


def write_parquet(folder: Path) -> str:
    path = folder / "items.parquet"
    parquet.write_table(table(), path, row_group_size=5, use_dictionary=False)
    return str(path)


def write_arrow_file(folder: Path) -> str:
    path = folder / "items.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table().schema) as writer:
        writer.write_table(table(), max_chunksize=4)
    return str(path)


def write_arrow_stream(folder: Path) -> str:
    path = folder / "stream.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table().schema) as writer:
        writer.write_table(table(), max_chunksize=4)
    return str(path)


def write_function(folder: Path) -> str:
    code = (
        "import numpy as np\n"
        "def items():\n"
        f"    for i in range({COUNT}):\n"
        "        x = np.arange(3 * i, 3 * i + 3, dtype=np.float32)\n"
        "        yield {'x': x, 'target': i, 'camera': f'camera {i % 3}'}\n"
    )
    (folder / "seeking_items.py").write_text(code)
    return "seeking_items:items"


FORMS = (write_npz, write_compressed, write_parquet, write_arrow_file, write_arrow_stream, write_function)


def write_pictures(folder: Path) -> DataSource:
    (folder / "pictures").mkdir()
    lines = ["file,label"]
    for index in range(COUNT):
        Image.new("RGB", (4, 4), (index, 2 * index, 3)).save(folder / "pictures" / f"{index:02}.png")
        lines.append(f"{index:02}.png,{index}")
    (folder / "pictures" / "labels.csv").write_text("\n".join(lines))
    return DataSource(str(folder / "pictures"), Preprocess(scale=255))


def gather(batches: Iterator[Batch]) -> tuple[Array, list[int], list[str], list[int]]:
    parts = list(batches)
    items = [index for part in parts for index in (part.items if part.items is not None else []).tolist()]  # type: ignore[union-attr] # an empty list where there is none
    targets = [int(target) for part in parts for target in part.targets if part.targets is not None]  # type: ignore[union-attr] # all are labelled
    cameras = [str(camera) for part in parts for camera in part.columns.get("camera", ())]
    return np.concatenate([part.feeds["x"] for part in parts]), targets, cameras, items


@pytest.mark.parametrize("size", [1, 3, 50])
@pytest.mark.parametrize("write", FORMS)
def test_every_gives_the_items_of_the_whole(
    write: Callable[[Path], str], size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dataset = open_dataset(DataSource(write(tmp_path), columns=("camera",)), MODEL)
    for source in (dataset, remember(dataset, 1 << 20)):
        part = every(source, WANTED)
        for _ in range(2):
            x, targets, cameras, items = gather(part.batches(size))
            np.testing.assert_array_equal(x, rows()[WANTED])
            assert targets == items == WANTED
            assert cameras == CAMERAS[WANTED].tolist()
        sizes = [batch.size for batch in part.batches(size)]
        assert sizes == [min(size, len(WANTED) - low) for low in range(0, len(WANTED), size)]


def test_parts_of_parts_know_their_items(tmp_path: Path) -> None:
    dataset = open_dataset(DataSource(write_npz(tmp_path)), MODEL)
    part = every(every(dataset, WANTED), [1, 3, 6])
    x, _, _, items = gather(part.batches(2))
    assert items == [3, 5, 22]
    np.testing.assert_array_equal(x, rows()[[3, 5, 22]])
    assert [batch.start for batch in part.batches(2)] == [0, 2]


def test_a_limit_holds_for_single_items(tmp_path: Path) -> None:
    dataset = open_dataset(DataSource(write_npz(tmp_path), limit=6), MODEL)
    assert gather(every(dataset, [2, 5]).batches(4))[1] == [2, 5]


def test_which_forms_can_seek(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = {write.__name__: is_seekable(open_dataset(DataSource(write(tmp_path)), MODEL)) for write in FORMS}
    assert [name for name, seekable in told.items() if not seekable] == ["write_compressed", "write_function"]
    assert is_seekable(open_dataset(write_pictures(tmp_path), PICTURES))


@pytest.mark.parametrize("threads", [1, 3])
def test_only_the_wanted_pictures_are_opened(threads: int, tmp_path: Path) -> None:
    source = write_pictures(tmp_path)
    dataset = open_dataset(DataSource(source.path, source.preprocess, threads=threads), PICTURES)
    for index in set(range(COUNT)) - set(WANTED):
        (Path(source.path) / f"{index:02}.png").write_bytes(b"damaged")
    x, targets, _, items = gather(every(dataset, WANTED).batches(3))
    assert targets == items == WANTED
    np.testing.assert_allclose(x[:, 0, 0, 0], np.array(WANTED, np.float32) / 255)
    with pytest.raises(DataError, match=r"pictures/07\.png is not an image"):
        list(every(dataset, [3, 7]).batches(3))


@pytest.mark.parametrize("write", FORMS[:2])
def test_an_item_that_does_not_fit_is_named_by_its_index_in_the_data(
    write: Callable[[Path], str], tmp_path: Path
) -> None:
    values = rows()
    values[17, 1] = np.nan
    path = Path(write(tmp_path))
    (np.savez if write is write_npz else np.savez_compressed)(path, x=values, target=np.arange(COUNT))
    part = every(remember(open_dataset(DataSource(str(path)), MODEL), 1 << 20), [2, 5, 17, 20])
    with pytest.raises(DataError, match=r"\.npz, item 17: input 'x' holds nan"):
        list(part.batches(2))


def test_a_row_that_is_empty_is_named_by_its_index_in_the_data(tmp_path: Path) -> None:
    targets = [None if index == 17 else index for index in range(COUNT)]
    parquet.write_table(table().set_column(1, "target", pa.array(targets)), tmp_path / "a.parquet", row_group_size=5)
    part = every(open_dataset(DataSource(str(tmp_path / "a.parquet")), MODEL), [2, 16, 17])
    with pytest.raises(DataError, match=r"a\.parquet, item 17: column 'target' is empty"):
        list(part.batches(4))


def test_row_groups_without_a_wanted_row_are_not_read(tmp_path: Path) -> None:
    path = Path(write_parquet(tmp_path))
    with parquet.ParquetFile(path) as file:
        first = file.metadata.row_group(2).column(0).data_page_offset
        last = file.metadata.row_group(3).column(0).data_page_offset
    dataset = open_dataset(DataSource(str(path)), MODEL)
    content = bytearray(path.read_bytes())
    content[first:last] = b"\xff" * (last - first)
    path.write_bytes(content)
    assert gather(every(dataset, [1, 9, 15, 22]).batches(4))[1] == [1, 9, 15, 22]
    with pytest.raises(DataError):
        list(every(dataset, [1, 12]).batches(4))


def test_bytes_that_are_missing_are_an_error(tmp_path: Path) -> None:
    path = Path(write_npz(tmp_path))
    dataset = open_dataset(DataSource(str(path)), MODEL)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"array 'x' of .*, item 19: the file ends early"):
        list(every(dataset, [19]).batches(4))


class Counted:
    """Items that count how often each of them is read; seekable or not."""

    fingerprint = "f"
    labelled = True

    def __init__(self, *, seekable: bool, width: int = 2) -> None:
        self.seekable = seekable
        self.reads = np.zeros(COUNT, np.int64)
        self._width = width

    def __len__(self) -> int:
        return COUNT

    def batches(self, size: int) -> Iterator[Batch]:
        return self._give(np.arange(COUNT), size, whole=True)

    def take(self, items: NDArray[np.int64], size: int) -> Iterator[Batch]:
        assert self.seekable
        return self._give(items, size, whole=False)

    def read_columns(self) -> dict[str, Array]:
        return {}

    def _give(self, items: NDArray[np.int64], size: int, *, whole: bool) -> Iterator[Batch]:
        for low in range(0, len(items), size):
            part = items[low : low + size]
            self.reads[part] += 1
            feeds = {"x": np.repeat(part[:, None], self._width, 1).astype(np.float32)}
            yield Batch(feeds, part * 10, low, {"camera": CAMERAS[part]}, None if whole else part)


def check(dataset: Dataset, wanted: list[int], size: int) -> None:
    x, targets, cameras, items = gather(every(dataset, wanted).batches(size))
    assert x[:, 1].tolist() == wanted
    assert targets == [10 * index for index in wanted]
    assert cameras == CAMERAS[wanted].tolist()
    assert items == wanted


@pytest.mark.parametrize("seekable", [True, False])
def test_items_are_read_once_whatever_is_asked_for(*, seekable: bool) -> None:
    counted = Counted(seekable=seekable)
    dataset = remember(counted, 1 << 20)
    for wanted, size in (([2, 3, 9], 2), ([2, 3, 9], 3), ([0, 3, 4, 9, 10, 20], 4), ([1, 2, 10, 11], 1)):
        check(dataset, wanted, size)
    everything = [batch.feeds["x"][:, 0].tolist() for batch in dataset.batches(10)]
    assert [value for part in everything for value in part] == list(range(COUNT))
    check(dataset, list(range(COUNT)), 7)
    if seekable:
        assert counted.reads.tolist() == [1] * COUNT
    else:
        # A stream is read from its start; what it passes over is kept, so that nothing is asked of it twice.
        assert counted.reads.max() <= 3


def test_only_wanted_items_are_read() -> None:
    counted = Counted(seekable=True)
    check(remember(counted, 1 << 20), WANTED, 3)
    assert np.flatnonzero(counted.reads).tolist() == WANTED


def test_what_does_not_fit_is_read_again() -> None:
    counted = Counted(seekable=True)
    item_bytes = 2 * 4 + 8 + CAMERAS.itemsize
    dataset = remember(counted, 4 * item_bytes + 2 * BLOCK_BYTES)
    for _ in range(3):
        check(dataset, WANTED, 2)
    assert sorted(set(counted.reads[WANTED].tolist())) == [1, 3]
    assert int((counted.reads == 1).sum()) == 4


def test_two_passes_at_once_agree() -> None:
    dataset = remember(Counted(seekable=True), 1 << 20)
    first, second = every(dataset, WANTED).batches(2), every(dataset, [3, 4, 5, 6]).batches(3)
    seen = [next(first), next(second), *first, *second]
    assert sorted(int(target) for batch in seen for target in np.asarray(batch.targets)) == sorted(
        10 * index for index in [*WANTED, 3, 4, 5, 6]
    )


def test_items_of_other_shapes_cannot_share_a_batch() -> None:
    class Growing(Counted):
        def take(self, items: NDArray[np.int64], size: int) -> Iterator[Batch]:
            del size
            for place, item in enumerate(items.tolist()):
                yield Batch({"x": np.zeros((1, 1 + item), np.float32)}, np.array([item]), place, {}, np.array([item]))

    dataset = remember(Growing(seekable=True), 1 << 20)
    assert [batch.feeds["x"].shape for batch in take_items(dataset, np.array([1, 4]), 1)] == [(1, 2), (1, 5)]
    with pytest.raises(DataError, match="items of different shapes"):
        list(take_items(dataset, np.array([1, 4]), 2))
