"""Small ONNX models for the conformance suite, and the NumPy arithmetic that they are compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, parser

from assay.core.plan import IntegerDialect
from assay.core.precision import IntegerFormat

KINDS = {IntegerFormat.U8: np.uint8, IntegerFormat.S8: np.int8}


def parse_model(text: str, opset: int = 21, **weights: np.ndarray) -> onnx.ModelProto:
    """A model from ONNX's text form, its weights given as arrays."""
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]>\n{text}')
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type.lower()}_{index}"
    return model


def normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def convolve(x: np.ndarray, w: np.ndarray, b: np.ndarray, pad: int, stride: int = 1) -> np.ndarray:
    """2-D convolution in float64: ``x`` [N, C, H, W], ``w`` [M, C, K, K]."""
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, w.shape[2:], (2, 3))[:, :, ::stride, ::stride]
    return np.einsum("nchwij,mcij->nmhw", windows, w.astype(np.float64)) + b.reshape(1, -1, 1, 1)


@dataclass(frozen=True)
class Case:
    """A model, feeds for it, and the outputs that NumPy gives."""

    model: onnx.ModelProto
    feeds: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


def make_conv(rng: np.random.Generator) -> Case:
    w, b, x = normal(rng, 8, 3, 3, 3, scale=0.3), normal(rng, 8), normal(rng, 2, 3, 11, 9)
    text = """g (float[N,3,11,9] x) => (float[N,8,6,5] y) {
        c = Conv<pads = [1,1,1,1], strides = [2,2]>(x, w, b)
        y = Relu(c)
    }"""
    return Case(parse_model(text, w=w, b=b), {"x": x}, {"y": np.maximum(convolve(x, w, b, 1, 2), 0)})


def make_gemm(rng: np.random.Generator) -> Case:
    w, b, x = normal(rng, 7, 12), normal(rng, 7), normal(rng, 5, 12)
    model = parse_model("g (float[N,12] x) => (float[N,7] y) { y = Gemm<transB = 1>(x, w, b) }", w=w, b=b)
    return Case(model, {"x": x}, {"y": x @ w.T + b})


def make_residual(rng: np.random.Generator) -> Case:
    w1, b1 = normal(rng, 4, 4, 3, 3, scale=0.3), normal(rng, 4)
    w2, b2 = normal(rng, 4, 4, 1, 1, scale=0.5), normal(rng, 4)
    x = normal(rng, 3, 4, 8, 8)
    text = """g (float[N,4,8,8] x) => (float[N,4] y) {
        c1 = Conv<pads = [1,1,1,1]>(x, w1, b1)
        r1 = Relu(c1)
        c2 = Conv(r1, w2, b2)
        s = Add(c2, x)
        r2 = Relu(s)
        p = GlobalAveragePool(r2)
        y = Flatten(p)
    }"""
    inner = convolve(np.maximum(convolve(x, w1, b1, 1), 0), w2, b2, 0)
    model = parse_model(text, w1=w1, b1=b1, w2=w2, b2=b2)
    return Case(model, {"x": x}, {"y": np.maximum(inner + x, 0).mean((2, 3))})


def make_matmul(rng: np.random.Generator) -> Case:
    w, x = normal(rng, 16, 16, scale=0.25), normal(rng, 2, 5, 16)
    text = """g (float[N,L,16] x) => (float[N,L,L] y) {
        q = MatMul(x, w)
        t = Transpose<perm = [0,2,1]>(x)
        s = MatMul(q, t)
        y = Softmax<axis = -1>(s)
    }"""
    scores = (x @ w) @ x.transpose(0, 2, 1)
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return Case(parse_model(text, w=w), {"x": x}, {"y": powers / powers.sum(-1, keepdims=True)})


def make_interface(rng: np.random.Generator) -> Case:
    """Two inputs of different types and ranks, two outputs."""
    w, x, i = normal(rng, 6, 4), normal(rng, 3, 6), np.array([[1, 0], [3, 2], [0, 0]], np.int64)
    text = """g (float[N,6] x, int64[N,2] picks) => (float[N,4] logits, float[N,2] picked) {
        logits = MatMul(x, w)
        picked = GatherElements<axis = 1>(x, picks)
    }"""
    outputs = {"logits": x @ w, "picked": np.take_along_axis(x, i, 1)}
    return Case(parse_model(text, w=w), {"x": x, "picks": i}, outputs)


CASES = {
    "conv": make_conv,
    "gemm": make_gemm,
    "residual": make_residual,
    "matmul": make_matmul,
    "interface": make_interface,
}


