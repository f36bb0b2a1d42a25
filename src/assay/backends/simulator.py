"""The runtime that simulates plans in floats, whatever runtime they are for."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from assay.backends.backend import Backend


def load_simulator() -> Backend:
    """ONNX Runtime with quantize/dequantize pairs computed in floats as they stand; imported only when asked for."""
    module = import_module("assay.backends.onnxruntime.adapter")
    return cast("Backend", module.OnnxRuntimeBackend(integers=False))
