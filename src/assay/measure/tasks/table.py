"""Every task that Assay knows: name -> ``module:class``, imported only when asked for."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import cast

from assay.core.errors import RequestError
from assay.core.session import Family, Metric, Task

TASKS = {
    "classification": "assay.measure.tasks.classification:Classification",
    "binary-probability": "assay.measure.tasks.classification:BinaryProbability",
    "detection": "assay.measure.tasks.detection:Detection",
    "multi-label": "assay.measure.tasks.multi_label:MultiLabel",
    "multi-label-probability": "assay.measure.tasks.multi_label:MultiLabelProbability",
    "regression": "assay.measure.tasks.regression:Regression",
    "language-model": "assay.measure.tasks.language_model:LanguageModel",
    "ranking": "assay.measure.tasks.ranking:Ranking",
}


def load_task(name: str) -> Task:
    """The task of a name.

    Raises:
        RequestError: no task has this name; the hint names the nearest one.
    """
    path = TASKS.get(name)
    if path is None:
        raise RequestError(f"task {name!r} is unknown", _suggest(name, tuple(TASKS), "tasks"))
    module, _, attribute = path.partition(":")
    return cast("Task", getattr(import_module(module), attribute)())


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
