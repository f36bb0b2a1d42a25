"""An artifact that runs in a process of its own: what it does to that process, it does to its own trial alone."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from assay.core.audit import ExecutionAudit
from assay.core.errors import BackendError, BackendUnavailable, BuildFailed, RunFailed, UnsupportedPlan
from assay.core.target import Target
from assay.core.tensor import Feeds, Outputs, Signature
from assay.studies.isolation import POLL_SECONDS, Doing, Limits, WatchedProcess
from assay.studies.wire import Message, Wire, Word

BUFFER_BYTES = 4 << 20
"""Asked for each way, so that a batch crosses in few turns; the system may grant less."""
FAILURES: tuple[type[BackendError], ...] = (BackendUnavailable, UnsupportedPlan, BuildFailed, RunFailed)


class RemoteSession:
    """A session whose runtime lives in a process of its own.

    Args:
        folder: of the artifact.
        target: to open it for.
        limits: how long no answer may take, and the memory of the process.
        action: what it is opened for, in words: ``scoring``.

    Raises:
        BackendError: the runtime cannot open it, or the process died, hung or took too much memory.
    """

    def __init__(self, folder: Path, target: Target, limits: Limits, action: str) -> None:
        self._limits = limits
        self._stack = ExitStack()
        self._moved = time.monotonic()
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        with ExitStack() as stack:
            self._wire = Wire(stack.enter_context(ours), POLL_SECONDS, self._watch)
            with theirs:
                arguments = (str(theirs.fileno()), str(folder.resolve()), msgspec.json.encode(target).decode())
                self._process = stack.enter_context(
                    WatchedProcess(
                        "assay.studies.session_worker",
                        arguments,
                        Doing(target.runtime, action, RunFailed),
                        limits,
                        (theirs.fileno(),),
                    )
                )
            signature = self._receive()[0].signature
            if signature is None:
                raise RunFailed(f"{target.runtime}: the artifact {folder} opened without a signature")
            self._signature = signature
            self._stack = stack.pop_all()

    @property
    def signature(self) -> Signature:
        """Inputs and outputs as the runtime sees them."""
        return self._signature

    def run(self, feeds: Feeds) -> Outputs:
        """One call.

        Raises:
            RunFailed: the runtime failed, or its process did.
        """
        return next(iter(tuple(self.stream((feeds,)))))

    def stream(self, batches: Iterable[Feeds]) -> Iterator[Outputs]:
        """Outputs of many calls in the order of the calls; a stream that is not read to its end closes the session.

        Raises:
            BackendError: the runtime failed, or its process did.
        """
        feeds = iter(batches)
        whole = False
        try:
            self._send(Message(Word.STREAM))
            while True:
                message, outputs = self._receive()
                if message.word is Word.DONE:
                    whole = True
                    return
                if message.word is Word.OUTPUTS:
                    yield outputs
                    self._moved = time.monotonic()
                    continue
                one = next(feeds, None)
                self._moved = time.monotonic()
                self._send(Message(Word.END if one is None else Word.FEEDS), one)
        finally:
            if not whole:
                self.close()

    def executed(self, feeds: Feeds) -> ExecutionAudit:
        """Precision and kernel per node while running these feeds.

        Raises:
            BackendError: the runtime failed, or its process did.
        """
        self._send(Message(Word.AUDIT), feeds)
        audit = self._receive()[0].audit
        if audit is None:
            raise RunFailed("the runtime's process gave no audit")
        return audit

    def close(self) -> None:
        """End the process; closing twice does nothing."""
        self._stack.close()

    def __enter__(self) -> Self:
        """Enter the context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _send(self, message: Message, feeds: Feeds | None = None) -> None:
        try:
            self._wire.send(message, feeds)
        except OSError as error:
            raise self._process.died() from error

    def _receive(self) -> tuple[Message, Outputs]:
        """The next message; every one shows that the process is alive.

        Raises:
            BackendError: it says that the runtime failed, or there is none.
        """
        self._process.check_memory()
        try:
            message, outputs = self._wire.receive()
        except OSError as error:
            raise self._process.died() from error
        self._moved = time.monotonic()
        if message.word is Word.FAILED:
            failure = next((one for one in FAILURES if one.__name__ == message.kind), RunFailed)
            raise failure(message.error, message.hint)
        return message, outputs

    def _watch(self) -> None:
        """While nothing moves: is the process within its limits?"""
        self._process.check_memory()
        if time.monotonic() - self._moved > self._limits.seconds:
            raise self._process.hung(self._limits.seconds)
