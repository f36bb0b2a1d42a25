"""What every process that a study starts does first: see to it that it ends when the study does."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""Linux, prctl(2)."""


def follow(parent: int) -> None:
    """Let the system end this process when its parent ends, also where that was killed; leave at once where it has.

    Only Linux can do so; elsewhere a process that the study left behind ends with its job.

    Args:
        parent: number of the process that started this one.

    Raises:
        SystemExit: the parent is gone.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(1)
