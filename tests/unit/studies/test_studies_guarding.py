"""Faults planted in small models, run on the real runtime: seen in the output, and found where they begin."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import onnx_ir as ir
import pytest
from measure_samples import ArrayDataset
from trial_samples import make_evidence, make_plan

from assay.backends.table import load_backend
from assay.core.calibration import TensorRange
from assay.core.fault import Fault, FaultKind
from assay.core.plan import Candidate, IntegerDialect, Scheme
from assay.core.precision import CastStyle, IntegerFormat, Placement, Precision, RangeMethod
from assay.core.trial import Trial, TrialStatus
from assay.graph.cast import cast_floats
from assay.graph.expose import observable_tensors
from assay.graph.fault_source import find_sources
from assay.graph.prepare import prepare
from assay.graph.quantize import insert_qdq
from assay.studies.guarding import find_inner_faults, guard_trial, join_faults
from assay.studies.store import StudyStore
from assay.studies.workspace import Workspace

SCHEME = Scheme(IntegerDialect(IntegerFormat.U8, symmetric=False), Placement.OPERANDS, RangeMethod.MSE)
RNG = np.random.default_rng(2)
ITEMS = ArrayDataset(RNG.standard_normal((64, 4)).astype(np.float32), np.zeros(64, np.int64))
MODEL = """
<ir_version: 10, opset_import: ["": 18]>
net (float[n, 4] x) => (float[n, 4] y)
<float[4, 4] w1 = {1, -1, 0.5, 2, 0.3, 1, -2, 0.7, -0.6, 0.4, 1, -1, 0.9, 0.2, -0.3, 1}, float[4] bias = {0, 0, 50, 0},
 float[4, 4] w2 = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}, float large = {1000}>
{
  [first] a = MatMul (x, w1)
  [shift] b = Add (a, bias)
  %s
}
"""
PLAIN = "[second] c = MatMul (b, w2) [last] y = Sigmoid (c)"
LINEAR = "[second] y = MatMul (b, w2)"
OVERFLOWING = "[grow] c = Mul (b, large) [grow_more] d = Mul (c, large) [shrink] e = Sub (d, d) [last] y = Add (e, b)"


def load(text: str) -> ir.Model:
    return prepare(ir.from_onnx_text(MODEL % text))


def trace(tmp_path: Path, model: ir.Model, realised: ir.Model) -> tuple[Fault, tuple[str, ...]]:
    """The fault of the output and the nodes where it begins."""
    inner = find_inner_faults((model, realised), ITEMS, None, load_backend("onnxruntime"), tmp_path)
    return inner["y"], tuple(str(node.name) for node in find_sources(model, inner, "y"))


def quantize(model: ir.Model, **changed: TensorRange) -> ir.Model:
    ranges = dict.fromkeys(observable_tensors(model), TensorRange(-4.0, 4.0))
    return insert_qdq(model, SCHEME, {**ranges, **changed})


def test_healthy_ranges_give_no_fault(tmp_path: Path) -> None:
    model = load(LINEAR)
    realised = quantize(model, b=TensorRange(-8.0, 58.0))
    assert not find_inner_faults((model, realised), ITEMS, None, load_backend("onnxruntime"), tmp_path)


def test_a_scale_from_nothing_but_zeros(tmp_path: Path) -> None:
    model = load(PLAIN.replace("[second]", "[scaled] s = Mul (b, b) [second]").replace("(b, w2)", "(s, w2)"))
    fault, nodes = trace(tmp_path, model, quantize(model, s=TensorRange(0.0, 1e-9)))
    assert (fault.kind, fault.whole) == (FaultKind.CONSTANT, True)
    assert nodes == ("scaled",)


def test_a_channel_with_a_huge_bias_is_cut_off(tmp_path: Path) -> None:
    model = load(LINEAR)
    fault, nodes = trace(tmp_path, model, quantize(model, b=TensorRange(-6.0, 6.0)))
    assert (fault.kind, fault.channels) == (FaultKind.CONSTANT, (2,))
    assert nodes == ("second",)  # the first that has it whole: a product mixes channels


def test_a_sigmoid_that_cannot_reach_its_ends_is_saturated(tmp_path: Path) -> None:
    model = load(PLAIN.replace("(b, w2)", "(a, w2)"))
    fault, nodes = trace(tmp_path, model, quantize(model, a=TensorRange(-6.0, 0.2)))
    assert (fault.kind, fault.whole) == (FaultKind.SATURATED, True)
    assert nodes == ("first",)


def test_fp16_that_overflows_to_nan(tmp_path: Path) -> None:
    model = load(OVERFLOWING)
    realised = cast_floats(model, Precision.FP16, CastStyle.TYPED, {})
    # ONNX Runtime drops the casts that it puts around operators that it has in FP32 alone, and so never overflows.
    inner = find_inner_faults((model, realised), ITEMS, None, load_backend("reference"), tmp_path)
    assert inner["y"].kind is FaultKind.NONFINITE
    assert [node.name for node in find_sources(model, inner, "y")] == ["grow_more"]


def test_half_of_the_channels_are_as_good_as_all() -> None:
    def make(tensor: str, kind: FaultKind, *channels: int) -> Fault:
        return Fault(kind, tensor, 1 if channels else 0, channels, 4, 60, words="")

    joined = join_faults(
        [
            make("a", FaultKind.ALL_ZERO, 0),
            make("a", FaultKind.SATURATED, 3),
            make("b", FaultKind.ALL_ZERO, 0),
            make("c", FaultKind.SATURATED),
        ]
    )
    assert {name: fault.whole for name, fault in joined.items()} == {"a": True, "b": False, "c": True}


@pytest.mark.parametrize(
    ("mine", "theirs", "status"),
    [(0, 0, TrialStatus.OK), (3, 0, TrialStatus.FAILED), (3, 1, TrialStatus.OK)],
)
def test_nan_on_a_certification_item_fails_the_trial(
    tmp_path: Path, mine: int, theirs: int, status: TrialStatus
) -> None:
    store = StudyStore(tmp_path, "0" * 16)
    reference = Candidate("onnxruntime", make_plan(Precision.FP32))
    trial = Trial(Candidate("onnxruntime", make_plan(Precision.INT8)), TrialStatus.OK, evidence=make_evidence())
    for candidate, count in ((trial.candidate, mine), (reference, theirs)):
        store.write_arrays(f"scores/{candidate.id}", {"nonfinite": np.array([count])})
    space = cast("Workspace", SimpleNamespace(store=store))
    guarded = guard_trial(space, trial, reference)
    assert guarded.status is status
    assert (guarded.evidence is None) == (status is TrialStatus.FAILED)
    assert guard_trial(space, Trial(reference, TrialStatus.OK, evidence=make_evidence(), reference=True), reference)
