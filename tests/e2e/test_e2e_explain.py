import shutil
from pathlib import Path

from study_samples import Files, run_assay


def test_a_finished_study_is_explained(finished: Path) -> None:
    ran = run_assay("explain", finished, "onnxruntime.int8-u8s8-chain-mse-bias", "--items", "10", "--json")
    assert ran.status == 0, ran.err
    document = ran.document
    assert document["schema"] == 1
    assert document["items"] == 10
    groups = document["groups"]
    assert isinstance(groups, list)
    assert {group["group"] for group in groups} == {"first", "second", "head"}
    assert sum(group["share"] for group in groups) > 0.999
    assert groups[0]["proposals"][-1]["mend"] == "keep"
    assert groups[0]["kept"]["noise"] > 0


def test_the_terminal_names_the_groups(finished: Path) -> None:
    ran = run_assay("explain", finished)
    assert ran.status == 0, ran.err
    assert "second" in ran.out
    assert "dB" in ran.out


def test_wrong_input_is_answered_in_words(finished: Path, tmp_path: Path) -> None:
    for arguments, status, said in (
        ((finished, "onnxruntime.int8-u8s8-chain-mse-bia"), 2, "did you mean"),
        ((finished, "onnxruntime.fp32"), 2, "only INT8 trials"),
        ((finished, "--items", "0"), 2, "not positive"),
        ((tmp_path,), 5, "no finished study"),
    ):
        ran = run_assay("explain", *arguments)
        assert ran.status == status
        assert said in ran.err


def test_a_changed_model_is_refused(finished: Path, files: Files, tmp_path: Path) -> None:
    copy = tmp_path / "STUDY"
    shutil.copytree(finished, copy)
    (request,) = copy.glob("measurements/*/request.json")
    text = request.read_text(encoding="utf-8")
    other = tmp_path / "small.onnx"
    other.write_bytes(files.model.read_bytes() + b"\x72\x00")  # an empty documentation string
    request.write_text(text.replace(str(files.model.resolve()), str(other)), encoding="utf-8")
    ran = run_assay("explain", copy)
    assert ran.status == 2
    assert "changed" in ran.err
    request.unlink()
    assert "run the study again" in run_assay("explain", copy).err
