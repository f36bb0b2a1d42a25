"""The audit of ONNX Runtime tells what really ran, on the real runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser

from assay.backends.onnxruntime.adapter import OnnxRuntimeBackend
from assay.backends.onnxruntime.audit import read_profile
from assay.backends.onnxruntime.capabilities import CHAIN_OPERATORS
from assay.core.audit import ExecutionAudit
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.target import Target

Auditor = Callable[..., ExecutionAudit]
TARGET = Target("onnxruntime")


def parse(text: str, opset: int = 21, **weights: object) -> onnx.ModelProto:
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}, "com.microsoft": 1]>\n{text}')
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return model


@pytest.fixture
def audit(tmp_path: Path) -> Auditor:
    def build_and_audit(
        model: onnx.ModelProto, feeds: dict[str, np.ndarray], *, optimise: bool = True
    ) -> ExecutionAudit:
        backend = OnnxRuntimeBackend(optimise=optimise)
        built = tmp_path / f"built{len(list(tmp_path.iterdir()))}"
        built.mkdir()
        onnx.save(model, tmp_path / "model.onnx")
        backend.build(tmp_path / "model.onnx", built, Plan(Precision.FP32), TARGET)
        with backend.open(built, TARGET) as session:
            return session.executed(feeds)

    return build_and_audit


def integer_conv(kind: type, zero: int, behind: str = "quantized") -> onnx.ModelProto:
    """A Q/DQ convolution with what is ``behind`` it: a quantizer, a Relu and a quantizer, or nothing."""
    pair = "q = QuantizeLinear({0}, s, z)\n y = DequantizeLinear(q, s, z)"
    tails = {"quantized": pair.format("c"), "rectified": "r = Relu(c)\n" + pair.format("r"), "float": "y = Identity(c)"}
    text = f"""g (float[N,8,10,10] x) => (float[N,16,10,10] y) {{
        x_q = QuantizeLinear(x, s, z)
        x_d = DequantizeLinear(x_q, s, z)
        w_d = DequantizeLinear<axis = 0>(w, ws, wz)
        c = Conv<pads = [1,1,1,1]>(x_d, w_d)
        {tails[behind]}
    }}"""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.integers(-127, 128, (16, 8, 3, 3)).astype(np.int8),
        "ws": np.full(16, 0.01, np.float32),
        "wz": np.zeros(16, np.int8),
        "s": np.float32(0.05),
        "z": kind(zero),
    }
    return parse(text, **weights)


X = np.random.default_rng(1).standard_normal((2, 8, 10, 10)).astype(np.float32)
CONV_MACS = 2 * 16 * 10 * 10 * 8 * 9


def test_u8_s8_conv_runs_as_integers(audit: Auditor) -> None:
    found = audit(integer_conv(np.uint8, 128), {"x": X})
    conv = next(node for node in found.nodes if node.macs)
    assert (conv.operator, conv.precision, conv.macs) == ("QLinearConv", Precision.INT8, CONV_MACS)
    assert conv.kernel.startswith("CPUExecutionProvider:")


def test_s8_s8_conv_that_stayed_float_is_audited_as_fp32(audit: Auditor) -> None:
    """No s8 code stands for the zero below which a Relu cuts, so ONNX Runtime leaves Conv, Relu and Q in floats."""
    found = audit(integer_conv(np.int8, 0, "rectified"), {"x": X})
    conv = next(node for node in found.nodes if node.macs)
    assert (conv.operator, conv.precision, conv.macs) == ("FusedConv", Precision.FP32, CONV_MACS)
    assert found.shares()[Precision.FP32] == 1


def test_u8_s8_conv_with_a_relu_runs_as_integers(audit: Auditor) -> None:
    assert audit(integer_conv(np.uint8, 0, "rectified"), {"x": X}).shares()[Precision.INT8] == 1


def test_s8_s8_conv_that_was_fused_is_audited_as_int8(audit: Auditor) -> None:
    """It runs in integers here, by a slow kernel: speed is for the measurement to say, not for the audit."""
    found = audit(integer_conv(np.int8, 0), {"x": X})
    assert [node.operator for node in found.nodes if node.macs] == ["QLinearConv"]
    assert found.shares()[Precision.INT8] == 1


def test_a_conv_without_quantized_output_stayed_float(audit: Auditor) -> None:
    assert audit(integer_conv(np.uint8, 128, "float"), {"x": X}).shares()[Precision.FP32] == 1


def test_without_optimisation_nothing_is_fused(audit: Auditor) -> None:
    found = audit(integer_conv(np.uint8, 128), {"x": X}, optimise=False)
    assert found.shares()[Precision.FP32] == 1
    assert [node.operator for node in found.nodes].count("DequantizeLinear") == 3


def test_fp16_that_runs_between_casts_is_audited_as_fp32(audit: Auditor) -> None:
    """The runtime has no FP16 products on x86-64: it widens them in silence, and the audit must say so."""
    text = "g (float16[N,6] x) => (float16[N,4] y) { y = MatMul(x, w) }"
    found = audit(parse(text, w=np.ones((6, 4), np.float16)), {"x": np.ones((3, 6), np.float16)})
    product = next(node for node in found.nodes if node.macs)
    assert product.macs == 3 * 6 * 4
    assert (product.precision is Precision.FP32) == any("Cast" in node.operator for node in found.nodes)


QUANTIZED_PRODUCTS = {
    "MatMul": "y = QLinearMatMul(x, s, z, w, ws, wz, s, z)",
    "MatMulInteger": "i = MatMulInteger(x, w, z)\n y = Cast<to = 2>(i)",
}


@pytest.mark.parametrize("operator", QUANTIZED_PRODUCTS)
def test_integer_products_are_int8(audit: Auditor, operator: str) -> None:
    text = f"g (uint8[N,6] x) => (uint8[N,4] y) {{ {QUANTIZED_PRODUCTS[operator]} }}"
    weights = {"w": np.ones((6, 4), np.int8), "ws": np.float32(0.1), "wz": np.int8(0)}
    found = audit(parse(text, s=np.float32(0.1), z=np.uint8(3), **weights), {"x": np.ones((3, 6), np.uint8)})
    assert found.shares()[Precision.INT8] == 1
    assert sum(node.macs for node in found.nodes) == 3 * 6 * 4


def test_dynamic_quantization_is_int8(audit: Auditor) -> None:
    text = """g (float[N,6] x) => (float[N,4] y) {
        q, s, z = DynamicQuantizeLinear(x)
        i = MatMulInteger(q, w, z, wz)
        f = Cast<to = 1>(i)
        t = Mul(s, ws)
        y = Mul(f, t)
    }"""
    weights = {"w": np.ones((6, 4), np.int8), "wz": np.int8(0), "ws": np.float32(0.1)}
    found = audit(parse(text, **weights), {"x": np.ones((3, 6), np.float32)})
    product = next(node for node in found.nodes if node.macs)
    assert (product.precision, product.macs) == (Precision.INT8, 3 * 6 * 4)


PRODUCTS = {
    "matmul with a constant on the left": ("y = MatMul(a, x)", {"a": (5, 4)}, (4, 3), 5 * 4 * 3),
    "gemm transA": ("y = Gemm<transA = 1>(x, a)", {"a": (4, 5)}, (4, 3), 3 * 4 * 5),
    "transposed matmul": ("t = Transpose<perm = [1,0]>(x)\n y = MatMul(t, a)", {"a": (4, 5)}, (4, 3), 3 * 4 * 5),
    "fused activation": ("g = Gemm(x, a)\n y = Relu(g)", {"a": (3, 5)}, (4, 3), 4 * 3 * 5),
    "einsum": ('y = Einsum<equation = "ij,jk->ik">(x, a)', {"a": (3, 5)}, (4, 3), 4 * 3 * 5),
    "grouped": ("y = Conv<group = 2>(x, a)", {"a": (4, 2, 3, 3)}, (1, 4, 6, 6), 4 * 16 * 2 * 9),
    "depthwise": ("y = Conv<group = 16>(x, a)", {"a": (16, 1, 3, 3)}, (1, 16, 6, 6), 16 * 16 * 9),
    "transposed": ("y = ConvTranspose<strides = [2,2]>(x, a)", {"a": (4, 3, 2, 2)}, (1, 4, 6, 6), 4 * 36 * 3 * 4),
    "one axis": ("y = Conv(x, a)", {"a": (8, 4, 3)}, (2, 4, 9), 2 * 8 * 7 * 4 * 3),
    "residual": ("c = Conv(x, a)\n s = Add(c, x)\n y = Relu(s)", {"a": (16, 16, 1, 1)}, (1, 16, 6, 6), 36 * 256),
}


@pytest.mark.parametrize("optimise", [True, False])
@pytest.mark.parametrize("name", PRODUCTS)
def test_products_are_counted(audit: Auditor, name: str, optimise: bool) -> None:  # noqa: FBT001 - a parameter
    body, shapes, shape, macs = PRODUCTS[name]
    axes = ",".join(map(str, shape))
    rng = np.random.default_rng(0)
    weights = {key: rng.standard_normal(value).astype(np.float32) for key, value in shapes.items()}
    model = parse(f"g (float[{axes}] x) => (float[M] y) {{ {body} }}", **weights)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    found = audit(model, {"x": rng.standard_normal(shape).astype(np.float32)}, optimise=optimise)
    assert sum(node.macs for node in found.nodes) == macs
    assert found.shares()[Precision.FP32] == 1


def test_products_inside_a_branch_are_counted_for_the_branch_that_ran(audit: Auditor) -> None:
    text = """g (float[N,6] x, bool flag) => (float[N,4] y) {
        y = If(flag) <
            then_branch = yes () => (float[N,4] a) { a = MatMul(x, w) },
            else_branch = no () => (float[N,4] b) { h = MatMul(x, v)  b = MatMul(h, u) }
        >
    }"""
    rng = np.random.default_rng(0)
    shapes = {"w": (6, 4), "v": (6, 9), "u": (9, 4)}
    weights = {key: rng.standard_normal(value).astype(np.float32) for key, value in shapes.items()}
    model = parse(text, **weights)
    for flag, macs in ((np.bool(1), 2 * 6 * 4), (np.bool(0), 2 * 6 * 9 + 2 * 9 * 4)):
        found = audit(model, {"x": np.ones((2, 6), np.float32), "flag": np.asarray(flag)})
        assert sum(node.macs for node in found.nodes) == macs


def test_recurrent_products_are_counted(audit: Auditor) -> None:
    text = "g (float[5,2,3] x) => (float[5,1,2,4] y) { y, h, c = LSTM<hidden_size = 4>(x, w, r) }"
    weights = {"w": np.ones((1, 16, 3), np.float32), "r": np.ones((1, 16, 4), np.float32)}
    found = audit(parse(text, **weights), {"x": np.ones((5, 2, 3), np.float32)})
    assert sum(node.macs for node in found.nodes) == 5 * 2 * (16 * 3 + 16 * 4)


def test_weights_kept_outside_the_graph_are_counted(audit: Auditor) -> None:
    """Weights large enough to leave the optimised graph, and repacked ones that leave the profile."""
    w = np.random.default_rng(0).standard_normal((300, 200)).astype(np.float32)
    found = audit(parse("g (float[N,300] x) => (float[N,200] y) { y = MatMul(x, w) }", w=w), {"x": w.T[:2].copy()})
    assert sum(node.macs for node in found.nodes) == 2 * 300 * 200


def attention_event(shapes: list[dict[str, list[int]]], outputs: list[dict[str, list[int]]], operator: str) -> dict:
    arguments = {"op_name": operator, "provider": "CPUExecutionProvider"}
    arguments |= {"input_type_shape": shapes, "output_type_shape": outputs}
    return {"cat": "Node", "name": "a_kernel_time", "args": arguments}


def fused_graph(operator: str, inputs: list[str], shapes: dict[str, tuple[int, ...]]) -> onnx.ModelProto:
    node = helper.make_node(operator, inputs, ["y"], "a", domain="com.microsoft", num_heads=2)
    weights = [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in shapes.items()]
    return helper.make_model(helper.make_graph([node], "g", [], [], weights))


def test_fused_attention_hides_no_products() -> None:
    """A projection [2, 7, 12] x [12, 36] and two products of 7 x 7 x 12 per item."""
    event = attention_event([{"float": [2, 7, 12]}], [{"float": [2, 7, 12]}], "Attention")
    graph = fused_graph("Attention", ["x", "w", "b"], {"w": (12, 36), "b": (36,)})
    found = read_profile([event], graph, {"x": np.zeros((2, 7, 12), np.float32)})
    assert [node.macs for node in found.nodes] == [2 * 7 * 12 * 36 + 2 * 2 * 7 * 7 * 12]
    assert found.shares()[Precision.FP32] == 1


def test_quantized_attention_is_int8() -> None:
    event = attention_event([{"uint8": [1, 7, 12]}], [{"float": [1, 7, 12]}], "QAttention")
    graph = fused_graph("QAttention", ["x", "w"], {"w": (12, 36)})
    found = read_profile([event], graph, {"x": np.zeros((1, 7, 12), np.uint8)})
    assert found.shares()[Precision.INT8] == 1


def test_attention_over_given_keys_is_counted() -> None:
    shapes = [{"float": [2, 7, 12]}, {"float": [2, 9, 12]}, {"float": [2, 9, 12]}]
    event = attention_event(shapes, [{"float": [2, 7, 12]}], "MultiHeadAttention")
    found = read_profile([event], fused_graph("MultiHeadAttention", ["q", "k", "v"], {}), {})
    assert [node.macs for node in found.nodes] == [2 * 2 * 7 * 9 * 12]


def test_four_bit_weights_multiply_in_the_accuracy_that_is_asked_for() -> None:
    event = attention_event([{"float": [3, 64]}], [{"float": [3, 16]}], "MatMulNBits")
    for level, precision in ((0, Precision.FP32), (4, Precision.INT8)):
        graph = fused_graph("MatMulNBits", ["x", "w", "s"], {"w": (16, 2, 16), "s": (32,)})
        graph.graph.node[0].attribute.append(helper.make_attribute("accuracy_level", level))
        found = read_profile([event], graph, {"x": np.zeros((3, 64), np.float32)})
        assert [(node.precision, node.macs) for node in found.nodes] == [(precision, 3 * 64 * 16)]


def test_a_profile_of_a_node_that_the_graph_lacks_is_kept() -> None:
    event = attention_event([{"float": [3]}], [{"float": [3]}], "Relu")
    found = read_profile([event], fused_graph("Attention", ["x"], {}), {})
    assert [(node.operator, node.macs) for node in found.nodes] == [("Relu", 0)]


CHAIN_BODIES = {
    "Add": "t = Add(a, b)",
    "Mul": "t = Mul(a, b)",
    "Concat": "t = Concat<axis = 1>(a, b)",
    "Where": "t = Where(m, a, b)",
    "Sigmoid": "t = Sigmoid(a)",
    "LeakyRelu": "t = LeakyRelu(a)",
    "AveragePool": "t = AveragePool<kernel_shape = [2,2]>(a)",
    "GlobalAveragePool": "t = GlobalAveragePool(a)",
    "MaxPool": "t = MaxPool<kernel_shape = [2,2]>(a)",
    "ReduceMax": "t = ReduceMax(a, axes)",
    "ReduceMin": "t = ReduceMin(a, axes)",
    "Resize": 't = Resize<mode = "nearest">(a, , scales)',
    "Reshape": "t = Reshape(a, flat)",
    "Flatten": "t = Flatten(a)",
    "Transpose": "t = Transpose<perm = [0,2,3,1]>(a)",
    "Squeeze": "t = Squeeze(a, first)",
    "Unsqueeze": "t = Unsqueeze(a, first)",
    "Slice": "t = Slice(a, first, axes, axes)",
    "Gather": "t = Gather<axis = 2>(a, first)",
    "DepthToSpace": "t = DepthToSpace<blocksize = 2>(a)",
}


def test_every_chain_operator_is_tried() -> None:
    assert set(CHAIN_BODIES) == CHAIN_OPERATORS


@pytest.mark.parametrize("operator", CHAIN_BODIES)
def test_chain_operators_run_on_integers(audit: Auditor, operator: str) -> None:
    """Nothing is left to be quantized behind the operator: it gave codes itself."""
    text = f"""g (uint8[1,4,6,6] qa, uint8[1,4,6,6] qb, bool[1,4,6,6] m) => (uint8[M] y) {{
        a = DequantizeLinear(qa, s, z)
        b = DequantizeLinear(qb, s, z)
        {CHAIN_BODIES[operator]}
        y = QuantizeLinear(t, s, z)
    }}"""
    constants = {"axes": np.int64([2, 3]), "first": np.int64([0]), "flat": np.int64([1, -1])}
    model = parse(text, s=np.float32(0.1), z=np.uint8(7), scales=np.float32([1, 1, 2, 2]), **constants)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    if operator == "Slice":
        model.graph.initializer.append(numpy_helper.from_array(np.int64([0, 0]), "start"))
        next(node for node in model.graph.node if node.op_type == "Slice").input[1] = "start"
    codes = np.random.default_rng(0).integers(0, 256, (1, 4, 6, 6)).astype(np.uint8)
    found = audit(model, {"qa": codes, "qb": codes, "m": codes > 99})
    assert "QuantizeLinear" not in {node.operator for node in found.nodes}
