"""A mark in a file: what a process is at, readable from outside also after it has crashed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

WIDTH = 1024
"""Bytes of a mark, always as many, so that one write replaces the one before."""

LINES = 3


@dataclass(frozen=True, slots=True)
class Mark:
    """What a process is at.

    Attributes:
        stage: of its work, in words: ``opening``.
        name: of the artifact that is running.
        step: grows with every mark.
    """

    stage: str
    name: str
    step: int


class Marker:
    """Writes marks: one system call of some microseconds each; a context manager.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT)
        self._step = 0

    def mark(self, stage: str, name: str) -> None:
        """Say what comes next."""
        self._step += 1
        os.pwrite(self._file, f"{stage}\n{name}\n{self._step}\n".encode().ljust(WIDTH), 0)

    def __enter__(self) -> Self:
        """Enter the context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        os.close(self._file)


def read_mark(path: Path) -> Mark | None:
    """The last mark; None before the first."""
    if not path.exists():
        return None
    lines = path.read_text(encoding="utf-8").split("\n")
    return Mark(lines[0], lines[1], int(lines[2])) if len(lines) > LINES else None
