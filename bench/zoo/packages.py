"""Downloaded packages by name; their members are read as the examples read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from archives import read_members

__all__ = ["Package", "read_members"]


@dataclass(frozen=True)
class Package:
    """A package file and the command that downloads it into the working folder."""

    file: str
    command: str

    def find(self, folder: Path) -> Path:
        """The file, anywhere below the folder of downloaded packages.

        Raises:
            SystemExit: it is not there; says how to get it.
        """
        found = sorted(folder.rglob(self.file))
        if not found:
            raise SystemExit(f"{self.file} is not below {folder}: run there `{self.command}`, and start again")
        return found[0]
