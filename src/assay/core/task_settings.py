"""What a request says of how a task reads its model's outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from assay.core.decoding import Decoding
from assay.core.session import Task
from assay.core.tensor import Signature


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """Settings of all tasks; each takes its own, and the default of each is what a task does without a word.

    Attributes:
        decoding: of a detector's raw outputs; None where the user says nothing.
    """

    decoding: Decoding | None = None


@runtime_checkable
class Fitted(Protocol):
    """A task that settings and the model's signature say more to."""

    @property
    def reading(self) -> str:
        """How outputs are read, which scores depend on besides the task's name; empty where nothing was said."""
        ...

    def fit(self, settings: TaskSettings, signature: Signature) -> Task:
        """The task for this model.

        Raises:
            RequestError: the settings are not for such a task or model.
        """
        ...
