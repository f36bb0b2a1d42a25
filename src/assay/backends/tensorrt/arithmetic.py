"""Multiply-accumulates of the model that an engine was built from, at the shapes of a call.

The engine holds no such figures. So its folder keeps the model's graph without the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from assay.backends.model_files import read_graph
from assay.backends.onnx_macs import Shape, count_node_macs
from assay.core.precision import Precision

KEPT_ELEMENTS = 64
"""Constants up to this size stay in the graph: they may be the shapes of others."""
FLOATS = {TensorProto.FLOAT16: Precision.FP16, TensorProto.BFLOAT16: Precision.BF16}


@dataclass(frozen=True, slots=True)
class Product:
    """An operator that multiplies matrices.

    Attributes:
        name: of the node.
        macs: multiply-accumulates.
        typed: float format of its result, which a strongly typed engine computes it in where it fuses no integers.
    """

    name: str
    operator: str
    macs: int
    typed: Precision


def write_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write a model's graph with its large constants as inputs, of which only the shapes are known.

    Args:
        model: read without its external data.
        path: to write.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    given = {value.name for value in bare.graph.input}
    small = []
    for tensor in model.graph.initializer:
        if _count(tensor) <= KEPT_ELEMENTS and tensor.data_location != TensorProto.EXTERNAL:
            small.append(tensor)
        elif tensor.name not in given:
            bare.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    del bare.graph.initializer[:]
    bare.graph.initializer.extend(small)
    del bare.graph.value_info[:]
    path.write_bytes(bare.SerializeToString())


def _count(tensor: onnx.TensorProto) -> int:
    """Elements of a constant."""
    total = 1
    for size in tensor.dims:
        total *= size
    return total


def find_products(path: Path, shapes: Mapping[str, Shape]) -> tuple[Product, ...]:
    """The operators that multiply matrices.

    Args:
        path: of ``write_graph``.
        shapes: of the model's inputs in the call.

    Raises:
        BuildFailed: the file is missing or damaged.
    """
    model = read_graph(path)
    for value in model.graph.input:
        for axis, size in zip(value.type.tensor_type.shape.dim, shapes.get(value.name, ()), strict=False):
            axis.dim_value = size
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    known = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    kinds, found = {}, {}
    for value in (*known.input, *known.value_info, *known.output):
        kind = value.type.tensor_type
        kinds[value.name] = kind.elem_type
        if kind.HasField("shape") and all(axis.HasField("dim_value") for axis in kind.shape.dim):
            found[value.name] = tuple(axis.dim_value for axis in kind.shape.dim)
    found |= {tensor.name: tuple(tensor.dims) for tensor in known.initializer}
    products = []
    for node in known.node:
        macs = count_node_macs(node, found)
        if macs:
            typed = FLOATS.get(kinds.get(node.output[0], 0), Precision.FP32)
            products.append(Product(node.name or node.output[0], node.op_type, macs, typed))
    return tuple(products)
