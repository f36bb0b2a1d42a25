"""What ``build`` tells ``open`` beside the model: the file ``settings.json`` of a built folder."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import msgspec

from assay.core.errors import BuildFailed

SETTINGS_FILE = "settings.json"


class BuiltSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of a built folder; each runtime adds its own.

    Attributes:
        schema: version of the file's form; a runtime whose form changes gives it another default.
    """

    schema: int = 1

    def write(self, folder: Path) -> None:
        """Write the settings into a built folder."""
        (folder / SETTINGS_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the settings of a built folder.

        Raises:
            BuildFailed: missing, damaged, or of another schema.
        """
        path = folder / SETTINGS_FILE
        try:
            settings = msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.MsgspecError) as err:
            raise BuildFailed(f"{path} cannot be read: {err}", "build the model again") from err
        known = next(field.default for field in msgspec.structs.fields(cls) if field.name == "schema")
        if settings.schema != known:
            raise BuildFailed(f"{path} has schema {settings.schema}, not {known}", "build it again with this version")
        return settings
