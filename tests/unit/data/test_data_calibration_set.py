from __future__ import annotations

import tracemalloc
from pathlib import Path

import msgspec
import numpy as np
import pytest

from assay.core.errors import DataError, RequestError
from assay.core.session import Batch, Dataset
from assay.core.tensor import Signature, TensorSpec
from assay.data.calibration_set import (
    ITEMS_FILE,
    SET_FILE,
    SUMS_FILE,
    Origin,
    Part,
    Selection,
    SelectionMethod,
    SetDescription,
    encode_description,
    encode_sums,
    is_set,
    open_set,
)
from assay.data.open import SourceKind, find_kind, open_dataset
from assay.data.set_items import ItemsWriter, hash_items
from assay.data.source import Channels, DataSource, Layout, Preprocess

IMAGE = Signature((TensorSpec("image", "float32", ("n", 3, 4, 4)),), ())
SCALED = Preprocess(scale=255, mean=(0.5,), std=(0.25,))


def images(n: int = 5) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, 3, 4, 4)).astype(np.float32)


def describe(preprocess: Preprocess | None, **facts: object) -> SetDescription:
    selection = Selection(SelectionMethod.FIRST, 9, 5, None)
    origin = Origin("pool.npz", "npz", "f" * 64, selection, preprocess)
    empty = SetDescription(1, "", 0, (), None, origin, (), "CC0", "", "2026-01-01T00:00:00+00:00", {})
    return msgspec.structs.replace(empty, **facts)


def make_set(
    folder: Path,
    batch: Batch,
    preprocess: Preprocess | None = None,
    target: str = "target",
    parts: tuple[Part, ...] = (),
) -> Path:
    folder.mkdir()
    with ItemsWriter(folder, target) as writer:
        writer.add(batch)
        written = writer.finish(folder / ITEMS_FILE)
    description = describe(
        preprocess,
        address=written.address,
        items=written.items,
        inputs=written.inputs,
        target=written.target,
        parts=parts,
    )
    (folder / SET_FILE).write_bytes(encode_description(description))
    (folder / SUMS_FILE).write_bytes(encode_sums(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_set(tmp_path / "set", Batch({"image": images()}, np.arange(5), 0), SCALED)


def gather(dataset: Dataset) -> tuple[np.ndarray, list[int]]:
    batches = list(dataset.batches(2))
    labels = [int(label) for batch in batches if batch.targets is not None for label in batch.targets]
    return np.concatenate([batch.feeds["image"] for batch in batches]), labels


def test_items_come_back_as_they_were(folder: Path) -> None:
    dataset = open_dataset(DataSource(str(folder)), IMAGE)
    feeds, labels = gather(dataset)
    np.testing.assert_array_equal(feeds, images())
    assert labels == [0, 1, 2, 3, 4]
    assert find_kind(str(folder)) is SourceKind.SET


def test_the_items_are_a_plain_compressed_archive(folder: Path) -> None:
    with np.load(folder / ITEMS_FILE, allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["image"], images())
        assert archive["image"].flags.c_contiguous
    zeros = make_set(folder.with_name("zeros"), Batch({"image": np.zeros((50, 3, 4, 4), np.float32)}, None, 0))
    assert (zeros / ITEMS_FILE).stat().st_size < 50 * 3 * 4 * 4


def test_the_sums_are_those_of_sha256sum(folder: Path) -> None:
    lines = (folder / SUMS_FILE).read_text().splitlines()
    assert [line[64:] for line in lines] == [f"  {SET_FILE}", f"  {ITEMS_FILE}"]


@pytest.mark.parametrize("name", [SET_FILE, ITEMS_FILE, SUMS_FILE])
@pytest.mark.parametrize("place", [0, 0.3, 0.5, 0.9, 1])
def test_a_changed_byte_is_named(folder: Path, name: str, place: float) -> None:
    path = folder / name
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 0x01
    path.write_bytes(content)
    with pytest.raises(DataError, match=str(path)):
        open_dataset(DataSource(str(folder)), IMAGE)


@pytest.mark.parametrize("name", [SET_FILE, ITEMS_FILE, SUMS_FILE])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=str(folder / name)):
        open_set(folder)


def test_a_truncated_file_is_named(folder: Path) -> None:
    path = folder / ITEMS_FILE
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DataError, match=ITEMS_FILE):
        open_set(folder)


