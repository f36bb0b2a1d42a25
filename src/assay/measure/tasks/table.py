"""Every task that Assay knows: name -> ``module:class``, imported only when asked for."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import Protocol, cast, runtime_checkable

from assay.core.errors import RequestError
from assay.core.session import Family, Metric, Task
from assay.core.task_settings import Fitted, TaskSettings
from assay.core.tensor import Signature

TASKS = {
    "classification": "assay.measure.tasks.classification:Classification",
    "binary-probability": "assay.measure.tasks.classification:BinaryProbability",
    "detection": "assay.measure.tasks.detection:Detection",
    "multi-label": "assay.measure.tasks.multi_label:MultiLabel",
    "multi-label-probability": "assay.measure.tasks.multi_label:MultiLabelProbability",
    "regression": "assay.measure.tasks.regression:Regression",
    "language-model": "assay.measure.tasks.language_model:LanguageModel",
    "embedding": "assay.measure.tasks.embedding:Embedding",
    "ranking": "assay.measure.tasks.ranking:Ranking",
}


@runtime_checkable
class Growing(Protocol):
    """A task that scores some metrics only where they are asked for."""

    def including(self, name: str) -> Task:
        """The task with one more metric, or itself where it has it anyway, or cannot have it."""
        ...


def load_task(name: str, metric: str = "") -> Task:
    """The task of a name.

    Args:
        name: of the task.
        metric: that it is asked for; a task may score no others of a family such as ``ndcg@K``.

    Raises:
        RequestError: no task has this name; the hint names the nearest one.
    """
    path = TASKS.get(name)
    if path is None:
        raise RequestError(f"task {name!r} is unknown", _suggest(name, tuple(TASKS), "tasks"))
    module, _, attribute = path.partition(":")
    task = cast("Task", getattr(import_module(module), attribute)())
    return task.including(metric) if metric and isinstance(task, Growing) else task


def name_scored(name: str, metric: str) -> str:
    """The task's name, and the metric's where only a task that is asked for it scores it: what scores depend on.

    Raises:
        RequestError: no task has this name.
    """
    return name if load_task(name, metric).metrics == load_task(name).metrics else f"{name} {metric}"


def fit_task(task: Task, settings: TaskSettings, signature: Signature) -> Task:
    """The task for a model, and with what the request says of the model's outputs.

    Raises:
        RequestError: the task does not take these settings, or they do not fit the model.
    """
    if isinstance(task, Fitted):
        return task.fit(settings, signature)
    if settings.decoding is not None:
        raise RequestError(f"task {task.name!r} takes no decoder", "decoders are for task = 'detection'")
    return task


def find_metric(task: Task, name: str) -> Metric:
    """The metric of a task, out of those it lists or of a family such as ``top3``.

    Raises:
        RequestError: the task has no metric of this name; the hint names the nearest one.
    """
    for metric in task.metrics:
        if metric.name == name:
            return metric
    made = task.make_metric(name) if isinstance(task, Family) else None
    if made is not None:
        return made
    names = (
        *(metric.name for metric in task.metrics),
        *([task.pattern] if isinstance(task, Family) and task.pattern else []),
    )
    raise RequestError(f"task {task.name!r} has no metric {name!r}", _suggest(name, names, "its metrics"))


def _suggest(name: str, known: tuple[str, ...], kind: str) -> str:
    nearest = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    listing = f"{kind} are {', '.join(known)}"
    return f"did you mean {nearest[0]!r}? {listing}" if nearest else listing
