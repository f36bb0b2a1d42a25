"""Reads the bytes of an ONNX file, and says what is wrong with them where they are not one."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]  # protobuf ships no stubs
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]  # the same

from assay.core.errors import ModelError

PROTOBUF_LIMIT_BYTES = 2**31 - 1
VARINT_BYTES = 10
GRAPH_FIELD = 7
LENGTH_DELIMITED = 2
FIXED_WIDTH_BYTES = {1: 8, 5: 4}
FROM_TORCH = "no pickle is ever opened: `assay study` takes a .pt2 of torch.export.save, or module:function"
OTHER_FORMATS = (
    (0, b"PK\x03\x04", "a zip archive, such as a PyTorch checkpoint", FROM_TORCH),
    (0, b"\x80\x02", "a pickle, such as an old PyTorch checkpoint", FROM_TORCH),
    (0, b"\x89HDF\r\n", "an HDF5 file, such as a Keras model", "convert it with tf2onnx first"),
    (4, b"TFL3", "a TensorFlow Lite model", "convert it with tf2onnx first"),
    (4, b"ORTM", "an ONNX Runtime (.ort) model", "give the .onnx file it was made from"),
    (0, b"<?xml", "an XML file, such as an OpenVINO model", "give the .onnx file it was made from"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run git lfs pull"),
)


def read_model_proto(path: Path) -> onnx.ModelProto:
    """Parse a file as an ONNX model, leaving external data where it is.

    Args:
        path: the ``.onnx`` file.

    Raises:
        ModelError: missing, a directory, unreadable, empty, cut short, of another format, or without a graph.
    """
    content = read_content(path)
    try:
        proto = onnx.ModelProto()
        proto.ParseFromString(content)
    except DecodeError as err:
        raise explain_content(path, content) from err
    if not proto.HasField("graph"):
        raise explain_content(path, content)
    if (bad := find_bad_text(proto)) is not None:
        raise ModelError(f"{path} is damaged: the name {bad!r} is not UTF-8 text", "copy or download the model again")
    return proto


def find_bad_text(message: Message) -> bytes | None:
    """The first string that is not UTF-8: protobuf gives such a one as bytes, which no code expects."""
    for field, content in message.ListFields():
        if field.type not in {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE}:
            continue
        for item in [content] if isinstance(content, str | bytes | Message) else content:
            found = find_bad_text(item) if isinstance(item, Message) else item
            if isinstance(found, bytes):
                return found
    return None


def read_content(path: Path) -> bytes:
    """All bytes of the file.

    Raises:
        ModelError: it cannot be read, is empty, or exceeds what protobuf can hold.
    """
    try:
        size_bytes = path.stat().st_size
        if not path.is_file():
            what = "a directory" if path.is_dir() else "not a regular file"
            raise ModelError(f"{path} is {what}, not an ONNX file", "give the path of the .onnx file")
        if size_bytes > PROTOBUF_LIMIT_BYTES:
            message = f"{path} has {size_bytes} bytes, more than the 2 GiB that protobuf can read"
            raise ModelError(message, "save the model with its weights as external data")
        content = path.read_bytes()
    except FileNotFoundError as err:
        raise ModelError(f"{path} does not exist", "check the path of the model") from err
    except (OSError, ValueError) as err:
        raise ModelError(f"{path} cannot be read: {err}", "check the path and its permissions") from err
    if not content:
        raise ModelError(f"{path} is empty", "export or download the model again")
    return content


def explain_content(path: Path, content: bytes) -> ModelError:
    """Say why bytes are not a model: another format, cut short, or no model at all."""
    for offset, magic, what, hint in OTHER_FORMATS:
        if content[offset : offset + len(magic)] == magic:
            return ModelError(f"{path} is not an ONNX file: it is {what}", hint)
    if claimed_bytes := find_truncation(content):
        message = f"{path} is truncated: its contents need at least {claimed_bytes} bytes, it has {len(content)}"
        return ModelError(message, "copy, download or export the model again")
    return ModelError(f"{path} is not an ONNX file", "give a model exported to ONNX (protobuf)")


def find_truncation(content: bytes) -> int:
    """Bytes that the file would have at least were it whole, or 0 where it does not look like the start of a model.

    Walks the outermost protobuf fields. The start of a ModelProto is its IR version (field 1, a varint), or the
    graph (field 7); a last field that reaches past the end is a cut.

    Source: Protocol Buffers encoding, "Message structure"; onnx.proto, ModelProto.
    """
    position, fields = 0, 0
    while position < len(content):
        tag, position = read_varint(content, position)
        field, wire = tag >> 3, tag & 7
        if fields == 0 and (field, wire) not in {(1, 0), (GRAPH_FIELD, LENGTH_DELIMITED)}:
            return 0
        fields += 1
        if wire == 0:
            _, position = read_varint(content, position)
        elif wire == LENGTH_DELIMITED:
            length, position = read_varint(content, position)
            position += length
        elif wire in FIXED_WIDTH_BYTES:
            position += FIXED_WIDTH_BYTES[wire]
        else:
            return 0
    return position if position > len(content) else 0


def read_varint(content: bytes, position: int) -> tuple[int, int]:
    """A base-128 number and the position after it; one past the end where the bytes run out."""
    value = 0
    for index in range(VARINT_BYTES):
        if position + index >= len(content):
            return value, len(content) + 1
        byte = content[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 the continuation bit of the encoding
            return value, position + index + 1
    return value, position + VARINT_BYTES
