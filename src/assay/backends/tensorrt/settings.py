"""What ``build`` tells ``open`` beside the engine: the file ``settings.json`` of a built folder."""

from __future__ import annotations

from assay.backends.settings import BuiltSettings
from assay.core.precision import Precision
from assay.core.target import ShapeRange
from assay.core.tensor import TensorSpec

GRAPH_FILE = "graph.onnx"
"""The model without its weights, for counting multiply-accumulates."""


class Settings(BuiltSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything about an engine that it does not tell by itself.

    Attributes:
        engine: name of the engine's file: compute capability, form, version and model hash.
        title: form of TensorRT that built it.
        version: of that form; an engine opens with no other.
        capability: compute capability that it is for, such as ``8.6``.
        rest: format of what is not typed otherwise: FP32, or TF32.
        inputs: as the ONNX model names them, in its order.
        outputs: as the ONNX model names them, in its order.
        ranges: shapes that it takes.
    """

    engine: str
    title: str
    version: str
    capability: str
    rest: Precision
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    ranges: tuple[ShapeRange, ...]
