"""Resident memory of processes, and what the machine has left.

A peak means what it says only in a process that did nothing else before: run what is measured in a fresh one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from assay.measure.cgroup import read_memory_room

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""Written to ``clear_refs`` it resets VmHWM (Linux, Documentation/filesystems/proc.rst)."""


def read_current_bytes() -> int:
    """Resident set of this process now."""
    return int(psutil.Process().memory_info().rss)


def read_available_bytes(root: Path = Path("/")) -> int:
    """Memory that can be taken before the machine, or the control group of this process, has none left.

    Args:
        root: of the file system that the groups' files stand in.
    """
    free = int(psutil.virtual_memory().available)
    room = read_memory_room(root)
    return free if room is None else min(free, room)


def list_family(process: psutil.Process) -> tuple[psutil.Process, ...]:
    """A process and all that came from it, as far as they still run; the process itself first."""
    try:
        return (process, *process.children(recursive=True))
    except psutil.NoSuchProcess:
        return (process,)


def sum_resident_bytes(family: Iterable[psutil.Process]) -> int:
    """Resident sets of processes together; pages that two of them share count twice, one that ended counts nothing."""
    total = 0
    for process in family:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += int(process.memory_info().rss)
    return total


def read_peak_bytes(status: Path = STATUS) -> int:
    """Highest resident set of this process so far, or since ``reset_peak``; never below the current one."""
    return max(_read_high_water(status) or _read_system_peak(), read_current_bytes())


def reset_peak(clear_refs: Path = CLEAR_REFS) -> bool:
    """Let the peak start again from the current resident set; False where the system does not allow it."""
    try:
        clear_refs.write_text(RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def _read_high_water(status: Path) -> int:
    """``VmHWM`` in bytes; 0 where the system does not list it."""
    try:
        text = status.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmHWM:")), 0)


def _read_system_peak() -> int:
    """Peak of the process where there is no ``/proc``: from the C library, or from Windows."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource  # noqa: PLC0415 - the module does not exist on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, the others KiB (getrusage(2)).
    return peak if sys.platform == "darwin" else peak * 1024
