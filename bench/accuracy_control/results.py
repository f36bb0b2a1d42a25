"""Where each part keeps what it measured, so that it is not measured twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def write_row(folder: Path, contender: str, row: Row) -> None:
    """Keep a part."""
    temporary = folder / f"{contender}.tmp"
    temporary.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    temporary.replace(folder / f"{contender}.json")


def read_row(folder: Path, contender: str) -> Row | None:
    """What was kept of a part, or None."""
    path = folder / f"{contender}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
