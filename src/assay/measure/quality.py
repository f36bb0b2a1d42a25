"""Item scores of an artifact over a data set, streamed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import DataError, ModelError, RequestError, RunFailed
from assay.core.requirements import CLASS_COLUMN
from assay.core.session import Batch, Dataset, Metric, Scores, Session, Task
from assay.core.tensor import Array, Feeds, Outputs, Signature
from assay.measure.functionals.table import load_functional
from assay.measure.guards import OutputGuard
from assay.measure.tasks.fed import add_needed, list_needed


@dataclass(frozen=True, slots=True)
class ScoredDataset:
    """Scores of all items, and what was wrong with the outputs.

    Attributes:
        nonfinite: output values that were NaN or infinite.
        nonfinite_items: items with at least one such value.
    """

    scores: Scores
    nonfinite: int
    nonfinite_items: int


def score_dataset(
    session: Session,
    dataset: Dataset,
    task: Task,
    batch: int,
    on_items: Callable[[int], None],
    guard: OutputGuard | None = None,
) -> ScoredDataset:
    """Run every item and keep its scores only: memory grows by a few numbers per item.

    Scores are in the order of the data set, in whatever order its batches come. A model with a fixed batch axis gets
    batches of that size, the last one filled up with its own last item.

    Args:
        session: opened artifact.
        dataset: items, with or without targets.
        task: turns outputs into scores.
        batch: items per call.
        on_items: told the number of items done, after each batch.
        guard: watches the outputs go by.

    Raises:
        DataError: there are no items, they cannot be read, or a target is out of range.
        ModelError: the outputs do not fit the task.
        RunFailed: the runtime failed, or gave fewer outputs than it was given batches.
    """
    fixed = fixed_batch(session.signature)
    waiting: deque[Batch] = deque()
    scored: list[Scores] = []
    places: list[NDArray[np.int64]] = []
    nonfinite = nonfinite_items = 0
    for outputs in session.stream(_feed(dataset, fixed or batch, fixed, waiting, list_needed(task))):
        done = waiting.popleft()
        kept = _trim(outputs, done.size, fixed)
        scored.append(_score(task, session.signature, kept, done))
        if done.places is not None:
            places.append(done.places)
        if guard is not None:
            guard.add(kept, done.size * done.rows)
        values, items = _count_nonfinite(kept, done.size * done.rows)
        nonfinite += values
        nonfinite_items += items
        on_items(done.size)
    if waiting:
        raise RunFailed(f"the runtime gave no outputs for {len(waiting)} batches from item {waiting[0].start} on")
    if not scored:
        raise DataError("the data set has zero items", "give at least one item")
    scores = _concatenate(scored)
    # Items of different lengths come in batches of one length each: their scores go back to their own order.
    ordered = scores.select(np.argsort(np.concatenate(places))) if places else scores
    return ScoredDataset(ordered, nonfinite, nonfinite_items)


def check_task(session: Session, dataset: Dataset, task: Task, metric: Metric) -> None:
    """Refuse a model, data or metric that do not fit together, from one small call.

    Raises:
        DataError: there are no items, or targets are missing or wrong.
        ModelError: the outputs do not fit the task.
        RequestError: the metric does not exist for this model.
        RunFailed: the runtime failed.
    """
    if metric.labelled and not dataset.labelled:
        without = next((other.name for other in task.metrics if not other.labelled), "")
        hint = f"add an array 'target', or use a metric without labels, such as {without!r}"
        raise DataError(f"the data has no targets, and metric {metric.name!r} needs them", hint)
    fixed = fixed_batch(session.signature)
    waiting: deque[Batch] = deque()
    feeds = next(_feed(dataset, fixed or 8, fixed, waiting, list_needed(task)), None)
    if feeds is None:
        raise DataError("the data set has zero items", "give at least one item")
    sample = waiting.popleft()
    outputs = _trim(session.run(feeds), sample.size, fixed)
    task.check(session.signature, sample, add_needed(task, outputs, sample.feeds))
    scores = _score(task, session.signature, outputs, sample)
    if metric.functional:
        load_functional(metric.functional)
    known = metric.record in scores.records if metric.functional else scores.of(metric) is not None
    if metric.labelled and not known:
        raise RequestError(f"metric {metric.name!r} does not exist for this model", _list_metrics(task, scores))


def _list_metrics(task: Task, scores: Scores) -> str:
    """Metrics that the scores hold, in words."""
    names = [m.name for m in task.metrics if scores.of(m) is not None or (m.functional and m.record in scores.records)]
    return f"it has {', '.join(names) or 'none'}"


def fixed_batch(signature: Signature) -> int | None:
    """Size of the first axis where the model fixes it for all its inputs, else None."""
    sizes = {spec.shape[0] if spec.shape else None for spec in signature.inputs}
    size = sizes.pop() if len(sizes) == 1 else None
    return size if isinstance(size, int) else None


def _feed(
    dataset: Dataset, size: int, fixed: int | None, waiting: deque[Batch], needed: tuple[str, ...]
) -> Iterator[Feeds]:
    """Feeds of all batches; each batch waits in the queue for its outputs, with the inputs that the task needs."""
    for batch in dataset.batches(size):
        # Only the number of items and what is said of them are needed later: the feeds must not wait in memory.
        name, first = next(iter(batch.feeds.items()))
        kept = {one: batch.feeds[one] for one in needed if one in batch.feeds}
        waiting.append(replace(batch, feeds={name: np.empty(len(first), dtype=np.bool_), **kept}))
        short = 0 if fixed is None else fixed - batch.size
        yield batch.feeds if short <= 0 else {key: _fill_up(value, short) for key, value in batch.feeds.items()}


def _fill_up(value: Array, count: int) -> Array:
    """The array with its last item repeated ``count`` times."""
    return np.concatenate([value, np.repeat(value[-1:], count, axis=0)])


def _trim(outputs: Outputs, size: int, fixed: int | None) -> Outputs:
    """Outputs without the rows of filled-up items."""
    if fixed is None or fixed == size:
        return outputs
    return {name: value[:size] if value.ndim and len(value) == fixed else value for name, value in outputs.items()}


def _score(task: Task, signature: Signature, outputs: Outputs, batch: Batch) -> Scores:
    """Scores of one batch with its columns; an error names the item's place in the data."""
    try:
        scores = task.score(add_needed(task, outputs, batch.feeds), batch.targets)
    except DataError:
        # Only the check knows where items lie: it raises the same with the item's index in the data.
        for items, part in _divide(add_needed(task, outputs, batch.feeds), batch):
            task.check(signature, items, part)
        raise
    if len(scores.predictions) != batch.size:
        message = f"the model gave {len(scores.predictions)} predictions for {batch.size} items"
        raise ModelError(message, "the first axis of its outputs must be the items")
    return replace(scores, columns={**scores.columns, **find_classes(batch.targets), **batch.columns})


