"""Standard output of the process, past Python: what libraries in C and C++ print there of their own.

Such text waits in a buffer of the C library where standard output is a file or a pipe, and comes out when that is full
or the process ends. So the buffer must be flushed before standard output is put elsewhere, and before it is put back.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STDOUT = 1
WINDOWS_LIBRARY = "ucrtbase"

_HELD = threading.Lock()
"""There is one standard output: two that put it elsewhere and back at once would leave it elsewhere."""


def flush_standard_output() -> None:
    """Write out what Python and the C library have buffered."""
    if sys.stdout is not None:
        sys.stdout.flush()
    ctypes.CDLL(WINDOWS_LIBRARY if os.name == "nt" else None).fflush(None)


@contextmanager
def send_standard_output(number: int) -> Iterator[None]:
    """Send to another open file what is written to standard output meanwhile, past Python, too.

    Args:
        number: descriptor of the file.

    Raises:
        OSError: there is no standard output.
    """
    flush_standard_output()
    kept = os.dup(STDOUT)
    os.dup2(number, STDOUT)
    try:
        yield
    finally:
        flush_standard_output()
        os.dup2(kept, STDOUT)
        os.close(kept)


@contextmanager
def drop_lines(start: bytes) -> Iterator[None]:
    """Drop lines with this start that anything in the process writes to standard output meanwhile, and no others.

    The others are written when the context ends. Without a standard output, nothing happens.

    Args:
        start: of the lines that are dropped.
    """
    try:
        os.fstat(STDOUT)
    except OSError:  # a process without standard output, such as a service
        yield
        return
    with _HELD, tempfile.TemporaryFile() as held:
        try:
            with send_standard_output(held.fileno()):
                yield
        finally:
            held.seek(0)
            others = b"".join(line for line in held if not line.startswith(start))
            while others:
                others = others[os.write(STDOUT, others) :]
