"""The MiniLM sentence encoder as an ONNX graph for texts of any length, from the published weights alone."""

import onnx
from sentence_encoder import IDS, WIDTH, Builder, Tensors, encode, sum_places

EMBEDDING = "sentence_embedding"
LENGTH = "tokens"


def build_encoder(tensors: Tensors) -> onnx.ModelProto:
    """Build the encoder: token ids and mask, both ``[n, t] int64``, to vectors ``[n, 384]`` of the length 1.

    Args:
        tensors: by their published names.
    """
    builder = Builder(tensors)
    pooled = encode(builder, cut_places(builder), "mean")
    length = builder.add("ReduceL2", (pooled,), "length", axes=[1], keepdims=1)
    builder.add("Div", (pooled, length), EMBEDDING)
    return builder.finish("sentence-encoder", LENGTH, EMBEDDING, WIDTH)


def cut_places(builder: Builder) -> str:
    """Return what is added at each place, as many places as there are tokens: ``[t, 384]``."""
    every_place = builder.constant("every_place", sum_places(builder.tensors))
    count = builder.add("Shape", (IDS,), "count", start=1, end=2)
    start, axis = builder.integers("zero", 0), builder.integers("first", 0)
    return builder.add("Slice", (every_place, start, count, axis), "places")
