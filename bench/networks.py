"""Networks of real size with random weights: for speed only, never for quality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))
"""Blocks, width and stride of ResNet-50's stages (He et al. 2015, table 1)."""


class Builder:
    """Collects the nodes and weights of one graph."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, value: NDArray[np.float32]) -> str:
        """Add a weight."""
        self.weights.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def node(self, operator: str, inputs: list[str], name: str, **attributes: object) -> str:
        """Add a node; gives its output's name."""
        self.nodes.append(helper.make_node(operator, inputs, [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def conv_norm(self, value: str, name: str, shape: tuple[int, int, int], stride: int = 1) -> str:
        """Convolution ``(out, in, kernel)`` and batch normalisation."""
        out, channels, kernel = shape
        spread = np.sqrt(2 / (channels * kernel * kernel))
        weight = self.weight(f"{name}.weight", self.rng.normal(0, spread, (out, channels, kernel, kernel)))
        pad = kernel // 2
        value = self.node(
            "Conv", [value, weight], name, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4
        )
        parts = {
            "scale": self.rng.uniform(0.8, 1.2, out),
            "bias": self.rng.normal(0, 0.1, out),
            "mean": self.rng.normal(0, 0.1, out),
            "var": self.rng.uniform(0.8, 1.2, out),
        }
        names = [self.weight(f"{name}.norm.{part}", array) for part, array in parts.items()]
        return self.node("BatchNormalization", [value, *names], f"{name}.norm", epsilon=1e-5)

    def bottleneck(self, value: str, name: str, channels: int, width: int, stride: int) -> str:
        """Residual block 1x1, 3x3, 1x1."""
        branch = self.node("Relu", [self.conv_norm(value, f"{name}.conv1", (width, channels, 1))], f"{name}.relu1")
        branch = self.conv_norm(branch, f"{name}.conv2", (width, width, 3), stride)
        branch = self.node("Relu", [branch], f"{name}.relu2")
        branch = self.conv_norm(branch, f"{name}.conv3", (4 * width, width, 1))
        if stride != 1 or channels != 4 * width:
            value = self.conv_norm(value, f"{name}.downsample", (4 * width, channels, 1), stride)
        return self.node("Relu", [self.node("Add", [branch, value], f"{name}.add")], f"{name}.relu3")


def write_resnet50(path: Path, seed: int = 0) -> None:
    """ResNet-50 with random weights: ``image`` float32 ``[batch, 3, 224, 224]`` to ``logits`` ``[batch, 1000]``."""
    build = Builder(np.random.default_rng(seed))
    value = build.node("Relu", [build.conv_norm("image", "stem", (64, 3, 7), 2)], "stem.relu")
    value = build.node("MaxPool", [value], "stem.pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, (blocks, width, stride) in enumerate(STAGES):
        for block in range(blocks):
            value = build.bottleneck(value, f"layer{stage}.{block}", channels, width, stride if block == 0 else 1)
            channels = 4 * width
    value = build.node("Flatten", [build.node("GlobalAveragePool", [value], "pool")], "flatten")
    weight = build.weight("fc.weight", build.rng.normal(0, 0.02, (1000, channels)))
    bias = build.weight("fc.bias", np.zeros(1000))
    build.nodes.append(helper.make_node("Gemm", [value, weight, bias], ["logits"], name="fc", transB=1))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 224, 224])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1000])
    graph = helper.make_graph(build.nodes, "resnet50", [image], [logits], build.weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10), path)
