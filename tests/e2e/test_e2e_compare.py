"""``assay compare`` as a team's CI calls it: models, releases and trials, real runtimes, exit statuses."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
from onnx import numpy_helper
from study_samples import label, write_model

from assay.cli.program import main

ITEMS = 1200


@dataclass(frozen=True)
class Pair:
    """A reference with variants of known harm, and labelled items with two columns."""

    folder: Path
    reference: Path
    same: Path
    strained: Path
    broken: Path
    data: Path


class Assay:
    """The program, run in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._monkeypatch = capsys, monkeypatch

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        """Status, standard output and standard error, each on one line."""
        self._monkeypatch.setattr(sys, "argv", ["assay", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = self._capsys.readouterr()
        assert isinstance(left.value.code, int)
        return left.value.code, " ".join(out.split()), " ".join(err.split())


@pytest.fixture
def assay(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Assay:
    return Assay(capsys, monkeypatch)


def disturb(source: Path, into: Path, amount: float) -> Path:
    """The model with noise on its weights."""
    model = onnx.load(source)
    rng = np.random.default_rng(7)
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        noisy = value * (1 + amount * rng.normal(size=value.shape))
        tensor.CopyFrom(numpy_helper.from_array(noisy.astype(np.float32), tensor.name))
    onnx.save(model, into)
    return into


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("pair")
    rng = np.random.default_rng(3)
    reference = folder / "reference.onnx"
    write_model(reference, rng)
    images = rng.normal(0, 1, (ITEMS, 3, 12, 12)).astype(np.float32)
    target = label(reference, images)
    wrong = rng.random(ITEMS) < 0.2
    target[wrong] = rng.integers(0, 6, wrong.sum())
    source = np.where(np.arange(ITEMS) % 2, "left", "right")
    data = folder / "items.npz"
    np.savez(data, image=images, target=target, source=source)
    return Pair(
        folder=folder,
        reference=reference,
        same=disturb(reference, folder / "same.onnx", 1e-4),
        strained=disturb(reference, folder / "strained.onnx", 0.04),
        broken=disturb(reference, folder / "broken.onnx", 0.4),
        data=data,
    )


def options(pair: Pair, tolerance: str = "top1: 2pp") -> list[str | Path]:
    return ["--task", "classification", "--tolerance", tolerance, "--evaluation", pair.data]


def test_a_harmless_change_is_certified_early(pair: Pair, assay: Assay, tmp_path: Path) -> None:
    status, out, err = assay("compare", pair.reference, pair.same, *options(pair), "--output", tmp_path / "out")
    assert status == 0, err
    assert out.startswith("Certified: ")
    assert "same.onnx (onnxruntime) is at most 2.00 pp worse than" in out
    document = json.loads((tmp_path / "out/comparison.json").read_text())
    certificate = document["certificate"]
    assert (document["status"], document["exit"]) == ("certified", 0)
    assert certificate["n"] < certificate["available"] == ITEMS
    assert certificate["high"] <= certificate["margin"]
    assert document["a"]["scored"] == document["b"]["scored"] == certificate["n"]
    assert "### Certified: `" in (tmp_path / "out/comparison.md").read_text()


def test_a_broken_one_is_worse(pair: Pair, assay: Assay) -> None:
    status, out, _ = assay("compare", pair.reference, pair.broken, *options(pair), "--json")
    document = json.loads(out)
    assert status == document["exit"] == 10
    assert document["certificate"]["low"] > document["certificate"]["margin"]
    assert document["quality"]["flips_lost"] > document["quality"]["flips_won"]


def test_what_is_open_says_how_many_items_would_decide(pair: Pair, assay: Assay) -> None:
    status, out, err = assay("compare", pair.reference, pair.strained, *options(pair, "top1: 0.3pp"))
    assert status == 11
    assert out.startswith("Cannot tell: ")
    assert f"On all {ITEMS:,} items" in out
    assert "would probably decide" in out
    status, out, err = assay("compare", pair.reference, pair.same, *options(pair, "top1: 0.1pp"), "--json")
    assert status == 11
    assert "cannot certify" in err
    assert json.loads(out)["items_needed"] > ITEMS


def test_a_new_tolerance_slice_and_confidence_need_no_inference(pair: Pair, assay: Assay, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assay("compare", pair.reference, pair.same, *options(pair), "--full", "--output", out)
    more = ["--slice", "source: 10pp", "--slice", "class: 30pp", "--confidence", "0.9", "--json"]
    status, text, err = assay("compare", pair.reference, pair.same, *options(pair, "top1: 3%"), *more, "--output", out)
    assert status == 0, err
    document = json.loads(text)
    assert document["a"]["scored"] == document["b"]["scored"] == 0
    slices = {(one["column"], one["value"]): one["n"] for one in document["certificate"]["slices"]}
    assert slices["source", "left"] == slices["source", "right"] == ITEMS // 2
    with np.load(pair.data) as data:
        assert slices["class", "2"] == np.count_nonzero(data["target"] == 2)
    assert (out / document["a"]["scores"]).is_file()


def test_another_runtime_and_an_openvino_model(pair: Pair, assay: Assay, tmp_path: Path) -> None:
    xml = tmp_path / "same.xml"
    openvino.save_model(openvino.convert_model(str(pair.same)), xml, compress_to_fp16=False)
    status, out, err = assay("compare", pair.reference, xml, *options(pair), "--json")
    assert status == 0, err
    document = json.loads(out)
    assert (document["a"]["runtime"], document["b"]["runtime"]) == ("onnxruntime", "openvino")
    assert document["b"]["kind"] == "OpenVINO IR"
    status, out, _ = assay("compare", pair.reference, pair.same, *options(pair), "--runtime-b", "openvino", "--json")
    assert (status, json.loads(out)["b"]["runtime"]) == (0, "openvino")


def test_a_release_and_a_trial_are_compared(pair: Pair, finished: Path, assay: Assay, tmp_path: Path) -> None:
    record = json.loads((finished / "study.json").read_text())
    status, _, err = assay("release", finished, tmp_path / "release")
    assert status == 0, err
    trial = f"{finished}:{record['decision']['chosen']}"
    status, out, err = assay("compare", trial, tmp_path / "release", *options(pair), "--json")
    assert status == 0, err
    document = json.loads(out)
    assert (document["a"]["kind"], document["b"]["kind"]) == ("trial", "release")
    assert document["quality"]["flips_lost"] == document["quality"]["flips_won"] == 0


def test_keys_come_from_a_study_file(pair: Pair, assay: Assay, tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(
        f"task = 'classification'\ntolerance = 'top1: 2pp'\n[evaluation]\npath = {str(pair.data)!r}\nitems = 400\n"
    )
    status, out, err = assay("compare", pair.reference, pair.same, "--config", study, "--json")
    assert status == 0, err
    assert json.loads(out)["certificate"]["available"] == 400


def test_bad_input_is_named(pair: Pair, assay: Assay, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"this is no model")
    (tmp_path / "alone.xml").write_text("<net/>")
    good = pair.reference
    with np.load(pair.data) as arrays:
        shifted = np.where(np.arange(ITEMS) == ITEMS - 1, 6, arrays["target"])
        np.savez(tmp_path / "shifted.npz", image=arrays["image"], target=shifted)
    for first, more, status, named in [
        ("missing.onnx", [], 2, "missing.onnx does not exist"),
        (tmp_path / "broken.onnx", [], 2, "broken.onnx"),
        (tmp_path / "alone.xml", [], 2, "alone.bin"),
        (tmp_path, [], 2, "neither a release nor a finished study"),
        (good, ["--runtime", "onnxrunime"], 2, "onnxruntime"),
        (good, ["--slice", "camera: 5pp"], 2, "camera"),
        (good, ["--tolerance", "top9: 5pp"], 2, "top9"),
        (good, ["--confidence", "95"], 2, "confidence 95"),
        (good, ["--task", "detect"], 2, "detect"),
        (good, ["--evaluation", str(tmp_path / "shifted.npz")], 2, f"item {ITEMS - 1} is 6, and the model has 6"),
    ]:
        found, _, err = assay("compare", first, pair.same, *options(pair), *more)
        assert (found, named in err) == (status, True), err


def test_a_model_that_the_runtime_refuses_ends_in_3(pair: Pair, assay: Assay, tmp_path: Path) -> None:
    model = onnx.load(pair.reference)
    model.graph.node[0].op_type = "Konvolution"
    onnx.save(model, tmp_path / "odd.onnx")
    (tmp_path / "comparison.md").write_text("of an earlier one")
    status, _, err = assay("compare", pair.reference, tmp_path / "odd.onnx", *options(pair), "--output", tmp_path)
    assert status == 3
    assert "Konvolution" in err
    assert not (tmp_path / "comparison.md").exists()
