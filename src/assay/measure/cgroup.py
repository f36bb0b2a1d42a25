"""Limits that a Linux control group sets this process (Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

UNLIMITED_BYTES = 1 << 60
"""Version 1 writes "no limit" as the largest multiple of a page below 2^63."""


def read_cpu_quota(root: Path) -> float | None:
    """Cores' worth of time that the groups grant; None where none of them limits it.

    Args:
        root: of the file system that ``proc`` and ``sys`` stand in.
    """
    quotas: list[float] = []
    for folder in _folders(root, "cpu"):
        words = _read(folder / "cpu.max").split()
        if not words:
            words = [_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")]
        if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]) > 0:  # noqa: PLR2004 - a pair
            quotas.append(int(words[0]) / int(words[1]))
    return min(quotas) if quotas else None


def read_throttled_seconds(root: Path) -> float | None:
    """Seconds that a quota has kept the groups from running, the worst of them; None where the system does not tell.

    Args:
        root: of the file system that ``proc`` and ``sys`` stand in.
    """
    found: list[float] = []
    for folder in _folders(root, "cpu"):
        facts = dict(line.split()[:2] for line in _read(folder / "cpu.stat").splitlines() if len(line.split()) > 1)
        for key, per_second in (("throttled_usec", 1e6), ("throttled_time", 1e9)):
            if facts.get(key, "").isdigit():
                found.append(int(facts[key]) / per_second)
    return max(found) if found else None


def read_memory_limit(root: Path) -> int | None:
    """Bytes that the groups grant; None where none of them limits them.

    Args:
        root: of the file system that ``proc`` and ``sys`` stand in.
    """
    limits: list[int] = []
    for folder in _folders(root, "memory"):
        word = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")
        if word.isdigit() and int(word) < UNLIMITED_BYTES:
            limits.append(int(word))
    return min(limits) if limits else None


def read_memory_room(root: Path) -> int | None:
    """Bytes that the groups still grant: the least of limit minus use; None where none of them limits them.

    What the system keeps of files only because nobody needs the memory (``inactive_file``) counts as free.

    Args:
        root: of the file system that ``proc`` and ``sys`` stand in.
    """
    rooms: list[int] = []
    for folder in _folders(root, "memory"):
        limit = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")
        used = _read(folder / "memory.current") or _read(folder / "memory.usage_in_bytes")
        if not limit.isdigit() or not used.isdigit() or int(limit) >= UNLIMITED_BYTES:
            continue
        facts = dict(line.split()[:2] for line in _read(folder / "memory.stat").splitlines() if len(line.split()) > 1)
        kept = facts.get("total_inactive_file", facts.get("inactive_file", "0"))
        rooms.append(max(0, int(limit) - int(used) + (int(kept) if kept.isdigit() else 0)))
    return min(rooms) if rooms else None


def find_memory_parents(root: Path) -> Iterator[Path]:
    """Groups of version 2, from this process's own upwards, whose children may have a limit of memory.

    Args:
        root: of the file system that ``proc`` and ``sys`` stand in.
    """
    for folder in _folders(root, "memory"):
        if "memory" in _read(folder / "cgroup.subtree_control").split():
            yield folder


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the groups that this process is in, from its own up to the top, for both versions."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            top = root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            top = root / "sys/fs/cgroup" / controller
        else:
            continue
        # In a container the path may name the host's group while the top is the container's own.
        folder = top / path.strip("/")
        while folder != top and top in folder.parents:
            yield folder
            folder = folder.parent
        yield top


def _read(path: Path) -> str:
    """Content without surrounding space; empty where the file cannot be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
