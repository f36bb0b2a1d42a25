from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

from trial_samples import S8S8, U8S8

from assay.core.plan import Candidate, FloatDialect, FloatScheme, Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod, Repair
from assay.studies.attempt import Attempt
from assay.studies.quick_times import list_quick_times

PLAIN = Plan(Precision.INT8, scheme=Scheme(U8S8, Placement.CHAIN, RangeMethod.MSE))
REPAIRED = Plan(Precision.INT8, scheme=Scheme(U8S8, Placement.CHAIN, RangeMethod.MIN_MAX, (Repair.ROUND,)))


def ran(plan: Plan, milliseconds: float | None, runtime: str = "openvino") -> Attempt:
    probe = None if milliseconds is None else SimpleNamespace(quick_ms=milliseconds)
    return cast("Attempt", SimpleNamespace(candidate=Candidate(runtime, plan), probe=probe))


def test_forms_of_one_graph_share_the_shortest_time() -> None:
    others = {
        Plan(Precision.FP32): 9.0,
        replace(PLAIN, scheme=Scheme(S8S8, Placement.CHAIN, RangeMethod.MSE)): 4.0,
        replace(PLAIN, scheme=Scheme(U8S8, Placement.OPERANDS, RangeMethod.MSE)): 5.0,
        replace(PLAIN, rest=Precision.BF16): 6.0,
        replace(REPAIRED, overrides=(("conv", Precision.FP32),)): 7.0,
        Plan(Precision.FP8, floats=FloatScheme(FloatDialect(), RangeMethod.MSE)): 8.0,
    }
    attempts = [ran(PLAIN, 2.0), ran(REPAIRED, 3.5), *(ran(plan, time) for plan, time in others.items())]
    attempts += [ran(Plan(Precision.FP8, floats=FloatScheme(FloatDialect(), RangeMethod.MIN_MAX)), 8.5)]
    attempts += [ran(PLAIN, 1.0, "onnxruntime"), ran(Plan(Precision.FP16), None)]
    times = list_quick_times(attempts)
    assert times.pop(Candidate("openvino", PLAIN).id) == 2.0
    assert times.pop(Candidate("openvino", REPAIRED).id) == 2.0
    assert times.pop(Candidate("onnxruntime", PLAIN).id) == 1.0
    assert times.pop("openvino.fp8-minmax") == 8.0
    assert times == {Candidate("openvino", plan).id: time for plan, time in others.items()}
