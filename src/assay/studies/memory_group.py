"""A control group of version 2 that holds one process to a limit of memory, where the system lets us make one."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from assay.measure.cgroup import find_memory_parents

PREFIX = "assay-held"
_numbers = itertools.count()


@contextmanager
def make_group(limit_bytes: int, root: Path = Path("/")) -> Iterator[Path | None]:
    """A group whose processes together take no more than so much memory, swap excluded; None where none may be made.

    What the kernel keeps for them and the files that they map count too; such files may be dropped and read again.
    (Linux, Documentation/admin-guide/cgroup-v2.rst.)

    Args:
        limit_bytes: of the group.
        root: of the file system that ``proc`` and ``sys`` stand in.
    """
    folder = _find_group(limit_bytes, root)
    try:
        yield folder
    finally:
        if folder is not None:
            with suppress(OSError):
                folder.rmdir()


def read_group_peak(folder: Path) -> int | None:
    """Most that a group was charged with, in bytes; None where the kernel does not tell (before 5.19)."""
    try:
        return int((folder / "memory.peak").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _find_group(limit_bytes: int, root: Path) -> Path | None:
    for parent in find_memory_parents(root):
        folder = parent / f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            (folder / "memory.max").write_text(str(limit_bytes), encoding="ascii")
        except OSError:
            with suppress(OSError):
                folder.rmdir()
            continue
        with suppress(OSError):
            # Without swap accounting there is no such file.
            (folder / "memory.swap.max").write_text("0", encoding="ascii")
        return folder
    return None
