from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from graph_samples import external_model, refuse, write_weights

from assay.graph.ingest import load_model


def test_external_data_stays_on_disk_until_read(tmp_path: Path) -> None:
    write_weights(tmp_path / "w.bin")
    model = load_model(external_model(tmp_path))
    tensor = model.graph.initializers["w"].const_value
    assert isinstance(tensor, ir.ExternalTensor)
    assert tensor.raw is None
    np.testing.assert_array_equal(tensor.numpy(), np.arange(600, dtype=np.float32).reshape(300, 2))


def test_small_external_tensors_are_read_at_once(tmp_path: Path) -> None:
    write_weights(tmp_path / "w.bin")
    tensor = load_model(external_model(tmp_path, rows=3)).graph.initializers["w"].const_value
    assert tensor is not None
    assert not isinstance(tensor, ir.ExternalTensor)
    np.testing.assert_array_equal(tensor.numpy(), np.arange(6, dtype=np.float32).reshape(3, 2))


def test_external_data_of_a_relative_path_survives_a_change_of_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_weights(tmp_path / "w.bin")
    external_model(tmp_path)
    monkeypatch.chdir(tmp_path)
    model = load_model(Path("model.onnx"))
    monkeypatch.chdir("/")
    tensor = model.graph.initializers["w"].const_value
    assert tensor is not None
    assert tensor.numpy()[2, 1] == 5


def test_a_download_cache_of_links_is_followed(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    external_model(blobs).rename(blobs / "aaaa")
    write_weights(blobs / "bbbb")
    (snapshot / "model.onnx").symlink_to(Path("../../blobs/aaaa"))
    (snapshot / "w.bin").symlink_to(Path("../../blobs/bbbb"))
    tensor = load_model(snapshot / "model.onnx").graph.initializers["w"].const_value
    assert tensor is not None
    assert tensor.numpy()[2, 1] == 5


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    message = refuse(external_model(tmp_path)).message
    assert "'w' is missing" in message
    assert "w.bin" in message


@pytest.mark.parametrize(
    "changes",
    [{"offset": "9"}, {"length": "2399"}, {"length": "2401"}, {"offset": "-8"}, {"offset": "1e3"}, {"length": ""}],
)
def test_short_external_data_is_named(tmp_path: Path, changes: dict[str, str]) -> None:
    write_weights(tmp_path / "w.bin")
    assert "'w'" in refuse(external_model(tmp_path, **changes)).message


@pytest.mark.parametrize("location", ["../w.bin", "inner/../../w.bin", "{folder}/w.bin", "C:/w.bin", "a\0b", ""])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    (folder / "inner").mkdir(parents=True)
    write_weights(tmp_path / "w.bin")
    write_weights(folder / "w.bin")
    message = refuse(external_model(folder, location.format(folder=folder))).message
    assert "'w'" in message


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    write_weights(tmp_path / "secret.bin")
    (folder / "w.bin").symlink_to(tmp_path / "secret.bin")
    message = refuse(external_model(folder)).message
    assert "outside the model's folder" in message
    assert "secret.bin" in message


def test_a_hard_link_is_refused(tmp_path: Path) -> None:
    write_weights(tmp_path / "secret.bin")
    os.link(tmp_path / "secret.bin", tmp_path / "w.bin")
    assert "hard links" in refuse(external_model(tmp_path)).message


def test_a_folder_as_external_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.bin").mkdir()
    assert "not a file" in refuse(external_model(tmp_path)).message
