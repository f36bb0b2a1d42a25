"""ONNX models that the tests of the graph package write and read."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from assay.core.errors import ModelError
from assay.graph.ingest import load_model

HEADER = '<ir_version: 8, opset_import: ["": 17]>'
GOOD = HEADER + "g (float[N, 3] x) => (float[N, 2] y) <float[3, 2] w = {1, 2, 3, 4, 5, 6}> { y = MatMul(x, w) }"

BRANCHES = (
    "g (bool c, float x) => (float y) { [cond] y = If(c) "
    "<then_branch = t () => (float a) BODY, else_branch = e () => (float b) { b = Exp(x) }> }"
)


def parse(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(text)


def write(folder: Path, model: str | onnx.ModelProto, name: str = "model.onnx") -> Path:
    proto = parse(model) if isinstance(model, str) else model
    path = folder / name
    path.write_bytes(proto.SerializeToString())
    return path


def refuse(path: Path) -> ModelError:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ModelError) as caught:
            load_model(path)
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value


def external_model(folder: Path, location: str = "w.bin", rows: int = 300, **changes: str) -> Path:
    """A MatMul whose ``[300, 2] float32`` weight is 2400 bytes of an external file."""
    proto = parse(GOOD)
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = rows
    weight = proto.graph.initializer[0]
    weight.ClearField("float_data")
    weight.ClearField("raw_data")
    weight.dims[0] = rows
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "8", "length": str(rows * 8), **changes}.items():
        weight.external_data.add(key=key, value=value)
    return write(folder, proto)


def write_weights(path: Path) -> None:
    path.write_bytes(b"\0" * 8 + np.arange(600, dtype=np.float32).tobytes())


def fill(text: str, rng: np.random.Generator, **shapes: tuple[int, ...]) -> ir.Model:
    """A model from text, with random float32 initializers of these shapes; names starting with ``var`` are positive."""
    proto = parse(text)
    for name, shape in shapes.items():
        array = rng.standard_normal(shape)
        array = np.abs(array) + 0.5 if name.startswith("var") else array
        proto.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    return ir.from_proto(proto)


def run(model: ir.Model, feeds: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> list[np.ndarray]:
    """Outputs of a model in the runtime without any optimization."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    content = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(outputs, dict(feeds))
