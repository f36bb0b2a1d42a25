"""An ONNX model as files: the graph itself, its interface, and the tensors that lie beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # has no types

from assay.core.errors import BuildFailed
from assay.core.tensor import Signature, TensorSpec

MODEL_FILE = "model.onnx"
"""Name of the graph in a built folder."""


def copy_model(model: Path, into: Path) -> Path:
    """Copy an ONNX model with all its external data into a folder, the graph as ``model.onnx``.

    External data keeps its place relative to the graph, so the graph's own references stay true.

    Raises:
        BuildFailed: the file is no ONNX model, or its external data is missing or lies outside the model's folder.
    """
    graph = read_graph(model)
    built = into / MODEL_FILE
    try:
        shutil.copyfile(model, built)
        for location in sorted(set(external_locations(graph))):
            source, copy = model.parent / location, into / location
            _check_location(location, source, model, taken=copy.exists())
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
    except OSError as err:
        raise BuildFailed(f"{model} cannot be copied to {into}: {err}", "check the files and the free space") from err
    return built


def read_graph(model: Path) -> onnx.ModelProto:
    """Parse the graph without its external data.

    Raises:
        BuildFailed: the file cannot be read or is no ONNX model.
    """
    try:
        proto = onnx.load(model, load_external_data=False)
    except (OSError, DecodeError) as err:
        raise BuildFailed(f"{model} cannot be read as an ONNX model: {err}", "give a whole ONNX file") from err
    if not proto.HasField("graph"):
        raise BuildFailed(f"{model} holds no ONNX graph", "give a whole ONNX file")
    return proto


def read_signature(model: Path) -> Signature:
    """Inputs and outputs of an ONNX file under its own names, in its own order.

    Raises:
        BuildFailed: the file is not an ONNX model.
    """
    return describe_interface(read_graph(model).graph)


def describe_interface(graph: onnx.GraphProto) -> Signature:
    """Inputs and outputs of a graph under its own names, in its own order; constants are none."""
    constants = {tensor.name for tensor in graph.initializer}
    inputs = tuple(_describe(value) for value in graph.input if value.name not in constants)
    return Signature(inputs, tuple(_describe(value) for value in graph.output))


def _describe(value: onnx.ValueInfoProto) -> TensorSpec:
    """Specification of one graph input or output; float32 where the file does not state the type."""
    kind = value.type.tensor_type
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type or onnx.TensorProto.FLOAT))
    name = "str" if dtype.hasobject else dtype.name
    if not kind.HasField("shape"):
        return TensorSpec(value.name, name, None)
    axes: list[int | str | None] = [
        axis.dim_value if axis.HasField("dim_value") else (axis.dim_param or None) for axis in kind.shape.dim
    ]
    return TensorSpec(value.name, name, tuple(axes))


def external_locations(proto: onnx.ModelProto) -> Iterator[str]:
    """Relative paths of the files that tensors of the model refer to, one per reference."""
    for tensor in _tensors(proto.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield from (entry.value for entry in tensor.external_data if entry.key == "location")
    for function in proto.functions:
        yield from _node_locations(function.node)


def _node_locations(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    for tensor in _node_tensors(nodes):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield from (entry.value for entry in tensor.external_data if entry.key == "location")


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(graph)


def _check_location(location: str, source: Path, model: Path, *, taken: bool) -> None:
    """Refuse references that leave the model's folder, are missing, or would overwrite what is already built.

    Raises:
        BuildFailed: naming the file.
    """
    pure = PurePosixPath(location)
    inside = source.resolve().is_relative_to(model.parent.resolve())
    if pure.is_absolute() or ".." in pure.parts or not inside:
        raise BuildFailed(f"{model}: external data {location!r} lies outside the model's folder", "move it beside it")
    if not source.is_file():
        raise BuildFailed(f"{model}: external data {location!r} is missing", "keep it beside the model")
    if taken:
        raise BuildFailed(f"{model}: external data is named {location!r}, as the built graph is", "rename it")
