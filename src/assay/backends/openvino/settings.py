"""What ``build`` tells ``open`` beside the model: the file ``settings.json`` of a built folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from assay.core.errors import BuildFailed
from assay.core.precision import Precision
from assay.core.tensor import TensorSpec

SCHEMA = 1
SETTINGS_FILE = "settings.json"
MODEL_FILE = "model.xml"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything about a built model that its IR does not hold.

    Attributes:
        schema: version of this file's form.
        inputs: as the ONNX model names them, in its order.
        outputs: as the ONNX model names them, in its order.
        compute: format that OpenVINO is asked to compute in; None leaves it to OpenVINO, whose default
            on a CPU with BF16 is BF16 and not FP32.
        group: activations that it rounds by one scale where they meet weights stored in integers, 0 for none; None
            leaves it to OpenVINO.
        renamed: operators that are not called after their ONNX node, with its name; others are.
    """

    schema: int = SCHEMA
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    compute: Precision | None
    group: int | None = None
    renamed: tuple[tuple[str, str], ...] = ()


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
