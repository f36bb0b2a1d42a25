"""Runtimes that build for devices that are not here, from the request to the report."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from study_samples import Files as StudyFiles
from study_samples import label, run_assay, study_arguments, write_model
from tensorrt_samples import builds, no_gpu

from assay.backends.backend import Availability
from assay.core.errors import BackendUnavailable, RequestError
from assay.core.plan import Candidate, Plan
from assay.core.precision import Precision
from assay.core.target import ShapeRange
from assay.core.tensor import Signature, TensorSpec
from assay.studies import elsewhere
from assay.studies.elsewhere import find_runtimes
from assay.studies.shapes import find_shapes


@dataclass
class Stand:
    """A runtime that only tells what it is."""

    name: str
    found: Availability = field(default_factory=lambda: Availability(available=True))

    def probe(self) -> Availability:
        return self.found


STANDS = {
    "here": Stand("here"),
    "both": Stand("both", Availability(available=True, builds=("arm", "sm75"))),
    "apart": Stand("apart", Availability(available=False, missing="no GPU", remedy="buy one", builds=("sm86", "sm75"))),
    "gone": Stand("gone", Availability(available=False, missing="no package", remedy="install it")),
}


@pytest.fixture(autouse=True)
def _stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "load_backend", STANDS.__getitem__)


def list_places(names: tuple[str, ...], devices: tuple[str, ...] = ()) -> list[tuple[str, str, str]]:
    return [(one.runtime, one.device, one.reason) for one in find_runtimes(names, devices).elsewhere]


def test_what_cannot_run_builds_for_its_usual_device() -> None:
    found = find_runtimes(("here", "apart", "gone"), ())
    assert list(found.here) == ["here"]
    assert list(found.missing) == ["gone"]
    assert [one.sentence for one in found.elsewhere] == ["apart for sm86 is built and not measured: no GPU"]
    assert set(found.tools) == {"here", "apart"}


def test_devices_that_are_named_are_built_by_all_that_can() -> None:
    assert list_places(("both", "apart"), ("sm75",)) == [
        ("both", "sm75", "no sm75 is here"),
        ("apart", "sm75", "no GPU"),
    ]
    assert list_places(("both", "apart"), ("arm",)) == [("both", "arm", "no arm is here"), ("apart", "sm86", "no GPU")]
    assert list_places(("here", "both")) == []


def test_a_device_that_nobody_builds_for_is_refused() -> None:
    with pytest.raises(RequestError, match="'sm99'") as caught:
        find_runtimes(("both", "apart"), ("sm99",))
    assert caught.value.hint == "they build for arm, sm75, sm86"


def test_one_runtime_must_run_here() -> None:
    with pytest.raises(BackendUnavailable, match=r"gone: no package; install it; apart: no GPU"):
        find_runtimes(("apart", "gone"), ())


def test_candidates_for_elsewhere_have_ids_of_their_own() -> None:
    here, there = Candidate("apart", Plan(Precision.FP32)), Candidate("apart", Plan(Precision.FP32), "sm86")
    assert (here.id, there.id) == ("apart.fp32", "apart@sm86.fp32")
    assert (here.place, there.place) == ("apart", "apart for sm86")


def test_shapes_are_those_of_the_calls() -> None:
    signature = Signature((TensorSpec("ids", "int64", ("n", "length")), TensorSpec("x", "float32", ("n", 3))), ())

    def call(items: int, length: int) -> dict[str, np.ndarray]:
        return {"ids": np.zeros((items, length), np.int64), "x": np.zeros((items, 3), np.float32)}

    ids, x = find_shapes(signature, [call(2, 16), call(2, 8)], call(1, 64), 32)
    assert ids == ShapeRange("ids", (1, 1), (2, 16), (32, 64))
    assert x == ShapeRange("x", (1, 3), (2, 3), (32, 3))
    (even, _) = find_shapes(signature, [call(64, 16)], call(2, 16), 8)
    assert even == ShapeRange("ids", (1, 16), (64, 16), (64, 16))
    assert find_shapes(signature, [{"ids": np.zeros((1, 1))}], call(1, 1), 4) == ()


@pytest.fixture
def files(tmp_path: Path) -> StudyFiles:
    rng = np.random.default_rng(0)
    paths = StudyFiles(tmp_path, *(tmp_path / name for name in ("m.onnx", "c.npz", "e.npz")))
    write_model(paths.model, rng)
    images = rng.standard_normal((240, 3, 12, 12)).astype(np.float32)
    np.savez(paths.calibration, image=images[:32], allow_pickle=False)
    np.savez(paths.evaluation, image=images, target=label(paths.model, images), allow_pickle=False)
    return paths


@pytest.mark.slow
@builds
@no_gpu
def test_a_study_builds_8_bit_floats_where_a_gpu_has_them_and_says_where_none_has(files: StudyFiles) -> None:
    extra = ("--runtimes", "onnxruntime,tensorrt", "--build-for", "sm86,sm89", "--ranges", "mse", "--mixed-plans", "0")
    arguments = [*study_arguments(files, files.folder / "out"), *extra, "--precisions", "fp8", "--json"]
    ran = run_assay(*arguments, limit_s=900)
    assert ran.status == 0, ran.err
    trials = {trial["id"]: trial for trial in ran.document["trials"]}  # type: ignore[attr-defined] # JSON
    built = trials["tensorrt@sm89.fp8-mse"]
    assert (built["status"], built["precision"]) == ("built", "fp8")
    assert built["reason"].startswith("built, not measured: no GPU")
    assert built["size_bytes"] > 10_000
    refused = trials["tensorrt@sm86.fp8-mse"]
    assert refused["status"] == "unsupported"
    assert refused["reason"].endswith("a GPU of compute capability 8.6 has no fp8")
    assert "would compute 8-bit floats in fp32" in trials["onnxruntime.fp8-mse"]["reason"]
    page = (files.folder / "out" / "report.md").read_text(encoding="utf-8")
    assert "FP8 tensorrt for sm89 mse | built only" in page


@pytest.mark.slow
@builds
@no_gpu
def test_a_study_builds_for_a_gpu_that_is_not_here(files: StudyFiles) -> None:
    output = files.folder / "out"
    extra = ("--runtimes", "onnxruntime,tensorrt", "--build-for", "sm75,sm86", "--ranges", "mse", "--mixed-plans", "0")
    arguments = [*study_arguments(files, output), *extra, "--precisions", "fp16,int8", "--json"]
    ran = run_assay(*arguments, limit_s=900)
    assert ran.status == 0, ran.err
    trials = {trial["id"]: trial for trial in ran.document["trials"]}  # type: ignore[attr-defined] # JSON
    built = {name: trial for name, trial in trials.items() if trial["status"] == "built"}
    assert {name.split(".")[0] for name in built} == {"tensorrt@sm75", "tensorrt@sm86"}
    assert {trial["precision"] for trial in built.values()} == {"fp32", "fp16", "int8"}
    assert all(trial["size_bytes"] > 10_000 and trial["quality"] is None for trial in built.values())
    assert all(trial["reason"].startswith("built, not measured: no GPU") for trial in built.values())
    assert trials["tensorrt@sm75.fp32"]["status"] == "failed"
    assert "'head'" in trials["tensorrt@sm75.fp32"]["reason"]
    decision = ran.document["decision"]
    assert not {decision["chosen"], *decision["fallbacks"], *decision["front"]} & set(built)  # type: ignore[index] # JSON
    record = json.loads((output / "study.json").read_bytes())
    addresses = {trial["artifact"] for trial in record["trials"] if trial["status"] == "built"}
    assert all(list((output / "artifacts" / address).glob("*.engine")) for address in addresses)
    page = (output / "report.md").read_text(encoding="utf-8")
    assert "FP16 tensorrt for sm86 | built only" in page
    assert "tensorrt for sm86 is built and not measured: no GPU" in page
    again = run_assay(*arguments, limit_s=900)
    assert "nothing to do" in again.err
