from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from assay.core.errors import DataError, RequestError
from assay.core.tensor import Signature, TensorSpec
from assay.data.open import open_dataset
from assay.data.source import DataSource, Preprocess

IMAGE = Signature((TensorSpec("image", "float32", ("n", 3, 4, 4)),), ())
TWO = Signature((TensorSpec("ids", "int64", ("n", "seq")), TensorSpec("mask", "int64", ("n", "seq"))), ())


def images(n: int = 5) -> np.ndarray:
    return np.arange(n * 48, dtype=np.float32).reshape(n, 3, 4, 4)


def save(path: Path, *, compress: bool = False, **arrays: np.ndarray) -> str:
    (np.savez_compressed if compress else np.savez)(path, allow_pickle=True, **arrays)
    return str(path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "eval.npz"


def refusal(path: str, signature: Signature = IMAGE, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        for _ in open_dataset(DataSource(path, **options), signature).batches(2):  # type: ignore[arg-type] # keywords of the case
            pass
    assert Path(path).name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("compress", [False, True])
def test_batches_carry_items_labels_and_start(file: Path, *, compress: bool) -> None:
    dataset = open_dataset(DataSource(save(file, compress=compress, image=images(), target=np.arange(5))), IMAGE)
    batches = list(dataset.batches(2))
    assert [batch.start for batch in batches] == [0, 2, 4]
    assert [batch.size for batch in batches] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([batch.feeds["image"] for batch in batches]), images())
    np.testing.assert_array_equal(np.concatenate([batch.targets for batch in batches]), np.arange(5))
    assert len(dataset) == 5
    assert dataset.labelled


def test_arrays_can_be_written_to(file: Path) -> None:
    batch = next(open_dataset(DataSource(save(file, image=images())), IMAGE).batches(2))
    assert batch.feeds["image"].flags.writeable
    assert batch.feeds["image"].flags.c_contiguous


def test_data_without_target_is_unlabelled(file: Path) -> None:
    dataset = open_dataset(DataSource(save(file, image=images())), IMAGE)
    assert not dataset.labelled
    assert next(dataset.batches(1)).targets is None


def test_limit_cuts_inside_a_batch(file: Path) -> None:
    dataset = open_dataset(DataSource(save(file, image=images()), limit=3), IMAGE)
    assert len(dataset) == 3
    assert [batch.size for batch in dataset.batches(2)] == [2, 1]


def test_limit_beyond_the_items_changes_nothing(file: Path) -> None:
    path = save(file, image=images())
    limited = open_dataset(DataSource(path, limit=99), IMAGE)
    assert len(limited) == 5
    assert limited.fingerprint == open_dataset(DataSource(path), IMAGE).fingerprint


def test_two_inputs_keep_their_names(file: Path) -> None:
    path = save(file, ids=np.ones((3, 7), np.int64), mask=np.zeros((3, 7), np.int64))
    batch = next(open_dataset(DataSource(path), TWO).batches(3))
    assert batch.feeds["ids"].sum() == 21
    assert batch.feeds["mask"].sum() == 0


def test_big_endian_arrays_become_native(file: Path) -> None:
    dataset = open_dataset(DataSource(save(file, image=images().astype(">f4"))), IMAGE)
    batch = next(dataset.batches(5))
    assert batch.feeds["image"].dtype == np.dtype("=f4")
    np.testing.assert_array_equal(batch.feeds["image"], images())


def test_fixed_batch_axis_takes_any_number_of_items(file: Path) -> None:
    signature = Signature((TensorSpec("image", "float32", (1, 3, 4, 4)),), ())
    assert len(open_dataset(DataSource(save(file, image=images())), signature)) == 5


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    assert "does not exist" in refusal(str(tmp_path / "eval.npz"))


def test_not_a_zip(file: Path) -> None:
    file.write_text("image,target\n")
    assert "not an .npz (zip) file" in refusal(str(file))


def test_a_single_npy(file: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, images())
    file.write_bytes(buffer.getvalue())
    assert "single .npy array" in refusal(str(file))


def test_truncated_archive(file: Path) -> None:
    save(file, image=images())
    file.write_bytes(file.read_bytes()[:600])
    assert "truncated" in refusal(str(file))


@pytest.mark.parametrize("compress", [False, True])
def test_damaged_content(file: Path, *, compress: bool) -> None:
    ids = np.random.default_rng(0).integers(0, 1 << 60, (500, 7))
    save(file, compress=compress, ids=ids, mask=ids)
    content = bytearray(file.read_bytes())
    content[4000:4016] = bytes(16)
    file.write_bytes(content)
    assert "is damaged" in refusal(str(file), TWO)


def test_header_that_promises_more_than_there_is(file: Path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 3, 4, 4)})
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("image.npy", buffer.getvalue() + bytes(192))
    assert "its header promises" in refusal(str(file))


