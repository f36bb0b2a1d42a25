"""Labels that a task makes out of what the model is fed."""

from __future__ import annotations

from assay.core.session import SelfLabelled, Task
from assay.data.completing import Label


def find_label(task: Task) -> Label | None:
    """How a task makes targets where the data has none; None for a task whose labels are stored."""
    return task.make_targets if isinstance(task, SelfLabelled) else None
