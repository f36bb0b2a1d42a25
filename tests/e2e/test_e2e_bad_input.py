"""Bad input, each with a message that names it and its exit status; nothing is lost and nothing is left behind."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image
from study_samples import Files, study_arguments

from assay.cli.program import main


def call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[int, str, str]:
    """Run the program in this process; its status, standard output and standard error on one line."""
    monkeypatch.setattr(sys, "argv", ["assay", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    out, err = capsys.readouterr()
    assert isinstance(left.value.code, int)
    return left.value.code, out, " ".join(err.split())


def change(arguments: list[str | Path], option: str, value: object) -> list[str | Path]:
    """The arguments with one of them changed, or one more."""
    changed = list(arguments)
    if option not in changed:
        return [*changed, option, str(value)]
    changed[changed.index(option) + 1] = str(value)
    return changed


def save(path: Path, **arrays: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Path:
    np.savez(path, allow_pickle=False, **arrays)
    return path


IMAGES = np.zeros((4, 3, 12, 12), np.float32)
LABELS = np.zeros(4, np.int64)
MANY = np.zeros((900, 3, 12, 12), np.float32)


def with_nan() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    broken = IMAGES.copy()
    broken[2, 0, 0, 0] = np.nan
    return broken


@pytest.mark.parametrize(
    ("arrays", "named"),
    [
        ({"picture": IMAGES, "target": LABELS}, "image"),
        ({"image": IMAGES.astype(np.float64), "target": LABELS}, "float64"),
        ({"image": IMAGES[:, :, :11], "target": LABELS}, "11"),
        ({"image": with_nan(), "target": LABELS}, "2"),
        ({"image": IMAGES[:0], "target": LABELS[:0]}, "zero items"),
        ({"image": IMAGES, "target": LABELS + 99}, "99"),
        ({"image": IMAGES, "target": LABELS - 1}, "-1"),
        ({"image": MANY, "target": np.where(np.arange(900) == 777, 6, 0)}, "item 777"),
        ({"image": IMAGES, "labels": LABELS}, "Are 'labels' the labels?"),
        ({"image": IMAGES, "target": LABELS[:3]}, "3"),
        ({"image": IMAGES}, "target"),
        ({"image": IMAGES, "target": LABELS.astype(np.float32) + 0.5}, "target"),
    ],
)
def test_wrong_data_is_named(
    files: Files,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]],
    named: str,
) -> None:
    data = save(tmp_path / "wrong_data.npz", **arrays)
    arguments = change(study_arguments(files, tmp_path / "S"), "--evaluation", data)
    status, _, err = call(capsys, monkeypatch, *arguments)
    assert status == 2, err
    assert named in err
    assert "wrong_data.npz" in err
    assert "hint:" in err


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        (("nope",), 2, "see `assay --help`"),
        (("calibration", "nope"), 2, "see `assay calibration --help`"),
        (("calibration", "show", "--nope"), 2, "see `assay calibration show --help`"),
        (("init", "model.onnx"), 2, "model.onnx does not end in .toml"),
    ],
)
def test_a_command_line_that_is_none_is_told_where_help_is(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    status: int,
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    left, _, err = call(capsys, monkeypatch, *arguments)
    assert (left, named in err) == (status, True), err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_an_image_is_no_folder_of_images(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.md").write_text("no picture")
    arguments = change(study_arguments(files, tmp_path / "S"), "--evaluation", tmp_path / "folder")
    status, _, err = call(capsys, monkeypatch, *arguments)
    assert status == 2
    assert "folder" in err
    assert "zero images" in err


def write_labelled(folder: Path, form: str, labels: np.ndarray[tuple[int], np.dtype[np.int64]]) -> str:
    """Pictures of zeros with these labels, as a table or a function; what ``--evaluation`` names."""
    if form == "function":
        content = f"""
import numpy as np
def items():
    for label in {labels.tolist()}:
        yield {{"image": np.zeros((3, 12, 12), np.float32), "target": label}}