def find_range(values: np.ndarray, dialect: IntegerDialect) -> tuple[np.float32, np.ndarray]:
    """Scale and zero point of an activation from its exact range."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    kind, form = KINDS[dialect.activation], dialect.activation
    if dialect.symmetric:
        middle = (form.lowest + form.highest + 1) // 2
        return np.float32(max(-low, high) / 127), np.array(middle, kind)
    scale = np.float32((high - low) / 255)
    return scale, np.array(round(form.lowest - low / float(scale)), kind)


class QuantizedNet:
    """Builds a Q/DQ network in a dialect, node by node, tracking the FP32 values to take ranges from.

    Args:
        dialect: how codes and biases are written.
        x: FP32 input to take ranges from, ``[N, C, H, W]``.
    """

    def __init__(self, dialect: IntegerDialect, x: np.ndarray) -> None:
        self._dialect = dialect
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._values = {"x": x}
        self._scales: dict[str, np.float32] = {}

    def _weight(self, array: np.ndarray, name: str) -> str:
        self._weights.append(numpy_helper.from_array(array, name))
        return name

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        self._nodes.append(helper.make_node(operator, inputs, [output], f"{operator}_{output}", **attributes))
        return output

    def quantize(self, name: str, like: str = "") -> str:
        """A quantize/dequantize pair on an activation, with its own range or that of another."""
        scale, zero = find_range(self._values[like or name], self._dialect)
        arguments = [self._weight(np.array(scale), f"{name}_scale"), self._weight(zero, f"{name}_zero")]
        codes = self._node("QuantizeLinear", [name, *arguments], f"{name}_codes")
        output = self._node("DequantizeLinear", [codes, *arguments], f"{name}_dq")
        self._values[output], self._scales[output] = self._values[name], scale
        return output

    def weigh(self, operator: str, x: str, w: np.ndarray, b: np.ndarray, name: str, **attributes: object) -> str:
        """Conv or Gemm (``transB``) with a per-channel weight, followed by what the caller adds."""
        largest = np.abs(w).reshape(len(w), -1).max(1)
        codes = 64 if self._dialect.reduced_range else 127
        scales = (largest / codes).astype(np.float32)
        shaped = scales.reshape(-1, *[1] * (w.ndim - 1))
        self._weight(np.rint(w / shaped).clip(-codes, codes).astype(np.int8), f"{name}_w_codes")
        self._weight(scales, f"{name}_w_scale")
        self._weight(np.zeros(len(w), np.int8), f"{name}_w_zero")
        weight = self._node(
            "DequantizeLinear", [f"{name}_w_{p}" for p in ("codes", "scale", "zero")], f"{name}_w", axis=0
        )
        bias = self._bias(b, self._scales[x] * scales, name)
        output = self._node(operator, [x, weight, bias], name, **attributes)
        values = self._values[x]
        self._values[name] = (
            convolve(values, w, b, w.shape[-1] // 2).astype(np.float32) if operator == "Conv" else values @ w.T + b
        )
        return output

    def _bias(self, b: np.ndarray, scale: np.ndarray, name: str) -> str:
        if not self._dialect.integer_bias:
            return self._weight(b, f"{name}_b")
        self._weight(np.rint(b / scale).astype(np.int32), f"{name}_b_codes")
        self._weight(scale.astype(np.float32), f"{name}_b_scale")
        self._weight(np.zeros(len(b), np.int32), f"{name}_b_zero")
        return self._node(
            "DequantizeLinear", [f"{name}_b_{p}" for p in ("codes", "scale", "zero")], f"{name}_b", axis=0
        )

    def apply(self, operator: str, inputs: list[str], name: str, **attributes: object) -> str:
        """Relu, Add, MaxPool 2x2, GlobalAveragePool or Flatten."""
        values = [self._values[i] for i in inputs]
        self._values[name] = {
            "Relu": lambda v: np.maximum(v[0], 0),
            "Add": lambda v: v[0] + v[-1],
            "MaxPool": lambda v: v[0].reshape(*v[0].shape[:2], v[0].shape[2] // 2, 2, -1, 2).max((3, 5)),
            "GlobalAveragePool": lambda v: v[0].mean((2, 3), keepdims=True, dtype=np.float32),
            "Flatten": lambda v: v[0].reshape(len(v[0]), -1),
        }[operator](values)
        return self._node(operator, inputs, name, **attributes)

    def finish(self, output: str) -> tuple[onnx.ModelProto, float]:
        """The model, and the quantization step of its output."""
        x, y = self._values["x"], self._values[output]
        graph = helper.make_graph(
            [*self._nodes, helper.make_node("Identity", [output], ["y"], "identity_y")],
            "quantized",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *x.shape[1:]])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", *y.shape[1:]])],
            self._weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        return model, float(self._scales[output])


def make_quantized(dialect: IntegerDialect, rng: np.random.Generator) -> tuple[onnx.ModelProto, np.ndarray, float]:
    """A residual Q/DQ network of two to four convolutions: the model, an input, and the step of its output."""
    channels, x = 16, normal(rng, 2, 3, 16, 16)
    net = QuantizedNet(dialect, x)
    y = net.quantize("x")
    for index in range(int(rng.integers(1, 3))):
        inner = 3 if index == 0 else channels
        w = normal(rng, channels, inner, 3, 3, scale=(9 * inner) ** -0.5)
        y = net.weigh("Conv", y, w, normal(rng, channels, scale=0.2), f"stem{index}", pads=[1, 1, 1, 1])
        y = net.quantize(net.apply("Relu", [y], f"relu{index}"))
    if rng.integers(2):
        y = net.quantize(net.apply("MaxPool", [y], "pool", kernel_shape=[2, 2], strides=[2, 2]), like=y)
    w = normal(rng, channels, channels, 3, 3, scale=(9 * channels) ** -0.5)
    branch = net.quantize(net.weigh("Conv", y, w, normal(rng, channels, scale=0.2), "branch", pads=[1, 1, 1, 1]))
    y = net.quantize(net.apply("Add", [branch, y], "sum"))
    y = net.quantize(net.apply("GlobalAveragePool", [y], "mean"))
    y = net.apply("Flatten", [y], "flat")
    y = net.quantize(y, like="mean")
    y = net.quantize(net.weigh("Gemm", y, normal(rng, 10, channels, scale=0.25), normal(rng, 10), "head", transB=1))
    model, step = net.finish(y)
    return model, x, step
