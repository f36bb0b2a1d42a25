"""Labels of the evaluation items: those that a task makes itself, and those that the model has no place for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from assay.core.errors import DataError
from assay.core.session import Dataset, LabelCheck, SelfLabelled, Task
from assay.core.tensor import Signature
from assay.data.completing import Label
from assay.data.labels import read_labels


def find_label(task: Task) -> Label | None:
    """How a task makes targets where the data has none; None for a task whose labels are stored."""
    return task.make_targets if isinstance(task, SelfLabelled) else None


def hold_labels(dataset: Dataset, task: Task, signature: Signature, path: str) -> None:
    """Hold all labels against a model before anything is run, where the task can do that.

    Args:
        dataset: with the labels.
        task: that they are for.
        signature: of the model.
        path: of the data, as the user named it.

    Raises:
        DataError: one cannot be read, or the model has no place for it, naming the data and the item.
    """
    labels = read_labels(dataset) if isinstance(task, LabelCheck) else None
    if labels is not None and isinstance(task, LabelCheck):
        with named_data(path):
            task.check_labels(labels, signature)


@contextmanager
def named_data(path: str) -> Iterator[None]:
    """Name the data in the errors of a task, which knows its items by number alone.

    Raises:
        DataError: of the task, beginning with the data's name.
    """
    try:
        yield
    except DataError as error:
        if path in error.message:
            raise
        raise DataError(f"{path}: {error.message}", error.hint) from error
