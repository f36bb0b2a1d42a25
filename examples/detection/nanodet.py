"""NanoDet, an anchor-free detector of COCO's 80 classes, from its TensorFlow.js files.

The head gives for each of the strides 8, 16 and 32 scores ``[1, cells, 80]`` and distances ``[1, cells, 44]``: for
each side of the box a distribution over 0 to 10 strides (Li et al. 2020, "Generalized Focal Loss").
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scenes import SIDE
from tfjs import convert_tfjs

STRIDES = (8, 16, 32)
BINS = 11
OUTPUTS = {
    "Identity": "scores_8",
    "Identity_1": "scores_16",
    "Identity_2": "scores_32",
    "Identity_3": "distances_8",
    "Identity_4": "distances_16",
    "Identity_5": "distances_32",
}
DECODED = "detections"


def build_nanodet(document: bytes, weights: bytes) -> onnx.ModelProto:
    """The network with its six raw outputs, opset 18."""
    return convert_tfjs(document, weights, OUTPUTS)


def decode_inside(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network with one output ``[n, cells, 4 + 80]``: corners in pixels, then scores, as YOLOs are exported."""
    graph, parts = model.graph, []

    def add(kind: str, inputs: list[str], name: str, **attributes: int) -> str:
        graph.node.append(helper.make_node(kind, inputs, [name], name=f"decode/{name}", **attributes))
        return name

    def store(name: str, value: NDArray[np.generic]) -> str:
        graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    sides, corners = store("sides", np.array([0, -1, 4, BINS])), store("corners", np.array([0, -1, 4]))
    ends = [store(f"end_{end}", np.array([end])) for end in (0, 2, 4)]
    axis = store("last_axis", np.array([2]))
    for stride in STRIDES:
        y, x = ((place.ravel() + 0.5) * stride for place in np.mgrid[: SIDE // stride, : SIDE // stride])
        centre = store(f"centre_{stride}", np.stack([x, y], axis=1)[None].astype(np.float32))
        steps = store(f"steps_{stride}", (np.arange(BINS)[:, None] * stride).astype(np.float32))
        split = add("Reshape", [f"distances_{stride}", sides], f"split_{stride}")
        share = add("Softmax", [split], f"share_{stride}", axis=3)
        mean = add("MatMul", [share, steps], f"mean_{stride}")
        far = add("Reshape", [mean, corners], f"far_{stride}")
        low = add("Sub", [centre, add("Slice", [far, *ends[:2], axis], f"left_{stride}")], f"low_{stride}")
        high = add("Add", [centre, add("Slice", [far, *ends[1:], axis], f"right_{stride}")], f"high_{stride}")
        parts.append(add("Concat", [low, high, f"scores_{stride}"], f"found_{stride}", axis=2))
    add("Concat", parts, DECODED, axis=1)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(DECODED, TensorProto.FLOAT, None))
    return model
