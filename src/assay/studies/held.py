"""Calls that are made again and again with the same arrays, which stay where they are: how a cache is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self

from assay.core.audit import ExecutionAudit
from assay.core.session import Binding, Session
from assay.core.tensor import Feeds, Outputs, Signature


def hold(session: Session, feeds: Feeds) -> Callable[[], None]:
    """A call with these feeds, without copies in and out where the runtime can.

    Raises:
        RunFailed: the runtime refused the feeds.
    """
    if isinstance(session, Binding):
        return session.bind(feeds)

    def call() -> None:
        session.run(feeds)

    return call


class HeldSession:
    """A session that makes the same call whatever it is given, without copies, and gives nothing back.

    A served decoder keeps its cache in the runtime's memory from step to step. This times one such step again and
    again, always with the same context.

    Args:
        session: opened artifact; its owner closes it.
        feeds: of every call.
    """

    def __init__(self, session: Session, feeds: Feeds) -> None:
        self._session, self._call = session, hold(session, feeds)

    @property
    def signature(self) -> Signature:
        """As the session's."""
        return self._session.signature

    def run(self, feeds: Feeds) -> Outputs:
        """One call; its outputs stay in the runtime.

        Raises:
            RunFailed: the runtime failed.
        """
        del feeds
        self._call()
        return {}

    def stream(self, batches: Iterable[Feeds]) -> Iterator[Outputs]:
        """A call for each of the feeds, one after the other."""
        return map(self.run, batches)

    def executed(self, feeds: Feeds) -> ExecutionAudit:
        """As the session's."""
        return self._session.executed(feeds)

    def close(self) -> None:
        """Leave the session to its owner."""

    def __enter__(self) -> Self:
        """Enter the context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the session to its owner."""
