"""Every backend of the table, opened the same way; a backend that is missing here is skipped with its own reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from assay.backends.backend import Backend
from assay.backends.onnxruntime.adapter import OnnxRuntimeBackend
from assay.backends.table import list_backends, load_backend, make_target
from assay.backends.torch.adapter import TorchBackend
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.session import Session
from assay.core.target import ServingMode

EXACT = "onnxruntime-exact"
COMPILED = "torch-compiled"
Opener = Callable[..., Session]


def make_backend(name: str) -> Backend:
    if name == EXACT:
        return OnnxRuntimeBackend(optimise=False)
    if name == "torch":
        return TorchBackend(compiled=False)  # compiling every small model takes seconds
    if name == COMPILED:
        return TorchBackend()
    return load_backend(name)


@pytest.fixture(params=[*list_backends(), EXACT, pytest.param(COMPILED, marks=pytest.mark.slow)])
def backend(request: pytest.FixtureRequest) -> Backend:
    found = make_backend(request.param)
    availability = found.probe()
    if not availability.available:
        pytest.skip(f"{request.param}: {availability.missing}")
    return found


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260731)


@pytest.fixture
def opener(tmp_path: Path) -> Opener:
    """Builds a model in a fresh folder and opens it."""

    def build_and_open(
        backend: Backend,
        model: onnx.ModelProto,
        *,
        precision: Precision = Precision.FP32,
        threads: int = 1,
        mode: ServingMode = ServingMode.LATENCY,
    ) -> Session:
        number = len(list(tmp_path.iterdir()))
        source, built = tmp_path / f"source{number}.onnx", tmp_path / f"built{number}"
        onnx.save(model, source)
        built.mkdir()
        target = make_target(backend.name, threads=threads, mode=mode)
        backend.build(source, built, Plan(precision), target)
        source.unlink()  # the built folder must be all that it takes
        return backend.open(built, target)

    return build_and_open
