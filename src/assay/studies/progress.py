"""How a study tells what it is doing; the command line draws it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A listener that is told of stages, steps and remarks."""

    def start(self, label: str, total: int | None) -> None:
        """A stage begins; ``total`` steps where known."""
        ...

    def advance(self, steps: int = 1) -> None:
        """Steps of the current stage are done."""
        ...

    def finish(self) -> None:
        """The current stage ends."""
        ...

    def say(self, text: str) -> None:
        """One line worth keeping."""
        ...


class Silent:
    """Listens to nothing."""

    def start(self, label: str, total: int | None) -> None:
        """Ignore."""

    def advance(self, steps: int = 1) -> None:
        """Ignore."""

    def finish(self) -> None:
        """Ignore."""

    def say(self, text: str) -> None:
        """Ignore."""
