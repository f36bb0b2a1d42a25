"""Holds this process to the limits of a device, and becomes the one that runs frames: no memory is taken before.

Run as ``python -m assay.studies.holding_start PARENT CORES LIMIT GROUP JOB.json REPLY.json``; LIMIT is in bytes, 0 for
none; GROUP is the folder of a control group, empty for a limit on this process's data.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

WORKER = "assay.studies.held_worker"


def hold(cores: int, limit_bytes: int, group: str) -> None:
    """Hold this process to so many cores and so much memory.

    Raises:
        OSError: the system does not allow it.
    """
    if hasattr(os, "sched_setaffinity"):
        # The last ones: the first have more of the system's own work.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])
    if group:
        Path(group, "cgroup.procs").write_text("0", encoding="ascii")
    elif limit_bytes:
        import resource  # noqa: PLC0415 - the module does not exist on Windows

        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def main(parent: str, cores: str, limit_bytes: str, group: str, *arguments: str) -> None:
    """Hold this process, then replace it."""
    hold(int(cores), int(limit_bytes), group)
    # NumPy's own threads would each set memory aside that no artifact needs.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.execv(sys.executable, [sys.executable, "-m", WORKER, parent, *arguments])  # noqa: S606 - our own module


if __name__ == "__main__":
    main(*sys.argv[1:])
