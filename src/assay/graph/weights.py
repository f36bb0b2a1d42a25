"""Checks the stored tensors of an ONNX model: where they lie, and that they hold as many bytes as they claim."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
import onnx.checker
import onnx.external_data_helper
import onnx_ir as ir

from assay.core.errors import ModelError
from assay.graph.wellformed import list_subgraphs

SMALL_TENSOR_BYTES = 1024
"""Up to here a tensor may be a shape or an axis that shape inference wants to read."""
TYPED_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")


def list_tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every stored tensor: initializers and attributes, those of inner graphs and functions included."""
    yield from list_graph_tensors(proto.graph)
    for function in proto.functions:
        yield from list_node_tensors(function.node)


def list_graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Stored tensors of a graph and of the graphs inside it."""
    yield from graph.initializer
    yield from list_node_tensors(graph.node)


def list_node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    """Stored tensors in the attributes of nodes."""
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
        for graph in list_subgraphs(node):
            yield from list_graph_tensors(graph)


def check_weights(proto: onnx.ModelProto, path: Path) -> Path:
    """Check every stored tensor; no data is read.

    Args:
        proto: the model; locations of external data behind a symbolic link are rewritten to where the link leads.
        path: the model's file.

    Returns:
        The folder that external data is relative to, absolute.

    Raises:
        ModelError: an unusable type or shape, too few bytes, external data missing or outside the model's folder.
    """
    external: list[tuple[onnx.TensorProto, int]] = []
    for tensor in list_tensors(proto):
        needed_bytes = count_bytes(tensor, path)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            external.append((tensor, needed_bytes))
        else:
            check_embedded(tensor, needed_bytes, path)
    # A download cache keeps the model and its data as links into a folder of blobs: follow the model's own link.
    folder = path.parent.resolve()
    real = path.resolve().parent
    linked = any(not is_inside(resolve_location(tensor, folder, path), folder) for tensor, _ in external)
    for tensor, needed_bytes in external:
        found = check_external(tensor, needed_bytes, (folder, real), path)
        if linked and real != folder:
            rewrite_location(tensor, found.relative_to(real))
    return real if linked else folder


def embed_small(proto: onnx.ModelProto, folder: Path, path: Path) -> None:
    """Read external tensors of at most 1 KiB into ``proto``: shapes may depend on them.

    Raises:
        ModelError: the data cannot be read.
    """
    for tensor in list_tensors(proto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL and count_bytes(tensor, path) <= SMALL_TENSOR_BYTES:
            try:
                onnx.external_data_helper.load_external_data_for_tensor(tensor, str(folder))
            except (OSError, ValueError, onnx.checker.ValidationError) as err:
                message = f"{path}: the data of tensor '{tensor.name}' cannot be read: {err}"
                raise ModelError(message, "check the data file beside the model") from err
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]


def count_bytes(tensor: onnx.TensorProto, path: Path) -> int:
    """Bytes that a tensor of this type and shape takes; 0 for strings, whose width varies."""
    try:
        dtype = ir.DataType(tensor.data_type)
    except ValueError as err:
        message = f"{path}: tensor '{tensor.name}' has element type {tensor.data_type}, which is unknown"
        raise ModelError(message, "export the model again") from err
    if dtype is ir.DataType.UNDEFINED:
        raise ModelError(f"{path}: tensor '{tensor.name}' states no element type", "export the model again")
    if any(size < 0 for size in tensor.dims):
        raise ModelError(f"{path}: tensor '{tensor.name}' has a negative axis: {list(tensor.dims)}", "export it again")
    return 0 if dtype is ir.DataType.STRING else math.ceil(math.prod(tensor.dims) * dtype.bitwidth / 8)


def check_embedded(tensor: onnx.TensorProto, needed_bytes: int, path: Path) -> None:
    """Check that a tensor in the file itself holds as many elements as its shape says."""
    if tensor.HasField("raw_data"):
        held, needed, unit = len(tensor.raw_data), needed_bytes, "bytes"
    else:
        dtype = ir.DataType(tensor.data_type)
        held = sum(len(getattr(tensor, field)) for field in TYPED_FIELDS)
        count = math.prod(tensor.dims)
        needed = {4: needed_bytes, 2: needed_bytes}.get(0 if dtype is ir.DataType.STRING else dtype.bitwidth, count)
        needed *= 2 if dtype in {ir.DataType.COMPLEX64, ir.DataType.COMPLEX128} else 1
        unit = "elements"
    if held != needed:
        message = f"{path}: tensor '{tensor.name}' holds {held} {unit}, its shape {list(tensor.dims)} needs {needed}"
        raise ModelError(message, "export the model again")


def resolve_location(tensor: onnx.TensorProto, folder: Path, path: Path) -> Path:
    """Where a tensor's data lies, links followed.

    Raises:
        ModelError: no location, an absolute one, or one that is no path.
    """
    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    if not location:
        raise ModelError(f"{path}: tensor '{tensor.name}' is external but names no file", "export the model again")
    if Path(location).is_absolute() or ":" in location.partition("/")[0]:
        message = f"{path}: the data of tensor '{tensor.name}' is at '{location}', outside the model's folder"
        raise ModelError(message, "external data must be named relative to the model's file")
    try:
        return (folder / location).resolve()
    except (OSError, ValueError, RuntimeError) as err:
        message = f"{path}: the data of tensor '{tensor.name}' is at {location!r}, which is not a path"
        raise ModelError(message, "export the model again") from err


def is_inside(file: Path, folder: Path) -> bool:
    """Whether a resolved path lies under a resolved folder."""
    return file.is_relative_to(folder)


def check_external(tensor: onnx.TensorProto, needed_bytes: int, roots: tuple[Path, Path], path: Path) -> Path:
    """Check the file, offset and length of one external tensor; gives the resolved file."""
    file = resolve_location(tensor, roots[0], path)
    what = f"{path}: the data of tensor '{tensor.name}'"
    if not any(is_inside(file, root) for root in roots):
        message = f"{what} is at '{file}', outside the model's folder"
        raise ModelError(message, "put the data beside the model; '..' and links out of the folder are refused")
    try:
        status = file.stat()
    except OSError as err:
        raise ModelError(f"{what} is missing: '{file}'", "put the data file beside the model") from err
    if not file.is_file():
        raise ModelError(f"{what} is at '{file}', which is not a file", "put the data file beside the model")
    if status.st_nlink > 1:
        message = f"{what} is in '{file}', a file with {status.st_nlink} hard links"
        raise ModelError(message, "copy the file: its other names may lie outside the model's folder")
    entries = {entry.key: entry.value for entry in tensor.external_data}
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", needed_bytes))
    except ValueError as err:
        raise ModelError(f"{what} has an unreadable offset or length: {err}", "export the model again") from err
    if offset < 0 or length < needed_bytes or offset + length > status.st_size:
        message = f"{what} needs {needed_bytes} bytes from {offset} of '{file}', which has {status.st_size}"
        raise ModelError(f"{message} (stated length: {length})", "copy or export the data file again: it is too short")
    return file


def rewrite_location(tensor: onnx.TensorProto, location: Path) -> None:
    """Point an external tensor at a path relative to the real folder."""
    for entry in tensor.external_data:
        if entry.key == "location":
            entry.value = location.as_posix()
