"""Runtimes that build for devices that are not here: every model and every form that they declare becomes files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from conformance_models import CASES, make_quantized

from assay.backends.backend import Backend
from assay.backends.table import list_backends, load_backend
from assay.core.errors import BackendUnavailable
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.target import Target


def list_places() -> Iterator[tuple[str, str]]:
    for name in list_backends():
        yield from ((name, device) for device in load_backend(name).probe().builds)


PLACES = list(list_places())


@pytest.fixture(params=PLACES, ids="-".join)
def place(request: pytest.FixtureRequest) -> tuple[Backend, Target]:
    name, device = request.param
    return load_backend(name), Target(name, device=device)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261122)


def build(place: tuple[Backend, Target], model: onnx.ModelProto, folder: Path, plan: Plan) -> Path:
    backend, target = place
    onnx.save(model, folder / "model.onnx")
    built = folder / "built"
    built.mkdir()
    backend.build(folder / "model.onnx", built, plan, target)
    assert sum(path.stat().st_size for path in built.rglob("*")) > 0
    return built


@pytest.mark.parametrize("case", ["conv", "residual"])
def test_models_are_built(place: tuple[Backend, Target], case: str, tmp_path: Path, rng: np.random.Generator) -> None:
    build(place, CASES[case](rng).model, tmp_path, Plan(Precision.FP32))


def test_declared_dialects_are_built(place: tuple[Backend, Target], tmp_path: Path, rng: np.random.Generator) -> None:
    backend, target = place
    for number, dialect in enumerate(backend.dialects(target)):
        folder = tmp_path / str(number)
        folder.mkdir()
        model, _, _ = make_quantized(dialect, rng)
        quantized = onnx.ModelProto()
        quantized.CopyFrom(model)
        build(place, keep_convolutions(quantized), folder, Plan(Precision.INT8))


def keep_convolutions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The quantized network up to its last convolution: not every device has FP32 matrix products behind it."""
    last = max(index for index, node in enumerate(model.graph.node) if node.op_type == "Conv")
    output = model.graph.node[last].output[0]
    return onnx.utils.Extractor(onnx.shape_inference.infer_shapes(model)).extract_model(["x"], [output])


def test_nothing_is_opened(place: tuple[Backend, Target], tmp_path: Path, rng: np.random.Generator) -> None:
    backend, target = place
    built = build(place, CASES["conv"](rng).model, tmp_path, Plan(Precision.FP32))
    with pytest.raises(BackendUnavailable) as caught:
        backend.open(built, target)
    assert target.device in caught.value.message


def test_an_unknown_device_is_refused_in_words(place: tuple[Backend, Target]) -> None:
    backend, _ = place
    support = backend.supports(Plan(Precision.FP32), Target(backend.name, device="nowhere"))
    assert not support.supported
    assert "nowhere" in support.reason