def test_a_later_format_is_refused(folder: Path) -> None:
    path = folder / SET_FILE
    path.write_bytes(path.read_bytes().replace(b'"format": 1', b'"format": 2'))
    (folder / SUMS_FILE).write_bytes(encode_sums(folder))
    with pytest.raises(DataError, match="format 2"):
        open_set(folder)


def test_an_unknown_key_is_refused(folder: Path) -> None:
    path = folder / SET_FILE
    path.write_bytes(path.read_bytes().replace(b'"licence"', b'"license"'))
    (folder / SUMS_FILE).write_bytes(encode_sums(folder))
    with pytest.raises(DataError, match="license"):
        open_set(folder)


def test_what_is_no_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        open_set(tmp_path / "nowhere")
    with pytest.raises(DataError, match=f"{tmp_path} is no calibration set"):
        open_set(tmp_path)
    (tmp_path / "file").write_text("text")
    with pytest.raises(DataError, match="file is no calibration set"):
        open_set(tmp_path / "file")
    assert not is_set(tmp_path)


@pytest.mark.parametrize(
    "spec",
    [
        TensorSpec("picture", "float32", ("n", 3, 4, 4)),
        TensorSpec("image", "float32", ("n", 4, 4, 3)),
        TensorSpec("image", "float64", ("n", 3, 4, 4)),
    ],
)
def test_a_model_with_other_inputs_is_refused(folder: Path, spec: TensorSpec) -> None:
    with pytest.raises(DataError, match=ITEMS_FILE):
        open_dataset(DataSource(str(folder)), Signature((spec,), ()))


def test_a_model_with_dynamic_axes_fits(folder: Path) -> None:
    signature = Signature((TensorSpec("image", "float32", ("n", 3, "height", None)),), ())
    assert len(open_dataset(DataSource(str(folder)), signature)) == 5


@pytest.mark.parametrize(
    "declared",
    [
        SCALED,
        Preprocess(scale=255, mean=(0.5, 0.5, 0.5), std=(0.25,), input="image", dtype="float32"),
        Preprocess(scale=255, mean=(0.5,), std=(0.25,), stored_layout=Layout.NHWC),
        Preprocess(scale=255, mean=(0.5,), std=(0.25,), resize=256, crop=224, channels=Channels.RGB),
    ],
)
def test_preprocessing_is_not_applied_twice(folder: Path, declared: Preprocess) -> None:
    dataset = open_dataset(DataSource(str(folder), preprocess=declared), IMAGE)
    np.testing.assert_array_equal(gather(dataset)[0], images())
    assert dataset.fingerprint == open_dataset(DataSource(str(folder)), IMAGE).fingerprint


@pytest.mark.parametrize(
    ("declared", "named"),
    [
        (Preprocess(scale=256, mean=(0.5,), std=(0.25,)), "scale = 256 against 255"),
        (Preprocess(scale=255, mean=(0.5, 0.4, 0.3), std=(0.25,)), "mean"),
        (Preprocess(scale=255, mean=(0.5,)), "std = .1. against .0.25."),
        (Preprocess(scale=255, mean=(0.5,), std=(0.25,), layout=Layout.NHWC), "layout = nhwc"),
        (Preprocess(scale=255, mean=(0.5,), std=(0.25,), dtype="float64"), "dtype"),
        (Preprocess(scale=255, mean=(0.5,), std=(0.25,), input="picture"), "input"),
    ],
)
def test_a_contradicting_preprocessing_is_refused(folder: Path, declared: Preprocess, named: str) -> None:
    with pytest.raises(RequestError, match=named):
        open_dataset(DataSource(str(folder), preprocess=declared), IMAGE)


