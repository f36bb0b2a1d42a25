"""What ``build`` tells ``open`` beside the engine: the file ``settings.json`` of a built folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from assay.core.errors import BuildFailed
from assay.core.precision import Precision
from assay.core.target import ShapeRange
from assay.core.tensor import TensorSpec

SCHEMA = 1
SETTINGS_FILE = "settings.json"
GRAPH_FILE = "graph.onnx"
"""The model without its weights, for counting multiply-accumulates."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything about an engine that it does not tell by itself.

    Attributes:
        schema: version of this file's form.
        engine: name of the engine's file: compute capability, form, version and model hash.
        title: form of TensorRT that built it.
        version: of that form; an engine opens with no other.
        capability: compute capability that it is for, such as ``8.6``.
        rest: format of what is not typed otherwise: FP32, or TF32.
        inputs: as the ONNX model names them, in its order.
        outputs: as the ONNX model names them, in its order.
        ranges: shapes that it takes.
    """

    schema: int = SCHEMA
    engine: str
    title: str
    version: str
    capability: str
    rest: Precision
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    ranges: tuple[ShapeRange, ...]


def write_settings(settings: Settings, folder: Path) -> None:
    """Write the settings into a built folder."""
    (folder / SETTINGS_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(settings), indent=2) + b"\n")


def read_settings(folder: Path) -> Settings:
    """Read the settings of a built folder.

    Raises:
        BuildFailed: missing, unreadable, or of another schema.
    """
    path = folder / SETTINGS_FILE
    try:
        settings = msgspec.json.decode(path.read_bytes(), type=Settings)
    except (OSError, msgspec.MsgspecError) as err:
        raise BuildFailed(f"{path} cannot be read: {err}", "build the model again") from err
    if settings.schema != SCHEMA:
        raise BuildFailed(f"{path} has schema {settings.schema}, not {SCHEMA}", "build it again with this version")
    return settings
