"""Where each part keeps what it measured, so that it is not measured twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
CONTENT = "content"


def drop_others(folder: Path, files: Sequence[Path]) -> None:
    """Drop what was measured with other files: the parts of one pair have the same model and items.

    Args:
        folder: of the pair.
        files: that decide what is measured.
    """
    content = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            content.update(hashlib.file_digest(file, "sha256").digest())
    mark = folder / CONTENT
    if mark.exists() and mark.read_text(encoding="utf-8") == content.hexdigest():
        return
    for path in folder.glob("*.json"):
        path.unlink()
    mark.write_text(content.hexdigest(), encoding="utf-8")


def write_row(folder: Path, contender: str, row: Row) -> None:
    """Keep a part."""
    temporary = folder / f"{contender}.tmp"
    temporary.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    temporary.replace(folder / f"{contender}.json")


def read_row(folder: Path, contender: str) -> Row | None:
    """What was kept of a part, or None."""
    path = folder / f"{contender}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
