"""YOLOv8n's network (C2f, SPPF, decoupled head, distribution focal loss) with random weights, as it is exported.

    python yolov8.py [SIDE]

writes ``files/yolov8n_random.onnx``: `images [1, 3, SIDE, SIDE]` to `output0 [1, 84, places]`, the boxes decoded inside
and concatenated with the scores. The weights are drawn, so the network detects nothing: it shows speed, and what
quantizing every operator does to boxes and scores that share one tensor. Trained weights come under AGPL-3.0 from
their authors; this is a network written anew from its published description.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 18, 8
CLASSES, BINS = 80, 16
STRIDES = (8, 16, 32)
SIDE = 640
SEED = 0


class Builder:
    """Writes nodes and weights; names are those of the layers."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(seed)

    def add(self, kind: str, inputs: list[str], name: str, **attributes: object) -> str:
        """A node with one output of its own name."""
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def store(self, name: str, value: NDArray[np.generic]) -> str:
        """A weight or a constant."""
        self.stored.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def convolve(self, x: str, name: str, sizes: tuple[int, int], kernel: int, stride: int = 1) -> str:
        """A convolution from so many channels to so many, with its batch norm folded in, and SiLU."""
        return self.activate(self.project(x, f"{name}/conv", sizes, kernel, stride), name)

    def project(
        self, x: str, name: str, sizes: tuple[int, int], kernel: int, stride: int = 1, bias: float = 0.0
    ) -> str:
        """A convolution alone."""
        channels, outputs = sizes
        deviation = np.sqrt(2.2 / (channels * kernel**2))
        weight = self._rng.normal(0, deviation, (outputs, channels, kernel, kernel)).astype(np.float32)
        shift = (bias + self._rng.normal(0, 0.1, outputs)).astype(np.float32)
        inputs = [x, self.store(f"{name}/weight", weight), self.store(f"{name}/bias", shift)]
        return self.add("Conv", inputs, name, strides=[stride] * 2, pads=[kernel // 2] * 4)

    def activate(self, x: str, name: str) -> str:
        """SiLU."""
        return self.add("Mul", [x, self.add("Sigmoid", [x], f"{name}/sigmoid")], name)

    def split(self, x: str, name: str, sizes: list[int]) -> list[str]:
        """Parts of the channels."""
        parts = [f"{name}/{index}" for index in range(len(sizes))]
        lengths = self.store(f"{name}/sizes", np.array(sizes))
        self.nodes.append(helper.make_node("Split", [x, lengths], parts, name=name, axis=1))
        return parts

    def chain(self, x: str, name: str, sizes: tuple[int, int], depth: int, *, shortcut: bool) -> str:
        """C2f: a part of the channels through bottlenecks, and what each of them gives."""
        half = sizes[1] // 2
        parts = self.split(self.convolve(x, f"{name}/in", (sizes[0], 2 * half), 1), f"{name}/split", [half, half])
        for index in range(depth):
            inner = self.convolve(parts[-1], f"{name}/{index}/a", (half, half), 3)
            inner = self.convolve(inner, f"{name}/{index}/b", (half, half), 3)
            parts.append(self.add("Add", [parts[-1], inner], f"{name}/{index}/add") if shortcut else inner)
        joined = self.add("Concat", parts, f"{name}/concat", axis=1)
        return self.convolve(joined, f"{name}/out", ((2 + depth) * half, sizes[1]), 1)

    def pool(self, x: str, name: str, channels: int) -> str:
        """SPPF: three poolings one after another."""
        parts = [self.convolve(x, f"{name}/in", (channels, channels // 2), 1)]
        for index in range(3):
            parts.append(
                self.add("MaxPool", [parts[-1]], f"{name}/{index}", kernel_shape=[5, 5], pads=[2] * 4, strides=[1, 1])
            )
        joined = self.add("Concat", parts, f"{name}/concat", axis=1)
        return self.convolve(joined, f"{name}/out", (2 * channels, channels), 1)

    def enlarge(self, x: str, name: str) -> str:
        """Twice as high and wide, each cell repeated."""
        scales = self.store(f"{name}/scales", np.array([1, 1, 2, 2], np.float32))
        return self.add(
            "Resize",
            [x, "", scales],
            name,
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )


def build_backbone(net: Builder) -> tuple[str, str, str]:
    """Features at the strides 8, 16 and 32: 64, 128 and 256 channels."""
    x = net.convolve("images", "0", (3, 16), 3, 2)
    x = net.chain(net.convolve(x, "1", (16, 32), 3, 2), "2", (32, 32), 1, shortcut=True)
    small = net.chain(net.convolve(x, "3", (32, 64), 3, 2), "4", (64, 64), 2, shortcut=True)
    middle = net.chain(net.convolve(small, "5", (64, 128), 3, 2), "6", (128, 128), 2, shortcut=True)
    large = net.chain(net.convolve(middle, "7", (128, 256), 3, 2), "8", (256, 256), 1, shortcut=True)
    return small, middle, net.pool(large, "9", 256)


def build_neck(net: Builder, features: tuple[str, str, str]) -> tuple[str, str, str]:
    """The features mixed from coarse to fine and back."""
    small, middle, large = features
    joined = net.add("Concat", [net.enlarge(large, "10"), middle], "11", axis=1)
    inner = net.chain(joined, "12", (384, 128), 1, shortcut=False)
    joined = net.add("Concat", [net.enlarge(inner, "13"), small], "14", axis=1)
    fine = net.chain(joined, "15", (192, 64), 1, shortcut=False)
    joined = net.add("Concat", [net.convolve(fine, "16", (64, 64), 3, 2), inner], "17", axis=1)
    medium = net.chain(joined, "18", (192, 128), 1, shortcut=False)
    joined = net.add("Concat", [net.convolve(medium, "19", (128, 128), 3, 2), large], "20", axis=1)
    return fine, medium, net.chain(joined, "21", (384, 256), 1, shortcut=False)


def build_head(net: Builder, features: tuple[str, str, str], side: int) -> str:
    """Boxes as centre and size in pixels, and probabilities, in one output."""
    rows = net.store("rows", np.array([0, 4 * BINS + CLASSES, -1]))
    levels = []
    for level, (x, channels) in enumerate(zip(features, (64, 128, 256), strict=True)):
        name = f"22/{level}"
        boxes = net.convolve(net.convolve(x, f"{name}/box/a", (channels, 64), 3), f"{name}/box/b", (64, 64), 3)
        kinds = net.convolve(net.convolve(x, f"{name}/class/a", (channels, 80), 3), f"{name}/class/b", (80, 80), 3)
        both = [
            net.project(boxes, f"{name}/box", (64, 4 * BINS), 1, bias=1.0),
            # The bias that training begins with: five objects on a picture of 640 pixels.
            net.project(
                kinds, f"{name}/class", (80, CLASSES), 1, bias=float(np.log(5 / CLASSES / (side / STRIDES[level]) ** 2))
            ),
        ]
        levels.append(net.add("Reshape", [net.add("Concat", both, f"{name}/both", axis=1), rows], f"{name}/flat"))
    joined = net.add("Concat", levels, "22/levels", axis=2)
    boxes, kinds = net.split(joined, "22/split", [4 * BINS, CLASSES])
    return net.add("Concat", [decode(net, boxes, side), net.add("Sigmoid", [kinds], "22/scores")], "output0", axis=1)


def decode(net: Builder, boxes: str, side: int) -> str:
    """Distances to four sides from distributions over 0 to 15 strides, as centre and size."""
    grids = [np.mgrid[: side // stride, : side // stride] + 0.5 for stride in STRIDES]
    centres = np.concatenate([np.stack([x.ravel(), y.ravel()]) for y, x in grids], axis=1)[None].astype(np.float32)
    steps = np.concatenate([np.full((side // stride) ** 2, stride, np.float32) for stride in STRIDES])
    shape = net.store("dfl/shape", np.array([0, 4, BINS, -1]))
    split = net.add("Reshape", [boxes, shape], "dfl/split")
    share = net.add("Softmax", [net.add("Transpose", [split], "dfl/order", perm=[0, 2, 1, 3])], "dfl/share", axis=1)
    bins = net.store("dfl/bins", np.arange(BINS, dtype=np.float32).reshape(1, BINS, 1, 1))
    far = net.add("Conv", [share, bins], "dfl/mean")
    flat = net.add("Reshape", [far, net.store("dfl/sides", np.array([0, 4, -1]))], "dfl/flat")
    near, beyond = net.split(flat, "dfl/corners", [2, 2])
    place = net.store("dfl/centres", centres)
    low, high = net.add("Sub", [place, near], "dfl/low"), net.add("Add", [place, beyond], "dfl/high")
    two = net.store("dfl/two", np.array(2, np.float32))
    middle = net.add("Div", [net.add("Add", [low, high], "dfl/sum"), two], "dfl/middle")
    extent = net.add("Sub", [high, low], "dfl/extent")
    joined = net.add("Concat", [middle, extent], "dfl/box", axis=1)
    return net.add("Mul", [joined, net.store("dfl/strides", steps)], "dfl/pixels")


def build_yolov8n(side: int = SIDE, seed: int = SEED) -> onnx.ModelProto:
    """The network, 3.2 million parameters.

    Args:
        side: height and width of its input, a multiple of 32.
        seed: of the weights.
    """
    net = Builder(seed)
    build_head(net, build_neck(net, build_backbone(net)), side)
    places = sum((side // stride) ** 2 for stride in STRIDES)
    graph = helper.make_graph(
        net.nodes,
        "yolov8n",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 4 + CLASSES, places])],
        net.stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Write the network."""
    side = int(sys.argv[1]) if len(sys.argv) > 1 else SIDE
    path = Path(__file__).resolve().parent / "files" / "yolov8n_random.onnx"
    path.parent.mkdir(exist_ok=True)
    model = build_yolov8n(side)
    onnx.save(model, path)
    parameters = sum(int(np.prod(weight.dims)) for weight in model.graph.initializer)
    print(f"{path.name}: {parameters / 1e6:.2f} M parameters, input {side}x{side}")


if __name__ == "__main__":
    main()
