"""The reference backend: exact where the evaluator is not, and honest about what it computes in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser
from onnx.reference import ReferenceEvaluator

from assay.backends.reference.adapter import ReferenceBackend
from assay.backends.reference.operators import OPERATORS, quantize_linear
from assay.backends.table import load_backend
from assay.core.errors import BackendUnavailable, BuildFailed, RunFailed, UnsupportedPlan
from assay.core.plan import Plan
from assay.core.precision import CastStyle, Precision
from assay.core.target import Target

TARGET = Target("reference")
BACKEND = ReferenceBackend()


def parse(text: str, opset: int = 21, **weights: object) -> onnx.ModelProto:
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]>\n{text}')
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return model


def build(model: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(model, folder / "source.onnx")
    (folder / "built").mkdir()
    BACKEND.build(folder / "source.onnx", folder / "built", Plan(Precision.FP32), TARGET)
    return folder / "built"


def test_the_table_loads_it() -> None:
    assert isinstance(load_backend("reference"), ReferenceBackend)
    assert BACKEND.versions() == {"onnx": onnx.__version__, "numpy": np.__version__}


def test_both_dialects_are_taken() -> None:
    assert [(d.name, d.symmetric, d.integer_bias) for d in BACKEND.dialects(TARGET)] == [
        ("u8s8", False, True),
        ("s8s8", True, False),
    ]


def test_a_quotient_beyond_int32_saturates_at_the_right_end() -> None:
    """The evaluator's own operator gives the lowest code for the largest value."""
    x = np.float32([3e38, -3e38, 2.0**40, -(2.0**40)])
    codes = quantize_linear(x, np.float32(1e-3), np.uint8(128), np.dtype(np.uint8), 1)
    assert codes.tolist() == [255, 0, 255, 0]


@pytest.mark.parametrize("opset", [13, 19, 21, 23])
def test_the_operators_stand_in_at_every_opset(opset: int, tmp_path: Path) -> None:
    text = """g (float[N,2] x) => (float[N,2] y) {
        q = QuantizeLinear<axis = 1>(x, s, z)
        y = DequantizeLinear<axis = 1>(q, s, z)
    }"""
    model = parse(text, opset, s=np.float32([0.5, 2]), z=np.int8([0, 3]))
    with BACKEND.open(build(model, tmp_path), TARGET) as session:
        y = session.run({"x": np.float32([[0.25, 3], [0.75, 1e30]])})["y"]
    np.testing.assert_array_equal(y, np.float32([[0, 4], [1, 248]]))


@pytest.mark.parametrize("kind", [TensorProto.FLOAT8E4M3FN, TensorProto.INT4, TensorProto.UINT16])
def test_other_formats_stay_the_evaluator_s_own(kind: int) -> None:
    scale = numpy_helper.from_array(np.float32(0.5), "s")
    node = helper.make_node("QuantizeLinear", ["x", "s"], ["y"], output_dtype=kind)
    values = [helper.make_tensor_value_info("x", 1, [3]), helper.make_tensor_value_info("y", kind, [3])]
    graph = helper.make_graph([node], "g", values[:1], values[1:], [scale])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    feeds = {"x": np.float32([0.3, 1.9, 3])}
    ours = ReferenceEvaluator(model, new_ops=list(OPERATORS)).run(None, feeds)[0]
    own = ReferenceEvaluator(model).run(None, feeds)[0]
    assert ours.dtype == own.dtype
    np.testing.assert_array_equal(ours.astype(np.float32), own.astype(np.float32))


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16])
def test_16_bit_floats_run_in_their_own_type(precision: Precision, tmp_path: Path) -> None:
    support = BACKEND.supports(Plan(precision, cast=CastStyle.TYPED), TARGET)
    assert support.supported, support.reason
    number = {Precision.FP16: 10, Precision.BF16: 16}[precision]
    text = f"""g (float[N,6] x) => (float[N,4] y) {{
        c = Cast<to = {number}>(x)
        v = Cast<to = {number}>(w)
        m = MatMul(c, v)
        y = Cast<to = 1>(m)
    }}"""
    with BACKEND.open(build(parse(text, w=np.ones((6, 4), np.float32)), tmp_path), TARGET) as session:
        assert session.executed({"x": np.ones((2, 6), np.float32)}).shares()[precision] == 1


def test_a_quantized_product_is_audited_as_the_fp32_that_it_is(tmp_path: Path) -> None:
    text = """g (float[N,6] x) => (float[N,4] y) {
        q = QuantizeLinear(x, s, z)
        d = DequantizeLinear(q, s, z)
        v = DequantizeLinear(w, s, wz)
        y = MatMul(d, v)
    }"""
    model = parse(text, w=np.ones((6, 4), np.int8), s=np.float32(0.1), z=np.uint8(3), wz=np.int8(0))
    with BACKEND.open(build(model, tmp_path), TARGET) as session:
        audit = session.executed({"x": np.ones((3, 6), np.float32)})
    assert audit.shares()[Precision.FP32] == 1
    assert sum(node.macs for node in audit.nodes) == 3 * 6 * 4
    assert {node.operator for node in audit.nodes if node.precision is Precision.INT8} == {"QuantizeLinear"}


@pytest.mark.parametrize("plan", [Plan(Precision.INT8, rest=Precision.BF16), Plan(Precision.FP16, cast=CastStyle.HINT)])
def test_other_plans_have_a_reason(plan: Plan, tmp_path: Path) -> None:
    assert BACKEND.supports(plan, TARGET).reason
    with pytest.raises(UnsupportedPlan):
        BACKEND.build(tmp_path / "m.onnx", tmp_path, plan, TARGET)


def test_other_devices_are_unavailable(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match="cuda:0"):
        BACKEND.open(tmp_path, Target("reference", device="cuda:0"))


def test_a_contrib_operator_does_not_build(tmp_path: Path) -> None:
    model = parse("g (float[N,6] x) => (float[N,6] y) { y = Relu(x) }")
    model.graph.node[0].op_type, model.graph.node[0].domain = "FastGelu", "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(BuildFailed, match="FastGelu"):
        build(model, tmp_path)


def test_a_failing_operator_is_a_failed_run(tmp_path: Path) -> None:
    model = parse("g (float[N,K] x, float[L,3] z) => (float[N,3] y) { y = MatMul(x, z) }")
    with (
        BACKEND.open(build(model, tmp_path), TARGET) as session,
        pytest.raises(RunFailed, match=r"mismatch|Issues with types"),
    ):
        session.run({"x": np.zeros((2, 6), np.float32), "z": np.zeros((5, 3), np.float32)})
