"""A detector of coloured squares that is right by construction, and pictures with exact boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE, STRIDE, SQUARE = 64, 8, 16
CELLS = SIDE // STRIDE
CLASSES = 3


def write_detector(path: Path) -> None:
    """One output ``[n, 4 + 3, 64]`` as YOLOv8 gives it: centre, size, and a score for each colour.

    Its first convolution takes the mean colour of each cell, the second that of 2x2 cells; a square of 16x16 pixels
    on the grid of 8 fills just that.
    """
    rng = np.random.default_rng(0)
    pool = np.zeros((CLASSES, CLASSES, STRIDE, STRIDE), np.float32)
    pool[np.arange(CLASSES), np.arange(CLASSES)] = 1 / STRIDE**2
    sharp = np.full((CLASSES, CLASSES, 2, 2), -4.0, np.float32)
    sharp[np.arange(CLASSES), np.arange(CLASSES)] = 4.0
    sharp += rng.normal(0, 0.05, sharp.shape).astype(np.float32)
    y, x = (np.minimum(axis.ravel() * STRIDE + STRIDE, SIDE - STRIDE) for axis in np.mgrid[:CELLS, :CELLS])
    boxes = np.stack([x, y, np.full_like(x, SQUARE), np.full_like(x, SQUARE)])[None].astype(np.float32)
    constants = {
        "pool": pool,
        "sharp": sharp,
        "lift": np.full(CLASSES, -10.0, np.float32),
        "boxes": boxes,
        "nothing": np.zeros(1, np.float32),
        "rows": np.array([0, CLASSES, -1]),
        "first": np.array([0]),
        "second": np.array([1]),
    }
    nodes = [
        helper.make_node("Conv", ["image", "pool"], ["mean"], name="mean", strides=[STRIDE, STRIDE]),
        helper.make_node("Relu", ["mean"], ["bright"], name="bright"),
        helper.make_node("Conv", ["bright", "sharp", "lift"], ["logits"], name="logits", pads=[0, 0, 1, 1]),
        helper.make_node("Sigmoid", ["logits"], ["map"], name="map"),
        helper.make_node("Reshape", ["map", "rows"], ["scores"], name="scores"),
        helper.make_node("Slice", ["scores", "first", "second", "second"], ["one"], name="one"),
        helper.make_node("Mul", ["one", "nothing"], ["zero"], name="zero"),
        helper.make_node("Add", ["zero", "boxes"], ["placed"], name="placed"),
        helper.make_node("Concat", ["placed", "scores"], ["output0"], name="join", axis=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    output = helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", 4 + CLASSES, CELLS**2])
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "squares", [image], [output], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def draw_pictures(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pictures ``[n, 3, 64, 64]`` of one or two squares on dim noise, and their boxes ``[n, 2, 5]``."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(0, 0.3, (count, 3, SIDE, SIDE)).astype(np.float32)
    target = np.full((count, 2, 5), -1, np.float32)
    for image, objects in zip(images, target, strict=True):
        for place in range(rng.integers(1, 3)):
            kind, half = rng.integers(CLASSES), place * SIDE // 2
            y, x = rng.integers(0, CELLS - 1) * STRIDE, half + rng.integers(0, CELLS // 2 - 1) * STRIDE
            image[:, y : y + SQUARE, x : x + SQUARE] = 0
            image[kind, y : y + SQUARE, x : x + SQUARE] = rng.uniform(0.75, 1, (SQUARE, SQUARE))
            objects[place] = (x, y, x + SQUARE, y + SQUARE, kind)
    return images, target
