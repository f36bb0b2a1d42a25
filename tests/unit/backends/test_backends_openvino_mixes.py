"""INT8 plans whose kept nodes are in BF16 and FP32 side by side, as OpenVINO executes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from graph_samples import run
from onnx.reference import ReferenceEvaluator
from quantize_samples import RESIDUAL, RESIDUAL_SHAPES, S8S8, U8S8_LOOSE, calibrate, draw, make, measure_sqnr

from assay.backends.openvino.adapter import OpenVinoBackend
from assay.backends.openvino.vendor import read_capabilities
from assay.backends.reference.operators import OPERATORS
from assay.calibrate.ranges import solve_ranges
from assay.core.audit import ExecutionAudit
from assay.core.plan import IntegerDialect, Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod
from assay.core.target import Target
from assay.graph.expose import observable_tensors
from assay.graph.realise import realise

ITEMS = 4
TARGET = Target("openvino", batch=ITEMS)
CHAIN = Scheme(U8S8_LOOSE, Placement.CHAIN, RangeMethod.MIN_MAX)
BF16, FP32, INT8 = Precision.BF16, Precision.FP32, Precision.INT8

needs_bf16 = pytest.mark.skipif("BF16" not in read_capabilities("cpu"), reason="this CPU has no BF16 units")

PRODUCTS = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 12, 16] x) => (float[N, 12, 16] y) {
    n = LayerNormalization(x, scale, shift)
    a = MatMul(n, w1)
    b = Add(a, p1)
    c = Relu(b)
    d = MatMul(c, w2)
    e = Add(d, x)
    f = MatMul(e, w3)
    g1 = Relu(f)
    y = MatMul(g1, w4)
}"""
PRODUCT_SHAPES = {
    "scale": (16,), "shift": (16,), "w1": (16, 32), "p1": (32,), "w2": (32, 16), "w3": (16, 64), "w4": (64, 16),
}  # fmt: skip


@dataclass(frozen=True)
class Ran:
    """What a runtime made of a plan.

    Attributes:
        audit: what it executed.
        quality: distance of its outputs from the float model's, in dB.
        exactness: their distance from what the realised graph means, type by type, in dB.
    """

    audit: ExecutionAudit
    quality: float
    exactness: float


def run_plan(
    model: ir.Model, scheme: Scheme, kept: Mapping[str, Precision], folder: Path, rest: Precision = FP32
) -> Ran:
    """Realise, build and run an INT8 plan; kept nodes are called after their outputs."""
    names = {str(node.outputs[0].name): str(node.name) for node in model.graph}
    overrides = tuple((names[output], precision) for output, precision in kept.items())
    plan = Plan(INT8, rest=rest, scheme=scheme, overrides=overrides)
    feeds = draw(model, ITEMS)
    calibration = calibrate(model, feeds, observable_tensors(model))
    result = realise(model, plan, calibration, solve_ranges(calibration, scheme))
    ir.save(result, folder / "m.onnx")
    built = folder / "built"
    built.mkdir()
    backend = OpenVinoBackend()
    backend.build(folder / "m.onnx", built, plan, TARGET)
    with backend.open(built, TARGET) as session:
        audit, y = session.executed(feeds), session.run(feeds)["y"]
    meant = np.asarray(ReferenceEvaluator(ir.to_proto(result), new_ops=list(OPERATORS)).run(None, dict(feeds))[0])
    return Ran(audit, measure_sqnr(run(model, feeds)[0], y), measure_sqnr(meant, y))


def count_macs(found: ExecutionAudit) -> Counter[Precision]:
    """Precision -> multiply-accumulates of one item."""
    counts = Counter[Precision]()
    for node in found.nodes:
        counts[node.precision] += node.macs // ITEMS
    return +counts


CONVOLUTIONS = {"a": 256 * 16 * 27, "d": 256 * 16 * 9, "e": 256 * 16 * 16, "h": 64 * 24 * 144, "y": 5 * 24}
MATRICES = {"a": 12 * 16 * 32, "d": 12 * 32 * 16, "f": 12 * 16 * 64, "y": 12 * 64 * 16}


@needs_bf16
@pytest.mark.parametrize("dialect", [U8S8_LOOSE, S8S8])
def test_a_conv_net_runs_every_node_in_its_own_format(dialect: IntegerDialect, tmp_path: Path) -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    kept = {"a": BF16, "a1": BF16, "e": FP32, "s": FP32, "s1": FP32, "y": BF16}
    scheme = Scheme(dialect, Placement.CHAIN, RangeMethod.MIN_MAX)
    ran = run_plan(model, scheme, kept, tmp_path)
    assert count_macs(ran.audit) == {
        BF16: CONVOLUTIONS["a"] + CONVOLUTIONS["y"],
        FP32: CONVOLUTIONS["e"],
        INT8: CONVOLUTIONS["d"] + CONVOLUTIONS["h"],
    }
    suffixes = {node.precision: node.kernel.rpartition("_")[2].lower() for node in ran.audit.nodes if node.macs}
    assert suffixes == {BF16: "bf16", FP32: "f32", INT8: "i8"}
    assert ran.quality > 25
    assert ran.exactness > 30


@needs_bf16
@pytest.mark.parametrize("placement", Placement)
def test_a_net_of_matrix_products_runs_every_node_in_its_own_format(placement: Placement, tmp_path: Path) -> None:
    model = make(PRODUCTS, PRODUCT_SHAPES)
    kept = {"d": BF16, "e": BF16, "f": FP32, "g1": FP32}
    scheme = Scheme(S8S8, placement, RangeMethod.MIN_MAX)
    ran = run_plan(model, scheme, kept, tmp_path)
    assert count_macs(ran.audit) == {BF16: MATRICES["d"], FP32: MATRICES["f"], INT8: MATRICES["a"] + MATRICES["y"]}
    assert ran.quality > 25
    assert ran.exactness > 30


@needs_bf16
def test_the_hint_and_the_types_keep_the_same_nodes_in_bf16(tmp_path: Path) -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    kept = dict.fromkeys(("d", "d1", "e", "h", "h1"), BF16)
    results = {}
    for rest in (FP32, BF16):
        folder = tmp_path / rest
        folder.mkdir()
        results[rest] = run_plan(model, CHAIN, kept, folder, rest)
    typed, hinted = results[FP32], results[BF16]
    assert count_macs(typed.audit) == count_macs(hinted.audit)
    assert count_macs(typed.audit)[BF16] == CONVOLUTIONS["d"] + CONVOLUTIONS["e"] + CONVOLUTIONS["h"]
    assert abs(typed.quality - hinted.quality) < 3


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (Plan(INT8, overrides=(("a", FP32), ("b", INT8))), ""),
        (Plan(INT8, overrides=(("a", BF16), ("b", FP32))), "" if "BF16" in read_capabilities("cpu") else "'a'"),
        (Plan(INT8, rest=BF16, overrides=(("a", FP32),)), "'a'" if "BF16" in read_capabilities("cpu") else "BF16"),
        (Plan(INT8, rest=BF16, overrides=(("a", Precision.FP16),)), "BF16|'a'"),
    ],
)
def test_what_can_be_mixed_is_told(plan: Plan, reason: str) -> None:
    support = OpenVinoBackend().supports(plan, TARGET)
    assert support.supported is not bool(reason)
    assert any(word in support.reason for word in reason.split("|"))
