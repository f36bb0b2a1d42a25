"""The MiniLM sentence encoder with a logistic head as an ONNX graph, from the published weights alone."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from sentence_encoder import Builder, Tensors, encode, sum_places

FEATURES, PROBABILITY = "features", "probability"


def build_model(
    tensors: Tensors, weight: NDArray[np.float32], bias: NDArray[np.float32], length: int
) -> onnx.ModelProto:
    """Build the encoder with its head.

    Args:
        tensors: of the encoder, by their published names.
        weight: ``[features, labels]`` of the head.
        bias: ``[labels]``.
        length: tokens of an item.
    """
    builder = Builder(tensors)
    features = encode(builder, builder.constant("places", sum_places(tensors)[:length]), FEATURES, length)
    logit = builder.add(
        "Gemm", (features, builder.constant("head.weight", weight), builder.constant("head.bias", bias)), "logit"
    )
    builder.add("Sigmoid", (logit,), PROBABILITY)
    return builder.finish("moderation", length, PROBABILITY, len(bias))


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write the model and say how large it is."""
    onnx.save(model, path)
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
