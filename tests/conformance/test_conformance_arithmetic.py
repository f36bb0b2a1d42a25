"""What every backend computes in integers, and what its audit says of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from conformance_models import CASES, make_gemm, make_quantized, parse_model

from assay.backends.backend import Backend
from assay.backends.table import make_target
from assay.core.precision import Precision
from assay.core.session import Session

Opener = Callable[..., Session]


def is_exact(backend: Backend) -> bool:
    """Whether it dequantizes and computes in FP32 on purpose."""
    return backend.name == "reference" or not getattr(getattr(backend, "_settings", None), "optimise", True)


def run_reference(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """Outputs of ONNX's own evaluator, whatever Assay does with it."""
    return onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})[0]


@pytest.mark.parametrize("case", CASES)
def test_audited_shares_add_to_one(backend: Backend, opener: Opener, case: str, rng: np.random.Generator) -> None:
    found = CASES[case](rng)
    with opener(backend, found.model) as session:
        audit = session.executed(found.feeds)
    assert sum(audit.shares().values()) == pytest.approx(1)
    assert all(node.name and node.operator for node in audit.nodes)


def test_audited_products_are_counted_at_the_fed_shapes(
    backend: Backend, opener: Opener, rng: np.random.Generator
) -> None:
    found = make_gemm(rng)
    with opener(backend, found.model) as session:
        for batch in (1, 5):
            audit = session.executed({"x": found.feeds["x"][:batch]})
            assert sum(node.macs for node in audit.nodes) == batch * 12 * 7


def test_an_fp32_plan_runs_in_fp32(backend: Backend, opener: Opener, rng: np.random.Generator) -> None:
    found = CASES["residual"](rng)
    with opener(backend, found.model) as session:
        assert session.executed(found.feeds).shares()[Precision.FP32] == 1


def test_a_model_that_multiplies_nothing_has_no_shares(backend: Backend, opener: Opener) -> None:
    model = parse_model("g (float[N,6] x) => (float[N,6] y) { y = Relu(x) }")
    with opener(backend, model) as session:
        assert set(session.executed({"x": np.ones((2, 6), np.float32)}).shares().values()) == {0.0}


def test_dialects_run_as_integers(backend: Backend, opener: Opener, rng: np.random.Generator) -> None:
    for dialect in backend.dialects(make_target(backend.name)):
        model, x, _ = make_quantized(dialect, rng)
        with opener(backend, model, precision=Precision.INT8) as session:
            shares = session.executed({"x": x}).shares()
        expected = Precision.FP32 if is_exact(backend) else Precision.INT8
        assert shares[expected] == pytest.approx(1), dialect.name


@pytest.mark.parametrize("seed", range(4))
def test_integer_networks_agree_with_the_evaluator(backend: Backend, opener: Opener, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for dialect in backend.dialects(make_target(backend.name)):
        model, x, step = make_quantized(dialect, rng)
        with opener(backend, model, precision=Precision.INT8) as session:
            y = session.run({"x": x})["y"]
        difference = np.abs(y - run_reference(model, x)).max() / step
        assert difference < 1.001, dialect.name
