"""Resident memory of this process.

A peak means what it says only in a process that did nothing else before: run what is measured in a fresh one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import psutil

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""Written to ``clear_refs`` it resets VmHWM (Linux, Documentation/filesystems/proc.rst)."""


def read_current_bytes() -> int:
    """Resident set of this process now."""
    return int(psutil.Process().memory_info().rss)


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
