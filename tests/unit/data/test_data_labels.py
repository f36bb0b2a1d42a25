from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from assay.data.labels import read_labels
from assay.data.source import DataSource, Preprocess

LABELS = np.array([3, 1, 0, 2])


def write_folder(folder: Path) -> Path:
    for name in ("a", "b", "b2"):
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(folder / name / "1.png")
    return folder


def test_labels_of_an_archive_are_read_under_their_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 2)), truth=LABELS)
    found = read_labels(DataSource(str(tmp_path / "d.npz"), target="truth"))
    assert found is not None
    assert found.tolist() == LABELS.tolist()
    part = read_labels(DataSource(str(tmp_path / "d.npz"), target="truth", limit=3))
    assert part is not None
    assert part.tolist() == LABELS[:3].tolist()
    assert read_labels(DataSource(str(tmp_path / "d.npz"))) is None


def test_labels_of_a_folder_are_its_classes(tmp_path: Path) -> None:
    found = read_labels(DataSource(str(write_folder(tmp_path / "images")), preprocess=Preprocess(scale=255)))
    assert found is not None
    assert found.tolist() == [0, 1, 2]


def test_images_without_classes_have_no_labels(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "1.png")
    assert read_labels(DataSource(str(tmp_path), preprocess=Preprocess(scale=255))) is None


def test_other_sources_are_not_read_for_their_labels() -> None:
    assert read_labels(DataSource("module:items")) is None