def test_member_without_npy_header(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("image.npy", b"garbage" * 20)
    assert "'image'" in refusal(str(file))


def test_member_that_is_no_array(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("image", b"text")
    assert ".npy format" in refusal(str(file))


def test_encrypted_member(file: Path) -> None:
    save(file, image=images())
    content = bytearray(file.read_bytes())
    local, central = content.find(b"PK\x03\x04"), content.find(b"PK\x01\x02")
    content[local + 6] |= 1
    content[central + 8] |= 1
    file.write_bytes(content)
    assert "encrypted" in refusal(str(file))


def test_missing_input_names_what_is_there_and_the_nearest(file: Path) -> None:
    message = refusal(save(file, imgae=images(), target=np.arange(5)))
    assert "nothing for the model's input 'image'" in message
    assert "it holds 'imgae', 'target'" in message
    assert "rename 'imgae' to 'image'" in message


def test_misspelt_target(file: Path) -> None:
    message = refusal(save(file, image=images(), traget=np.arange(5)))
    assert "'traget'" in message
    assert "typo of 'target'" in message


def test_useless_array(file: Path) -> None:
    assert "holds 'weights'" in refusal(save(file, image=images(), weights=np.ones(5)))


def test_target_under_another_name(file: Path) -> None:
    path = save(file, image=images(), label=np.arange(5))
    assert open_dataset(DataSource(path, target="label"), IMAGE).labelled


def test_target_that_is_an_input(file: Path) -> None:
    assert "is an input of the model and the name of the labels" in refusal(save(file, image=images()), target="image")


def test_wrong_dtype_tells_how_to_declare_it(file: Path) -> None:
    message = refusal(save(file, image=images().astype(np.float64)))
    assert "input 'image' has the type float64, the model takes float32" in message
    assert 'preprocess.dtype = "float32"' in message


def test_wrong_shape(file: Path) -> None:
    message = refusal(save(file, image=np.zeros((5, 3, 4, 5), np.float32)))
    assert "shape [3, 4, 5], the model takes [3, 4, 4]" in message


def test_wrong_rank(file: Path) -> None:
    assert "shape [48]" in refusal(save(file, image=np.zeros((5, 48), np.float32)))


def test_channels_last_for_a_channels_first_model_gets_the_hint(file: Path) -> None:
    assert 'stored_layout = "nhwc"' in refusal(save(file, image=np.zeros((5, 4, 4, 3), np.float32)))


def test_axes_of_one_name_must_be_equally_long(file: Path) -> None:
    path = save(file, ids=np.ones((3, 7), np.int64), mask=np.ones((3, 6), np.int64))
    assert "axis 'seq' has 7 elements in 'ids' and 6 in 'mask'" in refusal(path, TWO)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_first_item_that_is_not_finite_is_named(file: Path, value: float) -> None:
    image = images()
    image[3, 1, 2, 3] = value
    image[4] = np.nan
    message = refusal(save(file, image=image))
    assert f"item 3: input 'image' holds {value}" in message


def test_not_finite_beyond_the_limit_is_not_read(file: Path) -> None:
    image = images()
    image[3] = np.nan
    assert sum(b.size for b in open_dataset(DataSource(save(file, image=image), limit=3), IMAGE).batches(2)) == 3


def test_zero_items(file: Path) -> None:
    assert "zero items" in refusal(save(file, image=images(0)))


def test_inputs_of_different_lengths(file: Path) -> None:
    path = save(file, ids=np.ones((3, 7), np.int64), mask=np.ones((2, 7), np.int64))
    assert "'ids' has 3 items and 'mask' 2" in refusal(path, TWO)


@pytest.mark.parametrize(("count", "word"), [(4, "fewer"), (6, "more")])
def test_labels_must_be_as_many_as_items(file: Path, count: int, word: str) -> None:
    message = refusal(save(file, image=images(), target=np.arange(count)))
    assert f"{word} labels than items: {count} in 'target', 5 items" in message


def test_labels_that_are_nan(file: Path) -> None:
    message = refusal(save(file, image=images(), target=np.array([0, 1, 2, np.nan, 1])))
    assert "item 3: the target holds nan" in message


def test_labels_that_are_words(file: Path) -> None:
    assert "labels are numbers" in refusal(save(file, image=images(), target=np.array(list("abcde"))))


def test_objects_are_never_loaded(file: Path) -> None:
    array = np.array([images(1)[0], None, None, None, None], dtype=object)
    assert "Python objects" in refusal(save(file, image=array))


def test_fortran_order(file: Path) -> None:
    assert "Fortran order" in refusal(save(file, image=np.asfortranarray(images())))


def test_array_without_items(file: Path) -> None:
    assert "single number" in refusal(save(file, image=np.float32(3)))


def test_scalar_model_input(file: Path) -> None:
    signature = Signature((TensorSpec("image", "float32", ()),), ())
    assert "without an axis for items" in refusal_of_model(save(file, image=np.ones(5, np.float32)), signature)


def test_model_input_of_a_type_that_files_cannot_hold(file: Path) -> None:
    signature = Signature((TensorSpec("image", "string", ("n",)),), ())
    assert "takes string" in refusal_of_model(save(file, image=np.ones(5, np.float32)), signature)


def refusal_of_model(path: str, signature: Signature) -> str:
    with pytest.raises(DataError) as caught:
        open_dataset(DataSource(path), signature)
    return str(caught.value)


def test_fingerprint_follows_content_not_path_nor_compression(tmp_path: Path) -> None:
    arrays = {"image": images(), "target": np.arange(5)}
    first = open_dataset(DataSource(save(tmp_path / "a.npz", **arrays)), IMAGE).fingerprint
    (tmp_path / "sub").mkdir()
    moved = save(tmp_path / "sub" / "b.npz", compress=True, **arrays)
    assert open_dataset(DataSource(moved), IMAGE).fingerprint == first


@pytest.mark.parametrize("change", ["item", "label", "order", "limit", "preprocess", "unlabelled"])
def test_fingerprint_tells_changes_apart(tmp_path: Path, change: str) -> None:
    image, target = images(), np.arange(5)
    before = open_dataset(DataSource(save(tmp_path / "a.npz", image=image, target=target)), IMAGE).fingerprint
    if change == "item":
        image = image.copy()
        image[4, 2, 3, 3] += 1
    if change == "label":
        target = target + 1
    if change == "order":
        image = image[::-1]
    arrays = {"image": image} if change == "unlabelled" else {"image": image, "target": target}
    after = DataSource(
        save(tmp_path / "b.npz", **arrays),
        limit=4 if change == "limit" else None,
        preprocess=Preprocess(scale=255) if change == "preprocess" else None,
    )
    assert open_dataset(after, IMAGE).fingerprint != before


def test_batch_size_below_one(file: Path) -> None:
    dataset = open_dataset(DataSource(save(file, image=images())), IMAGE)
    with pytest.raises(RequestError, match="batch size is 0"):
        dataset.batches(0)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_memory_stays_constant_on_a_300_megabyte_array(file: Path, method: int) -> None:
    items = 400
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (items, 3, 256, 256)}
    )
    archive = zipfile.ZipFile(file, "w", compression=method, compresslevel=1)
    with archive, archive.open("image.npy", "w") as member:
        member.write(header.getvalue())
        for _ in range(items):
            member.write(bytes(3 * 256 * 256 * 4))
    signature = Signature((TensorSpec("image", "float32", ("n", 3, 256, 256)),), ())
    dataset = open_dataset(DataSource(str(file)), signature)
    tracemalloc.start()
    try:
        assert len(dataset.fingerprint) == 64
        assert sum(batch.size for batch in dataset.batches(8)) == items
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 32 << 20
