from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assay.core.errors import DataError, RequestError
from assay.core.session import Dataset
from assay.core.tensor import Signature, TensorSpec
from assay.data.open import open_dataset
from assay.data.source import Channels, DataSource, Layout, Preprocess

SIGNATURE = Signature((TensorSpec("image", "float32", ("n", 3, 8, 8)),), ())
PLAIN = Preprocess(resize=(8, 8))


def paint(path: Path, value: int, size: tuple[int, int] = (12, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value // 2, 0)).save(path)


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    for name, values in {"cat": (10, 20), "ant": (30,), "bee": (40, 50, 60)}.items():
        for value in values:
            paint(tmp_path / name / f"{value}.png", value)
    return tmp_path


def open_folder(folder: Path, preprocess: Preprocess = PLAIN, **options: object) -> Dataset:
    return open_dataset(DataSource(str(folder), preprocess, **options), SIGNATURE)  # type: ignore[arg-type] # keywords of the case


def reds(dataset: Dataset) -> list[int]:
    return [int(item) for batch in dataset.batches(2) for item in batch.feeds["image"][:, 0, 0, 0]]


def labels(dataset: Dataset) -> list[int]:
    return [int(item) for batch in dataset.batches(2) if batch.targets is not None for item in batch.targets]


def test_class_folders_are_numbered_by_name(classes: Path) -> None:
    dataset = open_folder(classes)
    assert reds(dataset) == [30, 40, 50, 60, 10, 20]
    assert labels(dataset) == [0, 1, 1, 1, 2, 2]
    assert len(dataset) == 6


def test_threads_keep_the_order(classes: Path) -> None:
    assert reds(open_folder(classes, threads=3)) == [30, 40, 50, 60, 10, 20]


def test_threads_stop_when_the_reader_stops(classes: Path) -> None:
    batches = open_folder(classes, threads=3).batches(1)
    assert next(batches).size == 1
    batches.close()  # type: ignore[attr-defined] # a generator, which the protocol does not promise


def test_a_class_without_images_keeps_its_number(classes: Path) -> None:
    (classes / "aardvark").mkdir()
    assert labels(open_folder(classes)) == [1, 2, 2, 2, 3, 3]


def test_numbers_as_names_are_the_class_indices(tmp_path: Path) -> None:
    for name in ("10", "2"):
        paint(tmp_path / name / "a.png", int(name))
    assert labels(open_folder(tmp_path)) == [10, 2]


def test_classes_file_gives_the_models_order(classes: Path) -> None:
    (classes / "classes.txt").write_text("bee\ncat\ndog\nant\n")
    assert labels(open_folder(classes)) == [3, 0, 0, 0, 1, 1]


def test_class_folder_missing_in_the_classes_file(classes: Path) -> None:
    (classes / "classes.txt").write_text("bee\ncats\nant\n")
    with pytest.raises(DataError, match=r"class folder 'cat'.*did you mean 'cats'"):
        open_folder(classes)


def test_labels_file_gives_order_and_labels(tmp_path: Path) -> None:
    for value in (10, 20, 30):
        paint(tmp_path / f"{value}.png", value)
    (tmp_path / "labels.csv").write_text("file,label\n20.png,7\n10.png,3\n30.png,0\n")
    dataset = open_folder(tmp_path)
    assert reds(dataset) == [20, 10, 30]
    assert labels(dataset) == [7, 3, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,class\n10.png,1\n", "its first line must be: file,label"),
        ("file,label\n10.png,1\n", "fewer labels than .* images: 1 have none, as '20.png'"),
        ("file,label\n10.png,1\n20.png,1\n2O.png,1\n", "line 4: there is no image '2O.png' .did you mean '20.png'"),
        ("file,label\n10.png,cat\n20.png,1\n", "line 2: the label 'cat' is no class index"),
        ("file,label\n10.png,\n20.png,1\n", "line 2: the label '' is no class index"),
        ("file,label\n10.png,1\n10.png,1\n", "line 3: '10.png' is listed twice"),
        ("file,label\n../10.png,1\n", "is no path below the folder"),
        ("", "its first line must be: file,label"),
    ],
)
def test_labels_file_that_does_not_match(tmp_path: Path, content: str, message: str) -> None:
    for value in (10, 20):
        paint(tmp_path / f"{value}.png", value)
    (tmp_path / "labels.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        open_folder(tmp_path)


def test_labels_file_that_is_not_text(tmp_path: Path) -> None:
    paint(tmp_path / "10.png", 10)
    (tmp_path / "labels.csv").write_bytes(b"file,label\n\xff\xfe.png,1\n")
    with pytest.raises(DataError, match="not UTF-8"):
        open_folder(tmp_path)


def test_flat_folder_is_unlabelled(tmp_path: Path) -> None:
    paint(tmp_path / "b.png", 20)
    paint(tmp_path / "a.jpg", 10)
    (tmp_path / ".hidden.png").write_text("no image")
    (tmp_path / "README.txt").write_text("no image")
    dataset = open_folder(tmp_path)
    assert len(dataset) == 2
    assert not dataset.labelled


def test_images_beside_class_folders(classes: Path) -> None:
    paint(classes / "loose.png", 1)
    with pytest.raises(DataError, match=r"beside class folders, such as 'loose\.png'"):
        open_folder(classes)


def test_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="zero images"):
        open_folder(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n\x00\x00"])
def test_unreadable_image_is_named(classes: Path, content: bytes) -> None:
    (classes / "bee" / "50.png").write_bytes(content)
    dataset = open_folder(classes)
    with pytest.raises(DataError, match=r"bee/50\.png is not an image, or is damaged"):
        list(dataset.batches(4))


def test_truncated_image_is_named(classes: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    path = classes / "bee" / "50.png"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"bee/50\.png cannot be decoded"):
        list(open_folder(classes, threads=2).batches(4))


def test_image_that_vanishes(classes: Path) -> None:
    dataset = open_folder(classes)
    (classes / "cat" / "20.png").unlink()
    with pytest.raises(DataError, match=r"cat/20\.png cannot be read"):
        list(dataset.batches(4))


def test_preprocessing_must_be_declared(classes: Path) -> None:
    with pytest.raises(RequestError, match="no preprocessing is declared"):
        open_dataset(DataSource(str(classes)), SIGNATURE)


def test_stored_layout_is_for_arrays(classes: Path) -> None:
    with pytest.raises(RequestError, match="stored_layout"):
        open_folder(classes, Preprocess(resize=(8, 8), stored_layout=Layout.NHWC))


def test_models_with_two_inputs_take_no_folder(classes: Path) -> None:
    two = Signature((*SIGNATURE.inputs, TensorSpec("other", "float32", ("n",))), ())
    with pytest.raises(RequestError, match="cannot feed the inputs"):
        open_dataset(DataSource(str(classes), PLAIN), two)


def test_sizes_that_differ_name_both_images(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", 1, (8, 8))
    paint(tmp_path / "b.png", 2, (9, 8))
    with pytest.raises(DataError, match=r"b\.png.*a\.png"):
        list(open_folder(tmp_path, Preprocess()).batches(2))


def test_wrong_size_is_refused_when_opened(classes: Path) -> None:
    with pytest.raises(DataError, match=r"ant/30\.png.*shape \[3, 9, 9\]"):
        open_folder(classes, Preprocess(resize=(9, 9)))


def test_fingerprint_ignores_where_the_folder_lies(classes: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other") / "moved"
    before = open_folder(classes).fingerprint
    classes.rename(other)
    assert open_folder(other).fingerprint == before
    (other / "classes.txt").write_text("bee\ncat\nant\n")
    assert open_folder(other).fingerprint != before


def test_fingerprint_follows_the_preprocessing(classes: Path) -> None:
    assert open_folder(classes).fingerprint != open_folder(classes, Preprocess(resize=(8, 8), scale=255)).fingerprint


def test_bgr_and_gray_models(classes: Path) -> None:
    bgr = next(open_folder(classes, Preprocess(resize=(8, 8), channels=Channels.BGR)).batches(1))
    assert [int(bgr.feeds["image"][0, c, 0, 0]) for c in range(3)] == [0, 15, 30]
    gray_model = Signature((TensorSpec("image", "float32", ("n", 8, 8, 1)),), ())
    declared = Preprocess(resize=(8, 8), channels=Channels.GRAY, layout=Layout.NHWC)
    gray = next(open_dataset(DataSource(str(classes), declared), gray_model).batches(1))
    assert gray.feeds["image"].shape == (1, 8, 8, 1)
