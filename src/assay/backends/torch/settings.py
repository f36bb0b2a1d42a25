"""What ``build`` tells ``open`` beside the model: the file ``settings.json`` of a built folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from assay.core.errors import BuildFailed
from assay.core.precision import Precision

SETTINGS_FILE = "settings.json"
SCHEMA = 1


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a model is run.

    Attributes:
        schema: version of this structure.
        compiled: by ``torch.compile``, where this machine can; else eagerly, operator by operator.
        graphs: calls of one shape are captured as a CUDA graph, on devices that have them.
        integers: products between quantize/dequantize pairs run on integers; off computes the pairs as they stand.
        rest: float that other products of such a graph compute in.
        tf32: products in FP32 may round their operands to TF32.
    """

    schema: int = SCHEMA
    compiled: bool = True
    graphs: bool = True
    integers: bool = True
    rest: Precision = Precision.FP32
    tf32: bool = False


def write_settings(settings: Settings, folder: Path) -> None:
    """Write the settings into a built folder."""
    (folder / SETTINGS_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(settings), indent=2) + b"\n")


def read_settings(folder: Path) -> Settings:
    """Read the settings of a built folder.

    Raises:
        BuildFailed: they are missing, damaged, or of another schema.
    """
    path = folder / SETTINGS_FILE
    try:
        settings = msgspec.json.decode(path.read_bytes(), type=Settings)
    except (OSError, msgspec.MsgspecError) as err:
        raise BuildFailed(f"{path} cannot be read: {err}", "build the artifact again") from err
    if settings.schema != SCHEMA:
        raise BuildFailed(f"{path} has schema {settings.schema}, not {SCHEMA}", "build the artifact again")
    return settings
