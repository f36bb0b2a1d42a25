"""A process that opens one artifact and runs it for a study, call by call.

Run as ``python -m assay.studies.session_worker PARENT DESCRIPTOR BUILT TARGET.json``.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from assay.backends.table import load_backend
from assay.core.errors import AssayError
from assay.core.session import Session
from assay.core.target import Target
from assay.core.tensor import Feeds
from assay.studies.following import follow
from assay.studies.wire import Message, Wire, Word


def pull_feeds(wire: Wire) -> Iterator[Feeds]:
    """Feeds from the study, one by one as the runtime takes them."""
    while True:
        wire.send(Message(Word.WANTED))
        message, feeds = wire.receive()
        if message.word is Word.END:
            return
        yield feeds


def answer(wire: Wire, session: Session) -> None:
    """Do what the study asks until it hangs up.

    Raises:
        ConnectionError: the study hung up.
        BackendError: the runtime failed.
    """
    while True:
        message, feeds = wire.receive()
        if message.word is Word.STREAM:
            for outputs in session.stream(pull_feeds(wire)):
                wire.send(Message(Word.OUTPUTS), outputs)
            wire.send(Message(Word.DONE))
        else:
            wire.send(Message(Word.AUDIT, audit=session.executed(feeds)))


def main(parent: str, descriptor: str, built: str, target: str) -> int:
    """Open the artifact and answer; a runtime's failure is said before leaving."""
    follow(int(parent))
    with socket.socket(fileno=int(descriptor)) as end:
        wire = Wire(end)
        asked = msgspec.json.decode(target, type=Target)
        try:
            with load_backend(asked.runtime).open(Path(built), asked) as session:
                wire.send(Message(Word.READY, signature=session.signature))
                answer(wire, session)
        except ConnectionError:
            return 0
        except AssayError as error:
            wire.send(Message(Word.FAILED, error=error.message, hint=error.hint, kind=type(error).__name__))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
