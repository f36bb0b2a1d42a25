"""EfficientNet-Lite0 as an ONNX graph, built from the tensors of its checkpoint.

Architecture: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite (Apache-2.0). Batch
normalization is folded into the convolutions, as exporters do; padding is TensorFlow's "SAME".
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
IR_VERSION = 10
SIDE = 224
CLASSES = 1000
EPSILON = 1e-3

# repeats, kernel, stride of the first, expansion, output channels
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)

Tensors = Mapping[str, NDArray[Any]]


@dataclass
class Builder:
    """A graph that grows: nodes and weights so far, and the side of the current feature map."""

    tensors: Tensors
    side: int = SIDE
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:  # noqa: ANN401 - what ONNX allows
        """Add a node and return its output."""
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def store(self, name: str, values: NDArray[Any]) -> str:
        """Add a weight and return its name."""
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    def convolve(self, source: str, name: str, origin: tuple[str, str], *, stride: int = 1, activate: bool) -> str:
        """Add convolution, folded normalization and, if asked, ReLU6; ``origin`` names both in the checkpoint."""
        convolution, normalization = origin
        weight = self.tensors[f"{convolution}.weight"].astype(np.float64)
        gamma, beta, mean, variance = (
            self.tensors[f"{normalization}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = gamma / np.sqrt(variance + EPSILON)
        kernel = weight.shape[2]
        result = math.ceil(self.side / stride)
        padding = max((result - 1) * stride + kernel - self.side, 0)
        before, after = padding // 2, padding - padding // 2
        self.side = result
        inputs = [
            source,
            self.store(f"{name}.weight", weight * factor[:, None, None, None]),
            self.store(f"{name}.bias", beta - mean * factor),
        ]
        depthwise = weight.shape[1] == 1
        output = self.add(
            "Conv",
            inputs,
            name,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=weight.shape[0] if depthwise else 1,
        )
        return self.add("Clip", [output, "zero", "six"], f"{name}.relu6") if activate else output

    def add_block(self, source: str, index: int, *, stride: int, expand: bool, shortcut: bool) -> str:
        """Add an inverted residual block."""
        name, stored = f"block{index:02d}", f"_blocks.{index}"
        x = source
        if expand:
            x = self.convolve(x, f"{name}.expand", (f"{stored}._expand_conv", f"{stored}._bn0"), activate=True)
        origin = (f"{stored}._depthwise_conv", f"{stored}._bn1")
        x = self.convolve(x, f"{name}.depthwise", origin, stride=stride, activate=True)
        x = self.convolve(x, f"{name}.project", (f"{stored}._project_conv", f"{stored}._bn2"), activate=False)
        return self.add("Add", [x, source], f"{name}.add") if shortcut else x


def build_network(tensors: Tensors) -> onnx.ModelProto:
    """Return EfficientNet-Lite0: ``image [batch, 3, 224, 224] float32`` to ``logits [batch, 1000] float32``.

    The image is RGB, ``(pixel - 127) / 128``.
    """
    builder = Builder(tensors)
    builder.store("zero", np.array(0.0))
    builder.store("six", np.array(6.0))
    x = builder.convolve("image", "stem", ("_conv_stem", "_bn0"), stride=2, activate=True)
    index, channels = 0, 32
    for repeats, _, first_stride, expansion, output in STAGES:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            shortcut = stride == 1 and channels == output
            x = builder.add_block(x, index, stride=stride, expand=expansion != 1, shortcut=shortcut)
            index, channels = index + 1, output
    x = builder.convolve(x, "head", ("_conv_head", "_bn1"), activate=True)
    x = builder.add("GlobalAveragePool", [x], "pool")
    x = builder.add("Flatten", [x], "flatten", axis=1)
    weight, bias = builder.store("fc.weight", tensors["_fc.weight"]), builder.store("fc.bias", tensors["_fc.bias"])
    builder.add("Gemm", [x, weight, bias], "logits", transB=1)
    graph = helper.make_graph(
        builder.nodes,
        "efficientnet_lite0",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        builder.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model
