"""TensorRT in tests: its networks, and the skip where it is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from assay.backends.backend import Availability
from assay.backends.tensorrt.adapter import TensorRtBackend
from assay.backends.tensorrt.cuda import list_gpus
from assay.core.target import Target

BACKEND = TensorRtBackend()
HERE: Availability = BACKEND.probe()
builds = pytest.mark.skipif(not HERE.builds, reason=f"tensorrt: {HERE.missing or 'it builds for this GPU alone'}")
"""For tests that parse and build, which TensorRT-RTX does without a GPU."""
runs = pytest.mark.skipif(not HERE.available, reason=f"tensorrt: {HERE.missing}")
"""For tests that run engines."""
no_gpu = pytest.mark.skipif(bool(list_gpus()[0]), reason="a GPU is here")


def target(device: str = "sm86", **keys: object) -> Target:
    return Target("tensorrt", device=device, **keys)  # type: ignore[arg-type] # of the caller


def parse(text: str, opset: int = 21, **weights: np.ndarray) -> onnx.ModelProto:
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]>\n{text}')
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type.lower()}_{index}"
    return model


def save(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    path = folder / name
    onnx.save(model, path)
    return path
