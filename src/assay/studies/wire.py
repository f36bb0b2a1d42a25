"""What the study and a process that runs an artifact for it say to each other: short messages, arrays as they lie.

A message is eight bytes of length, so much JSON, then the bytes of its arrays one after the other. Nothing is pickled.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from enum import StrEnum

import ml_dtypes  # noqa: F401 - gives NumPy the names of the 16-bit and narrower floats
import msgspec
import numpy as np

from assay.core.audit import ExecutionAudit
from assay.core.tensor import Array, Signature

LENGTH_BYTES = 8


class Word(StrEnum):
    """What a message is about."""

    READY = "ready"
    """The artifact is open; the message has its signature."""
    STREAM = "stream"
    """Feeds of many calls follow, each when it is wanted."""
    WANTED = "wanted"
    """The runtime takes the feeds of one more call."""
    FEEDS = "feeds"
    END = "end"
    """There are no more feeds."""
    OUTPUTS = "outputs"
    DONE = "done"
    """All outputs of a stream are given."""
    AUDIT = "audit"
    """To the process: feeds to audit with; from it: what was executed."""
    FAILED = "failed"
    """The runtime refused or failed; the message says why."""


class Part(msgspec.Struct, frozen=True):
    """One array that follows a message."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message without the bytes of its arrays."""

    word: Word
    parts: tuple[Part, ...] = ()
    signature: Signature | None = None
    audit: ExecutionAudit | None = None
    error: str = ""
    hint: str = ""
    kind: str = ""


class Wire:
    """One end of a connected pair of sockets.

    Args:
        end: the socket.
        poll_seconds: how long to wait before ``on_wait`` is asked; None to wait for ever.
        on_wait: is called whenever so long nothing moved; what it raises ends the waiting.
    """

    def __init__(
        self, end: socket.socket, poll_seconds: float | None = None, on_wait: Callable[[], None] | None = None
    ) -> None:
        self._end, self._on_wait = end, on_wait
        end.settimeout(poll_seconds)

    def send(self, message: Message, arrays: Mapping[str, Array] | None = None) -> None:
        """Send a message with its arrays.

        Raises:
            ConnectionError: the other end is gone.
        """
        named = {name: lay_out(array) for name, array in (arrays or {}).items()}
        parts = tuple(Part(name, name_dtype(array.dtype), array.shape) for name, array in named.items())
        head = msgspec.json.encode(msgspec.structs.replace(message, parts=parts))
        self._send_all(len(head).to_bytes(LENGTH_BYTES, "big") + head)
        for array in named.values():
            if array.nbytes:
                self._send_all(array.reshape(-1).view(np.uint8).data)

    def receive(self) -> tuple[Message, dict[str, Array]]:
        """The next message with its arrays.

        Raises:
            ConnectionError: the other end is gone.
        """
        length = int.from_bytes(self._receive_all(np.empty(LENGTH_BYTES, np.uint8)).tobytes(), "big")
        head = self._receive_all(np.empty(length, np.uint8)).tobytes()
        message = msgspec.json.decode(head, type=Message)
        arrays: dict[str, Array] = {}
        for part in message.parts:
            array = np.empty(part.shape, np.dtype(part.dtype))
            if array.nbytes:
                self._receive_all(array.reshape(-1).view(np.uint8))
            arrays[part.name] = array
        return message, arrays

    def _send_all(self, content: bytes | memoryview) -> None:
        left = memoryview(content)
        while left:
            try:
                left = left[self._end.send(left) :]
            except TimeoutError:
                self._wait()

    def _receive_all(
        self, into: np.ndarray[tuple[int], np.dtype[np.uint8]]
    ) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        left = into.data
        while left:
            try:
                count = self._end.recv_into(left)
            except TimeoutError:
                self._wait()
                continue
            if not count:
                raise ConnectionResetError("the other end is gone")
            left = left[count:]
        return into

    def _wait(self) -> None:
        if self._on_wait is not None:
            self._on_wait()


def lay_out(array: Array) -> Array:
    """The array as it is sent: its values behind each other, of any rank; a runtime's texts as NumPy's."""
    return np.asarray(array.astype(np.str_) if array.dtype.hasobject else array, order="C")


def name_dtype(dtype: np.dtype[np.generic]) -> str:
    """A name of an element type that gives it back, byte order included."""
    return dtype.name if dtype.kind == "V" else dtype.str
