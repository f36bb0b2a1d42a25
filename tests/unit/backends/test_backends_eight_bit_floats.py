"""Runtimes without 8-bit floats say so; none takes a plan of them silently."""

from __future__ import annotations

import pytest

from assay.backends.backend import FloatBackend
from assay.backends.table import load_backend, make_target
from assay.core.plan import FloatDialect, FloatScheme, Plan
from assay.core.precision import CastStyle, Precision, RangeMethod
from assay.studies.diagnosis import examine_format

SCHEME = FloatScheme(FloatDialect(), RangeMethod.MSE)
PLANS = (
    Plan(Precision.FP8, floats=SCHEME),
    Plan(Precision.FP8, rest=Precision.FP16, cast=CastStyle.TYPED, floats=SCHEME),
)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("onnxruntime", "would compute 8-bit floats in fp32"),
        ("openvino", "OpenVINO has no FP8 on this"),
        ("reference", "has no FP8: it is a format of GPUs"),
        ("torch", "torch multiplies no 8-bit floats"),
        ("tvm", "not in fp8"),
    ],
)
def test_runtimes_without_8_bit_floats_refuse_them_with_a_reason(name: str, reason: str) -> None:
    backend, target = load_backend(name), make_target(name)
    if not backend.probe().available:
        pytest.skip(f"{name} is not here")
    assert not isinstance(backend, FloatBackend)
    assert not any(backend.supports(plan, target).supported for plan in PLANS)
    assert reason in backend.supports(PLANS[0], target).reason
    told = examine_format(backend, Precision.FP8, target)
    assert (told.supported, told.precision) == (False, Precision.FP8)
    assert reason in told.reason
