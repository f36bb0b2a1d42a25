from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from graph_samples import fill, run

from assay.backends.onnxruntime.adapter import OnnxRuntimeBackend
from assay.core.calibration import TensorRange
from assay.core.plan import Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod
from assay.core.target import Target
from assay.graph.expose import observable_tensors
from assay.graph.prepare import prepare
from assay.graph.realise import realise
from assay.graph.save import save_model

HEADER = '<ir_version: 10, opset_import: ["": 18]>'
SIZES, SCALES = "r = Resize<{}>(c, , , sizes)", "r = Resize<{}>(c, , scales)"
LINEAR = 'mode = "linear", axes = [2, 3]'


def build(resize: str, values: str, batch: str = "n") -> ir.Model:
    text = f"""g (float[{batch},4,6,5] x) => (float[{batch},4,h,w] y) <float[4,4,1,1] k, {values}> {{
        c = Conv(x, k)
        {resize}
        y = Conv(r, k)
    }}"""
    return fill(HEADER + text, np.random.default_rng(3), k=(4, 4, 1, 1))


def get_resize(model: ir.Model) -> ir.Node:
    return next(node for node in model.graph if node.op_type == "Resize")


CASES = {
    "sizes, dynamic batch": build(SIZES.format(LINEAR), "int64[2] sizes = {12, 7}"),
    "sizes, fixed batch": build(SIZES.format(LINEAR), "int64[2] sizes = {12, 7}", "2"),
    "scales": build(SCALES.format(LINEAR), "float[2] scales = {2.0, 1.5}"),
    "axes turned": build(SIZES.format('mode = "nearest", axes = [-1, 2]'), "int64[2] sizes = {10, 12}"),
}


@pytest.mark.parametrize("case", CASES)
def test_all_axes_are_named_and_the_result_is_the_same(case: str) -> None:
    model = CASES[case]
    prepared = prepare(model)
    assert "axes" in get_resize(model).attributes
    assert "axes" not in get_resize(prepared).attributes
    x = np.random.default_rng(4).standard_normal((2, 4, 6, 5)).astype(np.float32)
    wanted, got = run(model, {"x": x})[0], run(prepared, {"x": x})[0]
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_quantized_network_with_resize_loads_and_runs(case: str, tmp_path: Path) -> None:
    backend, target = OnnxRuntimeBackend(), Target("onnxruntime")
    prepared = prepare(CASES[case])
    scheme = Scheme(backend.dialects(target)[0], Placement.CHAIN, RangeMethod.MIN_MAX)
    plan = Plan(Precision.INT8, scheme=scheme)
    x = np.random.default_rng(4).standard_normal((2, 4, 6, 5)).astype(np.float32)
    wanted = run(prepared, {"x": x})[0]
    limit = 2 * float(np.abs(wanted).max())
    ranges = {name: TensorRange(-limit, limit) for name in observable_tensors(prepared)}
    save_model(realise(prepared, plan, None, ranges), tmp_path / "model.onnx")
    (tmp_path / "built").mkdir()
    backend.build(tmp_path / "model.onnx", tmp_path / "built", plan, target)
    with backend.open(tmp_path / "built", target) as session:
        got = session.run({"x": x})["y"]
    assert got.shape == wanted.shape
    assert float(np.abs(got - wanted).max()) < 0.2 * limit


@pytest.mark.parametrize(
    "resize",
    [
        SIZES.format(f'{LINEAR}, keep_aspect_ratio_policy = "not_larger"'),
        "r = Resize<" + LINEAR + ', coordinate_transformation_mode = "tf_crop_and_resize">(c, roi, , sizes)',
    ],
)
def test_what_concerns_the_named_axes_alone_stays(resize: str) -> None:
    model = build(resize, "int64[2] sizes = {12, 7}, float[4] roi = {0.0, 0.0, 1.0, 1.0}")
    assert "axes" in get_resize(prepare(model)).attributes
