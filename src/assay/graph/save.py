"""Writes a model so that its file is whole or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from assay.core.errors import StoreError

EMBED_LIMIT_BYTES = 1_500_000_000
"""Weights up to this size stay in the file; protobuf cannot hold more than 2 GiB."""
SMALL_TENSOR_BYTES = 1024


def save_model(model: ir.Model, path: Path, *, embed_limit_bytes: int = EMBED_LIMIT_BYTES) -> None:
    """Write a model atomically; it is left as it is.

    Everything is written into a temporary folder beside ``path``, flushed to the disk, and moved into place, the
    weights first. Weights above the limit go to ``<name>.data`` beside the file.

    Args:
        model: its external tensors are read, and embedded or written to the new data file.
        path: the file to write; its folder exists.
        embed_limit_bytes: total size of the weights above which they become external data.

    Raises:
        StoreError: the folder cannot be written or the disk is full, naming the path.
    """
    path = Path(path)
    data = path.with_name(f"{path.name}.data")
    if any(is_same_file(Path(tensor.path), data) for tensor in list_external(model)):
        raise StoreError(f"cannot write {path}: the model still reads its weights from {data}", "write elsewhere")
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as err:
        raise explain_failure(path, err) from err
    try:
        write_files(model, scratch / path.name, embed_limit_bytes)
        has_data = (scratch / data.name).exists()
        if has_data:
            os.replace(scratch / data.name, data)  # noqa: PTH105 the name of the atomic operation
        os.replace(scratch / path.name, path)  # noqa: PTH105 the same
        if not has_data:
            data.unlink(missing_ok=True)
        flush_folder(path.parent)
    except OSError as err:
        raise explain_failure(path, err) from err
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_files(model: ir.Model, path: Path, embed_limit_bytes: int) -> None:
    """Write the model, and its weights beside it where they are too large, and flush both to the disk."""
    lean = model.clone()
    total_bytes = sum(
        value.const_value.nbytes
        for graph in lean.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None
    )
    embed_attributes(lean)
    if total_bytes > embed_limit_bytes:
        data = f"{path.name}.data"
        ir.save(lean, path, format="protobuf", external_data=data, size_threshold_bytes=SMALL_TENSOR_BYTES)
        flush(path.with_name(data))
    else:
        onnx.save(ir.to_proto(ir.external_data.load_to_model(lean)), path, format="protobuf")
    flush(path)


def embed_attributes(model: ir.Model) -> None:
    """Read external tensors in the attributes of nodes into memory, in place: they cannot be moved otherwise."""
    for node in list_nodes(model):
        for name, attribute in list(node.attributes.items()):
            if attribute.type is ir.AttributeType.TENSOR and isinstance(attribute.value, ir.ExternalTensor):
                stored = attribute.value
                loaded = ir.tensor(np.array(stored.numpy()), dtype=stored.dtype, name=stored.name)
                node.attributes[name] = ir.AttrTensor(name, loaded)


def list_nodes(model: ir.Model) -> Iterator[ir.Node]:
    """All nodes, those of inner graphs and functions included."""
    yield from model.graph.all_nodes()
    for function in model.functions.values():
        yield from function.all_nodes()


def list_external(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    """All initializers that lie in a data file."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                yield value.const_value


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths name one existing file."""
    return one.exists() and other.exists() and one.samefile(other)


def flush(path: Path) -> None:
    """Have the operating system put a file on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_folder(path: Path) -> None:
    """Have the operating system put a folder's names on the disk, where it lets folders be opened."""
    if os.name == "posix":
        flush(path)


def explain_failure(path: Path, error: OSError) -> StoreError:
    """The operating system's reason, with the path."""
    reason = error.strerror or str(error)
    return StoreError(f"cannot write {path}: {reason}", "check that the folder exists, is writable and has space")
