"""Labels of the evaluation items: those that a task makes itself, and those that the model has no place for."""

from __future__ import annotations

from assay.core.session import Dataset, LabelCheck, SelfLabelled, Task
from assay.core.tensor import Signature
from assay.data.completing import Label
from assay.data.labels import read_labels


def find_label(task: Task) -> Label | None:
    """How a task makes targets where the data has none; None for a task whose labels are stored."""
    return task.make_targets if isinstance(task, SelfLabelled) else None


def hold_labels(dataset: Dataset, task: Task, signature: Signature) -> None:
    """Hold all labels against a model before anything is run, where the task can do that.

    Raises:
        DataError: one cannot be read, or the model has no place for it, naming the item.
    """
    labels = read_labels(dataset) if isinstance(task, LabelCheck) else None
    if labels is not None and isinstance(task, LabelCheck):
        task.check_labels(labels, signature)
