from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graph_samples import run
from onnx.reference import ReferenceEvaluator
from quantize_samples import (
    ATTENTION,
    ATTENTION_SHAPES,
    GATED,
    GATED_SHAPES,
    RESIDUAL,
    RESIDUAL_SHAPES,
    U8S8,
    draw,
    make,
    measure_sqnr,
    solve,
)

from assay.backends.backend import Backend
from assay.backends.onnxruntime.adapter import OnnxRuntimeBackend
from assay.backends.openvino.adapter import OpenVinoBackend
from assay.backends.openvino.vendor import read_capabilities
from assay.backends.reference.operators import OPERATORS
from assay.core.plan import Plan, Scheme
from assay.core.precision import CastStyle, Placement, Precision, RangeMethod
from assay.core.target import Target
from assay.graph.cast import cast_floats
from assay.graph.groups import find_groups
from assay.graph.narrow import round_nodes
from assay.graph.simulate import simulate

MODELS = {
    "residual": make(RESIDUAL, RESIDUAL_SHAPES),
    "gated": make(GATED, GATED_SHAPES),
    "attention": make(ATTENTION, ATTENTION_SHAPES),
}
CHAIN = Scheme(U8S8, Placement.CHAIN, RangeMethod.MIN_MAX)


def round_all(model: ir.Model, precision: Precision) -> ir.Model:
    return round_nodes(model, {str(node.name) for node in model.graph}, precision)


def run_built(backend: Backend, model: ir.Model, plan: Plan, feeds: dict[str, np.ndarray], folder: Path) -> np.ndarray:
    built = folder / backend.name
    built.mkdir()
    ir.save(model, folder / "m.onnx")
    target = Target(backend.name, batch=len(feeds["x"]))
    backend.build(folder / "m.onnx", built, plan, target)
    with backend.open(built, target) as session:
        return np.asarray(session.run(feeds)["y"])


def run_rounded(model: ir.Model, precision: Precision, feeds: dict[str, np.ndarray], folder: Path) -> list[np.ndarray]:
    """Outputs with and without the runtime's optimizer, which must not take out the casts."""
    rounded = round_all(model, precision)
    onnx.checker.check_model(ir.to_proto(rounded), full_check=True)
    return [run(rounded, feeds)[0], run_built(OnnxRuntimeBackend(), rounded, Plan(Precision.FP32), feeds, folder)]


@pytest.mark.parametrize("name", MODELS)
def test_fp16_errs_as_a_cast_model_does(name: str, tmp_path: Path) -> None:
    model = MODELS[name]
    feeds = draw(model)
    (exact,) = run(model, feeds)
    cast = ir.to_proto(cast_floats(model, Precision.FP16, CastStyle.TYPED, {}))
    with np.errstate(over="ignore", invalid="ignore"):  # the evaluator's own Sigmoid: its exponential ends at 11
        meant = np.asarray(ReferenceEvaluator(cast, new_ops=list(OPERATORS)).run(None, dict(feeds))[0])
    for found in run_rounded(model, Precision.FP16, feeds, tmp_path):
        assert measure_sqnr(exact, found) == pytest.approx(measure_sqnr(exact, meant), abs=2.5)


@pytest.mark.skipif("BF16" not in read_capabilities("cpu"), reason="this CPU has no BF16 units")
@pytest.mark.parametrize("name", ["residual", "gated"])
def test_bf16_errs_as_the_runtime_does(name: str, tmp_path: Path) -> None:
    model = MODELS[name]
    feeds = draw(model)
    (exact,) = run(model, feeds)
    meant = run_built(OpenVinoBackend(), model, Plan(Precision.BF16, cast=CastStyle.HINT), feeds, tmp_path)
    for found in run_rounded(model, Precision.BF16, feeds, tmp_path):
        assert measure_sqnr(exact, found) == pytest.approx(measure_sqnr(exact, meant), abs=2.5)


def test_only_what_is_named_is_rounded_and_norms_never() -> None:
    model = MODELS["attention"]
    feeds = draw(model)
    norm = next(str(node.name) for node in model.graph if node.op_type == "LayerNormalization")
    for names in (set(), {norm}):
        np.testing.assert_array_equal(run(round_nodes(model, names, Precision.BF16), feeds)[0], run(model, feeds)[0])
    assert [node.op_type for node in round_nodes(model, {norm}, Precision.BF16).graph] == [
        node.op_type for node in model.graph
    ]


def test_groups_are_switched_to_their_rounded_form() -> None:
    model = MODELS["residual"]
    feeds = draw(model)
    grouping = find_groups(model, CHAIN, solve(model, CHAIN, feeds))
    names = {name for group in grouping.groups for name in group.nodes}
    simulated = simulate(model, round_nodes(model, names, Precision.BF16), replace(grouping, firm=frozenset()))
    count = len(grouping.groups)
    (exact,) = run(model, feeds)
    for index, group in enumerate(grouping.groups):
        switches = np.arange(count) == index
        (found,) = run(simulated.model, {**feeds, simulated.switch: switches})
        (meant,) = run(round_nodes(model, set(group.nodes), Precision.BF16), feeds)
        np.testing.assert_allclose(found, meant, rtol=1e-6, atol=1e-6)
        assert not np.array_equal(found, exact)
    np.testing.assert_array_equal(run(simulated.model, {**feeds, simulated.switch: np.zeros(count, bool)})[0], exact)