def find_classes(targets: Array | None) -> dict[str, Array]:
    """The column ``class``, where the targets are one integer per item; it yields to a column of that name."""
    return {CLASS_COLUMN: targets} if targets is not None and targets.ndim == 1 and targets.dtype.kind in "iub" else {}


def _divide(outputs: Outputs, batch: Batch) -> Iterator[tuple[Batch, Outputs]]:
    """The batch, or its items one by one where they do not follow one another in the data."""
    if batch.items is None:
        yield batch, outputs
        return
    for row, item in enumerate(batch.items.tolist()):
        part, wide = slice(row, row + 1), slice(row * batch.rows, (row + 1) * batch.rows)
        feeds = {name: value[wide] for name, value in batch.feeds.items()}
        targets = None if batch.targets is None else batch.targets[part]
        whole = batch.size * batch.rows
        rows = {name: value[wide] if value.ndim and len(value) == whole else value for name, value in outputs.items()}
        yield Batch(feeds, targets, item, rows=batch.rows), rows


def _count_nonfinite(outputs: Outputs, size: int) -> tuple[int, int]:
    """Values that are NaN or infinite, and items with at least one, over all floating-point outputs."""
    total = 0
    items: NDArray[np.bool_] = np.zeros(size, dtype=np.bool_)
    for value in outputs.values():
        # bfloat16 comes as an extension type of NumPy, whose kind is not "f".
        if value.dtype.kind != "f" and value.dtype.name != "bfloat16":
            continue
        broken = ~np.isfinite(value)
        count = int(np.count_nonzero(broken))
        total += count
        if count and broken.ndim and len(broken) == size:
            items |= broken.reshape(size, -1).any(axis=1)
    return total, int(np.count_nonzero(items))


def _concatenate(scored: list[Scores]) -> Scores:
    first = scored[0]
    certainties = [part.certainty for part in scored if part.certainty is not None]
    return Scores(
        metrics={name: np.concatenate([part.metrics[name] for part in scored]) for name in first.metrics},
        predictions=np.concatenate([part.predictions for part in scored]),
        records={name: np.concatenate([part.records[name] for part in scored]) for name in first.records},
        certainty=np.concatenate(certainties) if len(certainties) == len(scored) else None,
        columns={name: np.concatenate([part.columns[name] for part in scored]) for name in first.columns},
    )
