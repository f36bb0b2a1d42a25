"""A small model whose INT8 forms die: an input that is zero in every calibration item, and small values behind it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.reference
from onnx import TensorProto, helper, numpy_helper
from study_samples import CLASSES, Files


def write_gated_model(path: Path, rng: np.random.Generator, layers: int) -> None:
    """Convolutions of a picture of 3x12x12, times ``strength``, ``layers`` more of them, pool, class scores."""

    def weight(name: str, *shape: int, size: float = 0.4) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.normal(0, size, shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["c1"], name="stem", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], name="neck", pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["c2", "strength"], ["gated"], name="gate"),
    ]
    weights = [weight("w1", 8, 3, 3, 3), weight("w2", 8, 8, 3, 3, size=0.0005)]
    last = "gated"
    for layer in range(layers):
        nodes += [helper.make_node("Conv", [last, f"v{layer}"], [f"d{layer}"], name=f"deep{layer}", pads=[1] * 4)]
        weights.append(weight(f"v{layer}", 8, 8, 3, 3, size=0.1))
        last = f"d{layer}"
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "w3"], ["logits"], name="head"),
    ]
    weights.append(weight("w3", 8, CLASSES, size=100))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 12, 12])
    strength = helper.make_tensor_value_info("strength", TensorProto.FLOAT, ["batch", 1, 1, 1])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])
    graph = helper.make_graph(nodes, "gated", [image, strength], [logits], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def make_gated(folder: Path, layers: int) -> Files:
    """The model with items; ``strength`` is zero in those for the calibration alone."""
    rng = np.random.default_rng(5)
    files = Files(folder, folder / "gated.onnx", folder / "calibration.npz", folder / "evaluation.npz")
    write_gated_model(files.model, rng, layers)
    images = rng.normal(0, 1, (300, 3, 12, 12)).astype(np.float32)
    strength = rng.uniform(0.5, 2, (300, 1, 1, 1)).astype(np.float32)
    feeds = {"image": images, "strength": strength}
    logits = onnx.reference.ReferenceEvaluator(str(files.model)).run(None, feeds)[0]
    np.savez(files.evaluation, **feeds, target=np.argmax(logits, axis=1))
    np.savez(files.calibration, image=images[:40], strength=np.zeros((40, 1, 1, 1), np.float32))
    return files