"""
        (folder / "labelled_items.py").write_text(content)
        return "labelled_items:items"
    pa = pytest.importorskip("pyarrow")
    pixels = pa.array(np.zeros((len(labels) * 432), np.float32))
    table = pa.table({"image": pa.FixedSizeListArray.from_arrays(pixels, 432), "target": labels})
    if form == "rows.parquet":
        pytest.importorskip("pyarrow.parquet").write_table(table, folder / form)
    else:
        pytest.importorskip("pyarrow.feather").write_feather(table, str(folder / form))
    return str(folder / form)


@pytest.mark.parametrize("form", ["rows.parquet", "rows.feather", "function"])
def test_labels_without_a_class_are_refused_before_anything_runs(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.chdir(tmp_path)
    named = write_labelled(tmp_path, form, np.where(np.arange(900) == 777, 6, 0))
    status, _, err = call(capsys, monkeypatch, *change(study_arguments(files, tmp_path / "S"), "--evaluation", named))
    assert status == 2, err
    assert "target of item 777 is 6, and the model has 6 classes" in err
    assert not (tmp_path / "S" / "measurements").exists()


def test_a_pickled_array_is_refused(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pickled.npz"
    np.savez(path, image=np.array([{"a": 1}], dtype=object), target=LABELS[:1])
    arguments = change(study_arguments(files, tmp_path / "S"), "--evaluation", path)
    status, _, err = call(capsys, monkeypatch, *arguments)
    assert status == 2
    assert "pickled.npz" in err


def test_an_unreadable_image_is_named(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (12, 12)).save(tmp_path / "photos" / name / "good.png")
    (tmp_path / "photos" / "b" / "bad.png").write_bytes(b"no picture")
    study = tmp_path / "study.toml"
    study.write_text(
        f"model = {str(files.model)!r}\noutput = {str(tmp_path / 'S')!r}\ntask = 'classification'\n"
        f"tolerance = 'top1: 1pp'\nprecisions = ['fp32']\n[evaluation]\npath = 'photos'\n[preprocess]\nscale = 255\n"
    )
    status, _, err = call(capsys, monkeypatch, "study", study)
    assert status == 2
    assert "bad.png" in err


@pytest.mark.parametrize(
    ("content", "named"),
    [(b"", "empty"), (b"this is no model", "broken.onnx"), (None, "broken.onnx")],
)
def test_a_wrong_model_is_named(
    files: Files,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    content: bytes | None,
    named: str,
) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(files.model.read_bytes()[:-40] if content is None else content)
    arguments = study_arguments(files, tmp_path / "S")
    arguments[1] = broken
    status, _, err = call(capsys, monkeypatch, *arguments)
    assert status == 2
    assert named in err
    assert not (tmp_path / "S" / "study.json").exists()


def test_a_model_of_another_kind_does_not_fit_the_task(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = helper.make_node("Relu", ["image"], ["picture"], name="only")
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 12, 12])
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["batch", 3, 12, 12])
    model = helper.make_model(
        helper.make_graph([node], "g", [image], [picture]), opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )
    onnx.save(model, tmp_path / "denoiser.onnx")
    arguments = study_arguments(files, tmp_path / "S")
    arguments[1] = tmp_path / "denoiser.onnx"
    status, _, err = call(capsys, monkeypatch, *arguments)
    assert status == 2
    assert "picture" in err


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--tolerance", "top1 half", "top1 half"),
        ("--tolerance", "top9: 1pp", "top9"),
        ("--task", "clasification", "classification"),
        ("--minimize", "throughput", "throughput"),
        ("--latency-seconds", "soon", "soon"),
        ("--runtimes", "", "no runtime is named"),
        ("--precisions", ",", "no precision is named"),
        ("--confidence", "0.2", "give 0.5 or more and less than 1"),
    ],
)
def test_a_wrong_flag_is_named(
    files: Files,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    value: str,
    named: str,
) -> None:
    arguments = change(study_arguments(files, tmp_path / "S"), option, value)
    status, _, err = call(capsys, monkeypatch, *arguments)
    assert status == 2
    assert named in err


def test_an_error_is_json_where_json_is_asked(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = change(study_arguments(files, tmp_path / "S"), "--evaluation", tmp_path / "nothing.npz")
    status, out, _ = call(capsys, monkeypatch, *arguments, "--json")
    assert status == 2
    error = json.loads(out)["error"]
    assert "nothing.npz" in error["message"]
    assert error["exit"] == 2


def test_a_folder_that_cannot_be_written_is_named(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    status, _, err = call(capsys, monkeypatch, *study_arguments(files, tmp_path / "file" / "S"))
    assert status == 5
    assert "file" in err


@pytest.mark.parametrize("command", ["show", "report", "verify"])
def test_an_empty_folder_is_no_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    status, _, err = call(capsys, monkeypatch, command, tmp_path)
    assert status == 5
    assert str(tmp_path.name) in err


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    status, _, err = call(capsys, monkeypatch, "studdy")
    assert status == 2
    assert "studdy" in err


def test_init_writes_once(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "study.toml"
    assert call(capsys, monkeypatch, "init", path)[0] == 0
    path.write_text("mine")
    status, _, err = call(capsys, monkeypatch, "init", path)
    assert status == 2
    assert "exists" in err
    assert path.read_text() == "mine"
    assert call(capsys, monkeypatch, "init", path, "--force")[0] == 0


def test_doctor_tells_of_every_runtime(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, _ = call(capsys, monkeypatch, "doctor", "--json")
    assert status == 0
    told = json.loads(out)
    assert {runtime["name"] for runtime in told["runtimes"]} >= {"onnxruntime", "openvino", "reference"}
    assert all(runtime["version"] or runtime["remedy"] for runtime in told["runtimes"])
    assert call(capsys, monkeypatch, "doctor")[0] == 0
