"""Times schedules in a process of its own, which neither a crash nor a hang of compiled code can take us along with."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from assay.backends.tvm.clocking import Job, Reply
from assay.backends.tvm.database import Database
from assay.backends.tvm.errors import VENDOR_ERRORS
from assay.backends.tvm.machine import Machine
from assay.backends.tvm.schedules import schedule_product
from assay.backends.tvm.tiles import Tile
from assay.backends.tvm.vendor import load_compiler

LIMIT_S = 60.0
"""Longest compilation and run of one schedule."""
START_S = 120.0
"""Longest start of a process, in which TVM is imported."""
MOST_JOBS = 200
"""Jobs of one process; TVM keeps memory of each."""
THREADS_VARIABLE = "TVM_NUM_THREADS"
CHUNK_BYTES = 65536


class Stopwatch:
    """The process that compiles and times; a context manager that leaves none behind.

    Every wait is limited: a process that does not answer in time is ended and counts as a failure of its job.

    Args:
        threads: that the functions run on.
        limit_s: longest compilation and run of one function.
        start_s: longest start of the process, on top.
    """

    def __init__(self, threads: int, limit_s: float = LIMIT_S, start_s: float = START_S) -> None:
        self._threads, self._limit_s, self._start_s = threads, limit_s, start_s
        self._folder = tempfile.TemporaryDirectory(prefix="assay-tvm-")
        self._process: subprocess.Popen[bytes] | None = None
        self._jobs = 0

    def clock(self, module: Any, target: Any) -> Reply:  # noqa: ANN401 - TVM's objects have no types
        """Seconds of a call of a scheduled function, or why there are none.

        Args:
            module: of TVM's, with the function as ``main``.
            target: of TVM's.
        """
        ir = load_compiler("ir")
        job = Job(str(ir.save_json(module)), str(ir.save_json(target)), self._limit_s)
        path = Path(self._folder.name) / "job.json"
        path.write_bytes(msgspec.json.encode(job))
        if self._jobs >= MOST_JOBS:
            self._stop()
        latest = time.monotonic() + self._limit_s + (0.0 if self._process is not None else self._start_s)
        process = self._process if self._process is not None else self._start()
        self._jobs += 1
        line = _ask(process, f"{path}\n".encode(), latest)
        if line is None:
            self._stop()
            return Reply(None, "the process that measures died, or gave no answer in time")
        return msgspec.json.decode(line, type=Reply)

    def _start(self) -> subprocess.Popen[bytes]:
        self._jobs = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "assay.backends.tvm.clocking"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {THREADS_VARIABLE: str(self._threads)},
        )
        return self._process

    def _stop(self) -> None:
        process, self._process, self._jobs = self._process, None, 0
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.wait()

    def __enter__(self) -> Self:
        """Enter the context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self._stop()
        self._folder.cleanup()


def _ask(process: subprocess.Popen[bytes], question: bytes, latest: float) -> bytes | None:
    """The line with which a process answers a short line; None where it dies, or gives none until the latest time."""
    if process.stdin is None or process.stdout is None:
        return None
    try:
        os.write(process.stdin.fileno(), question)
    except BrokenPipeError:
        return None
    answer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not answer.endswith(b"\n"):
            if not selector.select(max(0.0, latest - time.monotonic())):
                return None
            chunk = os.read(process.stdout.fileno(), CHUNK_BYTES)
            if not chunk:
                return None
            answer += chunk
    return answer


class Meter:
    """Measures the tiles of functions and keeps what they took.

    Args:
        machine: this one.
        threads: that the functions run on.
        database: where the times are kept.
        stopwatch: that times them.
    """

    def __init__(self, machine: Machine, threads: int, database: Database, stopwatch: Stopwatch) -> None:
        self._machine, self._database, self._stopwatch = machine, database, stopwatch
        self._target = machine.make_target(threads)

    def measure(self, module: Any, tile: Tile) -> float | None:  # noqa: ANN401 - a module of TVM's has no type
        """Milliseconds of a call, least of some; None where it failed."""
        try:
            schedule = schedule_product(module["main"], self._machine, tile)
        except VENDOR_ERRORS:  # loops that do not fit this function
            return None
        reply = self._stopwatch.clock(schedule.mod, self._target)
        if reply.seconds is None:
            return None
        self._database.add(module, schedule.trace, self._target, reply.seconds)
        return 1e3 * reply.seconds
