"""Processes of their own for what may crash, hang or eat memory: watched from outside, ended with all they started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from assay.core.errors import BackendError
from assay.measure.memory import list_family, read_available_bytes, sum_resident_bytes

SAFE_SHARE = 0.8
"""Share of the memory that is free when a process starts that it may take, where no limit is given."""
POLL_SECONDS = 0.05
WATCHED_SHARE = 0.02
"""Looking at a family of processes may take this share of one core: on machines with many of them, look less often."""
PARTING_SECONDS = 10.0
"""A process that has closed its connection may take so long to end."""
TOLD_CHARACTERS = 400
GIB, MIB = 2**30, 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """What a process may take before it fails what it was started for.

    Attributes:
        seconds: without an answer.
        memory_bytes: resident memory of the process and of all that it starts; None for a safe share of what is free.
    """

    seconds: float
    memory_bytes: int | None = None

    def find_memory(self) -> int:
        """The limit in bytes, as it stands now."""
        return int(SAFE_SHARE * read_available_bytes()) if self.memory_bytes is None else self.memory_bytes


@dataclass(frozen=True, slots=True)
class Doing:
    """What a process is for, and how its end is told.

    Attributes:
        runtime: that it runs, or several between commas.
        action: in words, such as ``building``.
        failure: what to raise.
    """

    runtime: str
    action: str
    failure: type[BackendError]

    def fail(self, what: str, hint: str) -> BackendError:
        """An error that says so."""
        return self.failure(f"{self.runtime}: {what}", hint)


class WatchedProcess:
    """A module of Assay in a fresh process that leads a group of its own; a context manager that leaves none behind.

    The operating system ends the process when the study that started it ends.

    Args:
        module: to run.
        arguments: of its command line, after the number of this process.
        doing: what for.
        limits: of its memory; its time is its user's to judge.
        files: descriptors that it inherits.
    """

    def __init__(
        self, module: str, arguments: tuple[str, ...], doing: Doing, limits: Limits, files: tuple[int, ...] = ()
    ) -> None:
        self.doing = doing
        self._memory_bytes, self._bounded = limits.find_memory(), limits.memory_bytes is not None
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", module, str(os.getpid()), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=self._said,
            pass_fds=files,
            start_new_session=True,
        )
        self._leader = psutil.Process(self._process.pid)
        self._next_look = 0.0

    def wait(self, seconds: float) -> bool:
        """Wait for the process to end, no longer than so long; whether it has ended.

        Raises:
            BackendError: it took too much memory.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=seconds)
        if self._process.returncode is None:
            self.check_memory()
        return self._process.returncode is not None

    def check_memory(self) -> None:
        """End the process where it takes too much memory.

        Raises:
            BackendError: it did.
        """
        started = time.monotonic()
        if started < self._next_look:
            return
        taken = sum_resident_bytes(list_family(self._leader))
        ended = time.monotonic()
        self._next_look = ended + max(POLL_SECONDS, (ended - started) / WATCHED_SHARE)
        if taken > self._memory_bytes:
            self.kill()
            limit = describe_limit(self._memory_bytes)
            hint = "raise trial_memory" if self._bounded else "that is nearly all that is free: free memory"
            raise self.doing.fail(f"took more than {limit} of memory while {self.doing.action}", hint)

    def hung(self, seconds: float) -> BackendError:
        """End the process because it gave no answer for so long; the error that says so."""
        self.kill()
        what = f"hung: no answer in {seconds:g} s while {self.doing.action}"
        return self.doing.fail(what, "raise trial_seconds if the model is only slow")

    def died(self) -> BackendError:
        """The error that says how the process ended before its work was done, with the last that it said."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=PARTING_SECONDS)
        if self._process.returncode is None:
            self.kill()
            return self.doing.fail(f"hung up while {self.doing.action}", "its process ran on without answering")
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip()[-TOLD_CHARACTERS:]
        return self.doing.fail(f"died while {self.doing.action} ({describe_exit(self._process.returncode)})", said)

    def kill(self) -> None:
        """End the process and all that it started."""
        if self._process.returncode is None:
            family = list_family(self._leader)
            kill_group(self._process.pid)
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait()
        else:
            kill_group(self._process.pid)

    def __enter__(self) -> Self:
        """Enter the context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what still runs."""
        self.kill()
        self._said.close()


def kill_group(leader: int) -> None:
    """End a group of processes, whatever of it still runs."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def run_to_end(process: WatchedProcess, answer: Path, seconds: float) -> bytes:
    """Wait until a process has done its job.

    Args:
        process: that does it.
        answer: the file that it writes when it has.
        seconds: how long to wait.

    Raises:
        BackendError: the process died, hung, or took too much memory.
    """
    latest = time.monotonic() + seconds
    while not process.wait(min(POLL_SECONDS, max(0.0, latest - time.monotonic()))):
        if time.monotonic() >= latest:
            raise process.hung(seconds)
    if not answer.exists():
        raise process.died()
    return answer.read_bytes()


def describe_limit(size: int) -> str:
    """A limit of memory, such as ``4 GiB``."""
    return f"{size / GIB:.3g} GiB" if size >= GIB else f"{size / MIB:.3g} MiB"


def describe_exit(status: int) -> str:
    """An exit status in words; negative ones are signals."""
    if status >= 0:
        return f"exit status {status}"
    names = {one.value: one.name for one in signal.Signals}
    name = names.get(-status, str(-status))
    return f"signal {name}, probably out of memory" if -status == signal.SIGKILL else f"signal {name}"
