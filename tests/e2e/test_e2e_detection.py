"""A detector's raw head from the command line: studied with a named decoder, and what is wrong with data or decoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from detector_samples import draw_pictures, write_detector
from numpy.typing import NDArray
from study_samples import Files, Ran, call_assay, run_assay

from assay.studies.holding import can_hold

FAST = ("--latency-seconds", "0.5", "--mixed-plans", "0", "--ranges", "min-max", "--repairs", "none")
EXAMPLE = Path(__file__).parents[2] / "examples/detection"


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("detector")
    write_detector(folder / "squares.onnx")
    images, target = draw_pictures(240, 1)
    np.savez(folder / "evaluation.npz", image=images, target=target)
    np.savez(folder / "calibration.npz", image=draw_pictures(48, 2)[0])
    return Files(folder, folder / "squares.onnx", folder / "calibration.npz", folder / "evaluation.npz")


def study(detector: Files, evaluation: Path, output: Path, *flags: str) -> Ran:
    data = ("--calibration", str(detector.calibration), "--evaluation", str(evaluation), "--task", "detection")
    usual = ("--tolerance", "map50: 10pp", "--runtimes", "onnxruntime", "--precisions", "fp32,int8")
    return call_assay("study", detector.model, *data, *usual, *FAST, "--output", output, *flags)


BOARD = 'name = "board"\nmemory = "400MiB"\nfps = 30\n'


def test_a_raw_head_is_studied_by_its_decoder_and_held_to_a_board(detector: Files, tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    (tmp_path / "board.toml").write_text(BOARD)
    file.write_text(
        f"""
model = "{detector.model}"
output = "STUDY"
task = "detection"
decoder = "yolov8"
device = "board.toml"
tolerance = "map50: 10pp"
runtimes = ["onnxruntime"]
precisions = ["fp32", "int8"]
[decoding]
least_score = 0.2
[calibration]
path = "{detector.calibration}"
[evaluation]
path = "{detector.evaluation}"
"""
    )
    ran = run_assay("study", file, *FAST, "--json")
    assert ran.status == 0, ran.err
    trials = ran.document["trials"]
    assert isinstance(trials, list)
    reference = next(trial for trial in trials if trial["reference"])
    assert reference["quality"]["value"] == pytest.approx(1, abs=0.02)
    integer = [trial for trial in trials if trial["precision"] == "int8" and trial["status"] == "ok"]
    assert integer
    assert max(trial["quality"]["value"] for trial in integer) > 0.9
    report = (tmp_path / "STUDY/report.md").read_text()
    assert "## By class" in report
    assert "## On the device" in report
    if can_hold():
        assert all(trial["held"]["frames"] >= 290 for trial in (reference, *integer))
        assert all(trial["held"]["limit_bytes"] == 400 * 2**20 for trial in (reference, *integer))


def spoil(detector: Files, folder: Path, change: NDArray[np.float32] | None) -> Path:
    """The evaluation data with another first object on every item; with no object at all where None."""
    with np.load(detector.evaluation) as stored:
        images, target = stored["image"], stored["target"].copy()
    if change is None:
        target[:] = -1
    else:
        target[:, 0] = change
    path = folder / "spoilt.npz"
    np.savez(path, image=images, target=target)
    return path


OUTSIDE = "object 0 of item 0 [0, 0, 90, 16, 1] lies outside the model's input of 64x64 pixels"
LACKED = "object 0 of item 0 [0, 0, 16, 16, 3] has a class that the model lacks: its classes are 0 to 2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param([0, 0, 90, 16, 1], OUTSIDE, marks=pytest.mark.slow),
        pytest.param([16, 0, 0, 16, 1], "item 0 [16, 0, 0, 16, 1] has no area", marks=pytest.mark.slow),
        ([0, 0, 16, 16, 3], LACKED),
        pytest.param(None, "pictures that were drawn to search with has an object", marks=pytest.mark.slow),
    ],
)
def test_boxes_that_cannot_be_right_are_named(
    detector: Files, tmp_path: Path, change: list[float] | None, message: str
) -> None:
    array = None if change is None else np.array(change, np.float32)
    ran = study(detector, spoil(detector, tmp_path, array), tmp_path / "S", "--decoder", "yolov8")
    assert ran.status == (4 if change is None else 2)
    assert message in " ".join(ran.err.split())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--decoder", "yolo8"), "did you mean 'yolov8'?"),
        pytest.param(("--decoder", "ssd"), "decoder ssd needs decoding.anchors", marks=pytest.mark.slow),
        pytest.param(("--decoder", "yolox"), "64 places, which no strides of 64x64 pixels", marks=pytest.mark.slow),
        pytest.param((), "or name what reads a raw head, such as decoder = 'yolov8'", marks=pytest.mark.slow),
        pytest.param(("--decoder", "yolov8", "--task", "classification"), "takes no decoder", marks=pytest.mark.slow),
    ],
)
def test_a_wrong_decoder_is_told(detector: Files, tmp_path: Path, flags: tuple[str, ...], message: str) -> None:
    ran = study(detector, detector.evaluation, tmp_path / "S", *flags)
    assert ran.status == 2
    assert message in " ".join(ran.err.split())


@pytest.mark.slow
@pytest.mark.skipif(not (EXAMPLE / "files/nanodet.onnx").exists(), reason="examples/detection/fetch.py was not run")
def test_the_example_has_the_metric_that_it_states(tmp_path: Path) -> None:
    """FP32 alone, on the first 150 pictures: 0.68 by COCO's metric at an overlap of 0.50."""
    flags = (
        "--precisions",
        "fp32",
        "--runtimes",
        "onnxruntime",
        "--latency-seconds",
        "3",
        "--tolerance",
        "map50: 20pp",
    )
    with np.load(EXAMPLE / "files/evaluation.npz") as stored:
        part = {name: stored[name][:150] for name in stored.files}
    np.savez(tmp_path / "part.npz", **part)
    flags = (*flags, "--evaluation", str(tmp_path / "part.npz"), "--output", str(tmp_path / "S"))
    ran = run_assay("study", EXAMPLE / "study.toml", *flags, "--json", limit_s=3600)
    assert ran.status == 0, ran.err
    trials = ran.document["trials"]
    assert isinstance(trials, list)
    assert trials[0]["quality"]["value"] == pytest.approx(0.68, abs=0.1)
