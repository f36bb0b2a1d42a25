"""A session that gives its outputs under other names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Self

from assay.calibrate.observe import find_run
from assay.core.audit import ExecutionAudit
from assay.core.session import Session
from assay.core.tensor import Feeds, Outputs, Signature


class RenamedSession:
    """Another session's outputs under names of the caller's; closed together with it.

    Args:
        session: runs the feeds.
        outputs: new name -> the session's name of an output; what is missing here is not given.
    """

    def __init__(self, session: Session, outputs: Mapping[str, str]) -> None:
        self._session = session
        self._outputs = dict(outputs)
        self._lend = find_run(session)

    @property
    def signature(self) -> Signature:
        """The session's, with the new names."""
        inner = self._session.signature
        specs = {spec.name: spec for spec in inner.outputs}
        return Signature(inner.inputs, tuple(replace(specs[old], name=new) for new, old in self._outputs.items()))

    def run(self, feeds: Feeds) -> Outputs:
        """One call.

        Raises:
            RunFailed: as the session.
        """
        return self._rename(self._session.run(feeds))

    def lend(self, feeds: Feeds) -> Outputs:
        """One call whose outputs need to last until the next one only: the runtime's own memory where it lends it.

        Raises:
            RunFailed: as the session.
        """
        return self._rename(self._lend(feeds))

    def stream(self, batches: Iterable[Feeds]) -> Iterator[Outputs]:
        """Outputs of many calls.

        Raises:
            RunFailed: as the session.
        """
        return map(self._rename, self._session.stream(batches))

    def executed(self, feeds: Feeds) -> ExecutionAudit:
        """The session's audit.

        Raises:
            RunFailed: as the session.
        """
        return self._session.executed(feeds)

    def close(self) -> None:
        """Close the session."""
        self._session.close()

    def __enter__(self) -> Self:
        """Enter the context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _rename(self, outputs: Outputs) -> Outputs:
        """Outputs under the new names."""
        return {new: outputs[old] for new, old in self._outputs.items()}
