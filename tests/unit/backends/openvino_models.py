"""Small ONNX models for the OpenVINO tests, written out node by node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
Axes = Sequence[int | str]


class Network:
    """A graph that grows node by node; weights come from its own generator."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def weight(self, *shape: int) -> str:
        return self.constant((self.rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32))

    def add(self, operator: str, *inputs: str, outputs: Sequence[str] = (), **attributes: object) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), list(outputs or [name]), name=name, **attributes))
        return self.nodes[-1].output[0]

    def conv(self, x: str, channels: int, filters: int, kernel: int = 3, **attributes: object) -> str:
        group = int(str(attributes.get("group", 1)))
        weight = self.weight(filters, channels // group, kernel, kernel)
        bias = self.constant(np.full(filters, 0.1, np.float32))
        return self.add("Conv", x, weight, bias, pads=[kernel // 2] * 4, **attributes)

    def save(
        self,
        path: Path,
        inputs: dict[str, Axes],
        outputs: dict[str, Axes],
        types: dict[str, int] | None = None,
        opset: int = 19,
    ) -> Path:
        types = types or {}
        infos = [
            [helper.make_tensor_value_info(n, types.get(n, FLOAT), list(s)) for n, s in part.items()]
            for part in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, "g", infos[0], infos[1], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
        onnx.checker.check_model(model)
        onnx.save(model, path)
        return path


def make_residual(path: Path) -> Path:
    """Two convolutions with a skip, a pool and a linear head."""
    net = Network()
    stem = net.add("Relu", net.conv("x", 3, 16))
    branch = net.add("Relu", net.conv(stem, 16, 16))
    joined = net.add("Relu", net.add("Add", net.conv(branch, 16, 16), stem))
    pooled = net.add("Flatten", net.add("GlobalAveragePool", joined))
    net.add("Gemm", pooled, net.weight(10, 16), net.constant(np.zeros(10, np.float32)), transB=1, outputs=["y"])
    return net.save(path, {"x": ["batch", 3, 8, 8]}, {"y": ["batch", 10]})


RESIDUAL_MACS = 8 * 8 * (16 * 3 * 9 + 2 * 16 * 16 * 9) + 10 * 16


class Quantizer(Network):
    """A network whose activations and weights pass quantize/dequantize pairs of the given encodings."""

    def __init__(self, activation: type[np.generic], weight: type[np.generic], seed: int = 0) -> None:
        super().__init__(seed)
        self.activation = activation
        self.encoding = weight

    def pair(self, x: str, span: float = 4.0) -> str:
        """Symmetric around zero for int8, from zero up for uint8."""
        scale = self.constant(np.float32(span / (127 if self.activation is np.int8 else 255)))
        zero = self.constant(self.activation(0))
        return self.add("DequantizeLinear", self.add("QuantizeLinear", x, scale, zero), scale, zero)

    def stored_weight(self, *shape: int) -> str:
        middle = 128 if self.encoding is np.uint8 else 0
        codes = (self.rng.integers(-127, 128, shape) + middle).astype(self.encoding)
        scale = self.constant(np.full(shape[0], 0.1 / 127, np.float32))
        zero = self.constant(np.full(shape[0], middle, self.encoding))
        return self.add("DequantizeLinear", self.constant(codes), scale, zero, axis=0)

    def quantized_conv(self, x: str, channels: int, filters: int) -> str:
        bias = self.constant(np.full(filters, 0.1, np.float32))
        return self.add("Relu", self.add("Conv", self.pair(x), self.stored_weight(filters, channels, 3, 3), bias))


def make_quantized(path: Path, activation: type[np.generic], weight: type[np.generic]) -> Path:
    """Two convolutions and a linear head, all between quantize/dequantize pairs; valid padding."""
    net = Quantizer(activation, weight)
    y = net.quantized_conv(net.quantized_conv("x", 3, 16), 16, 16)
    head = net.pair(net.add("Flatten", net.add("GlobalAveragePool", y)))
    net.add("Gemm", head, net.stored_weight(10, 16), transB=1, outputs=["y"])
    return net.save(path, {"x": ["batch", 3, 8, 8]}, {"y": ["batch", 10]})


QUANTIZED_MACS = 6 * 6 * 16 * 3 * 9 + 4 * 4 * 16 * 16 * 9 + 10 * 16


def store_half(source: Path, path: Path, to: int) -> Path:
    """Store the weights of a model in 16 bits with a Cast to FP32 behind each: the HINT cast style."""
    model = onnx.load(source)
    casts = []
    for tensor in model.graph.initializer:
        if len(tensor.dims) > 1 and tensor.data_type == FLOAT:
            values = numpy_helper.to_array(tensor)
            narrow = np.float16 if to == TensorProto.FLOAT16 else ml_dtypes.bfloat16
            name = tensor.name
            tensor.CopyFrom(
                helper.make_tensor(f"{name}_narrow", to, values.shape, values.astype(narrow).tobytes(), raw=True)
            )
            casts.append(helper.make_node("Cast", [f"{name}_narrow"], [name], to=FLOAT, name=f"{name}_cast"))
    for place, cast in enumerate(casts):
        model.graph.node.insert(place, cast)
    onnx.save(model, path)
    return path
