from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from study_samples import write_model

from assay.backends.table import load_backend
from assay.core.errors import DataError
from assay.core.session import Batch, Dataset
from assay.data.open import open_dataset
from assay.data.source import DataSource
from assay.studies.progress import Silent
from assay.studies.set_statistics import ObservedModel, provide_statistics
from assay.studies.statistics_files import (
    Observer,
    list_held,
    load_statistics,
    name_statistics,
    read_statistics,
    write_statistics,
)
from assay.studies.subject import load_subject


class Listener(Silent):
    """Keeps what is said and which stages began."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def start(self, label: str, total: int | None) -> None:
        self.heard.append(f"{label} {total}")

    def say(self, text: str) -> None:
        self.heard.append(text)


class Unread:
    """A data set that may be counted, but not read."""

    labelled = False

    def __init__(self, dataset: Dataset) -> None:
        self.fingerprint = dataset.fingerprint
        self._size = len(dataset)

    def __len__(self) -> int:
        return self._size

    def batches(self, size: int) -> Iterator[Batch]:
        pytest.fail(f"read in batches of {size}")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ObservedModel:
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    write_model(path, np.random.default_rng(0))
    return ObservedModel(path.name, load_subject(path).prepared, load_backend("onnxruntime"), None)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    images = np.random.default_rng(1).normal(size=(10, 3, 12, 12)).astype(np.float32)
    np.savez(tmp_path / "items.npz", allow_pickle=False, image=images)
    path = tmp_path / "small.onnx"
    write_model(path, np.random.default_rng(0))
    return open_dataset(DataSource(str(tmp_path / "items.npz")), load_subject(path).signature)


def test_kept_statistics_are_read_and_not_observed_again(
    model: ObservedModel, dataset: Dataset, tmp_path: Path
) -> None:
    observed = provide_statistics(tmp_path / "statistics", model, dataset, Silent())
    kept = provide_statistics(tmp_path / "statistics", model, Unread(dataset), Silent())
    assert (kept.items, kept.data) == (10, dataset.fingerprint)
    assert kept.tensors.keys() == observed.tensors.keys()
    for name, one in kept.tensors.items():
        np.testing.assert_array_equal(one.histogram, observed.tensors[name].histogram)
        assert (one.low, one.high, one.total) == (
            observed.tensors[name].low,
            observed.tensors[name].high,
            observed.tensors[name].total,
        )
    assert any(one.channels is not None for one in kept.tensors.values())
    assert kept.sketch is not None


def test_statistics_of_other_items_models_and_versions_are_not_taken(
    model: ObservedModel, dataset: Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "statistics"
    observer = model.identify()
    calibration = provide_statistics(folder, model, dataset, Silent())
    assert read_statistics(folder, observer, dataset.fingerprint) is not None
    assert read_statistics(folder, observer, "0" * 64) is None
    assert read_statistics(folder, replace(observer, version="onnxruntime 99"), dataset.fingerprint) is None
    assert read_statistics(folder, replace(observer, content="0" * 64), dataset.fingerprint) is None
    renamed = replace(observer, model="renamed.onnx")
    assert read_statistics(folder, renamed, dataset.fingerprint) is not None
    # a file under a name that is not its own is not believed
    stranger = replace(observer, content="0" * 64)
    kept = folder / name_statistics(observer, calibration.data)
    kept.rename(folder / name_statistics(stranger, calibration.data))
    assert read_statistics(folder, stranger, calibration.data) is None


def test_a_fixed_batch_observes_whole_batches(model: ObservedModel, dataset: Dataset, tmp_path: Path) -> None:
    fixed = replace(model, fixed_batch=4)
    calibration = provide_statistics(tmp_path / "statistics", fixed, dataset, Silent())
    assert calibration.items == 8
    assert calibration.data != dataset.fingerprint
    with pytest.raises(DataError, match="fixes its batch at 11"):
        provide_statistics(None, replace(model, fixed_batch=11), dataset, Silent())


def test_a_folder_that_cannot_be_written_is_said(model: ObservedModel, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "statistics").write_text("in the way")
    listener = Listener()
    calibration = provide_statistics(tmp_path / "statistics", model, dataset, listener)
    assert calibration.items == 10
    assert "observing 10" in listener.heard
    assert any("the statistics are not kept" in heard for heard in listener.heard)


@pytest.mark.parametrize("place", [0.02, 0.3, 0.6, 0.98])
def test_damaged_statistics_are_named(model: ObservedModel, dataset: Dataset, tmp_path: Path, place: float) -> None:
    folder = tmp_path / "statistics"
    held = write_statistics(folder, model.identify(), provide_statistics(None, model, dataset, Silent()))
    path, listed = list_held(folder)[0]
    assert listed == held
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 0x40
    path.write_bytes(content)
    with pytest.raises(DataError, match=path.name):
        load_statistics(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=path.name):
        list_held(folder)


def test_the_key_is_of_what_gives_statistics() -> None:
    observer = Observer("a.onnx", "f" * 64, "onnxruntime", "onnxruntime 1")
    assert observer.key == replace(observer, model="b.onnx").key
    changed = [
        replace(observer, content="e" * 64),
        replace(observer, runtime="openvino"),
        replace(observer, version="2"),
    ]
    assert len({observer.key, *(one.key for one in changed)}) == 4