def test_a_set_of_ready_items_takes_no_preprocessing(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", Batch({"image": images()}, None, 0))
    with pytest.raises(RequestError, match="scale = 255 against 1"):
        open_dataset(DataSource(str(folder), preprocess=SCALED), IMAGE)
    assert len(open_dataset(DataSource(str(folder), preprocess=Preprocess()), IMAGE)) == 5


def test_images_are_held_against_images(tmp_path: Path) -> None:
    made = Preprocess(crop=4, channels=Channels.BGR)
    folder = make_set(tmp_path / "set", Batch({"image": images()}, None, 0), made)
    assert (
        len(open_dataset(DataSource(str(folder), preprocess=Preprocess(crop=(4, 4), channels=Channels.BGR)), IMAGE))
        == 5
    )
    with pytest.raises(RequestError, match="channels = rgb against bgr"):
        open_dataset(DataSource(str(folder), preprocess=Preprocess(crop=4)), IMAGE)


def test_the_preprocessing_of_parts_is_held_too(folder: Path, tmp_path: Path) -> None:
    part = Part(5, open_set(folder).description)
    merged = make_set(tmp_path / "merged", Batch({"image": images()}, None, 0), None, parts=(part,))
    assert len(open_dataset(DataSource(str(merged), preprocess=SCALED), IMAGE)) == 5
    with pytest.raises(RequestError, match="scale"):
        open_dataset(DataSource(str(merged), preprocess=Preprocess()), IMAGE)


def test_labels_keep_their_name(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", Batch({"image": images()}, np.arange(5), 0), target="kind")
    assert "kind" in np.load(folder / ITEMS_FILE).files
    assert gather(open_dataset(DataSource(str(folder)), IMAGE))[1] == [0, 1, 2, 3, 4]


def test_names_with_separators_stay_inside_the_archive(tmp_path: Path) -> None:
    signature = Signature((TensorSpec("../a/b", "int64", ("n",)), TensorSpec("c", "bool", ("n", 2))), ())
    batch = Batch({"../a/b": np.arange(3), "c": np.ones((3, 2), np.bool_)}, None, 0)
    folder = make_set(tmp_path / "set", batch)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [SUMS_FILE, ITEMS_FILE, "set", SET_FILE]
    loaded = next(open_dataset(DataSource(str(folder)), signature).batches(3))
    np.testing.assert_array_equal(loaded.feeds["../a/b"], np.arange(3))


def test_a_limit_cuts_a_set(folder: Path) -> None:
    dataset = open_dataset(DataSource(str(folder), limit=2), IMAGE)
    assert len(gather(dataset)[0]) == 2
    assert dataset.fingerprint != open_dataset(DataSource(str(folder)), IMAGE).fingerprint


def test_items_of_one_set_are_alike(tmp_path: Path) -> None:
    with ItemsWriter(tmp_path, "target") as writer:
        writer.add(Batch({"image": images(2)}, None, 0))
        with pytest.raises(DataError, match="crop or pad"):
            writer.add(Batch({"image": np.zeros((1, 3, 5, 4), np.float32)}, None, 2))
        with pytest.raises(DataError, match="label"):
            writer.add(Batch({"image": images(2)}, np.arange(2), 2))
    with ItemsWriter(tmp_path, "target") as writer, pytest.raises(DataError, match="no items"):
        writer.finish(tmp_path / ITEMS_FILE)
    assert list(tmp_path.iterdir()) == []


def test_an_item_is_its_inputs_alone() -> None:
    labelled = Batch({"a": images(2), "b": np.arange(2)}, np.array([1, 2]), 0)
    turned = Batch({"b": np.arange(2), "a": np.asfortranarray(images(2))}, None, 7)
    assert hash_items(labelled) == hash_items(turned)
    assert hash_items(labelled)[0] != hash_items(labelled)[1]
    other = Batch({"a": images(2).view(np.int32), "b": np.arange(2)}, None, 0)
    assert set(hash_items(other)).isdisjoint(hash_items(labelled))


def test_writing_holds_no_whole_array(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(8, 64, 64)).astype(np.float32)
    tracemalloc.start()
    with ItemsWriter(tmp_path, "target") as writer:
        for start in range(100):
            writer.add(Batch({"image": rows}, None, 8 * start))
        writer.finish(tmp_path / ITEMS_FILE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * rows.nbytes / 3
