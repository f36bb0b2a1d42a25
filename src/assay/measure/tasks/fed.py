"""Tasks that need some of a model's inputs beside its outputs, such as the mask over which token states are pooled."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from assay.core.session import Task
from assay.core.tensor import Feeds, Outputs


@runtime_checkable
class Fed(Protocol):
    """What a `Task` may have beside its scores."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the inputs that it finds among the outputs."""
        ...


def list_needed(task: Task) -> tuple[str, ...]:
    """Inputs that a task needs; none for most."""
    return task.needs if isinstance(task, Fed) else ()


def add_needed(task: Task, outputs: Outputs, feeds: Feeds) -> Outputs:
    """The outputs of a call, and the inputs that the task needs of it."""
    return {**outputs, **{name: feeds[name] for name in list_needed(task) if name in feeds}}
