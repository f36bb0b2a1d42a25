"""The seams between the floors: a running artifact, a data set, a task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from assay.core.audit import ExecutionAudit
from assay.core.mixing import NodeTime
from assay.core.tensor import Array, Feeds, Outputs, Signature


class Session(Protocol):
    """An opened artifact that can run: a context manager."""

    @property
    def signature(self) -> Signature:
        """Inputs and outputs as the runtime sees them."""
        ...

    def run(self, feeds: Feeds) -> Outputs:
        """One call: all inputs by name in, all outputs by name out.

        The arrays given back stay valid after the next call.

        Raises:
            RunFailed: the runtime refused the feeds or failed.
        """
        ...

    def stream(self, batches: Iterable[Feeds]) -> Iterator[Outputs]:
        """Outputs of many calls in the order of the calls, as many under way at once as the runtime takes."""
        ...

    def executed(self, feeds: Feeds) -> ExecutionAudit:
        """Precision and kernel per node while running these feeds, as the runtime reports it."""
        ...

    def close(self) -> None:
        """Give the runtime's resources back; closing twice does nothing."""
        ...

    def __enter__(self) -> Self:
        """Enter the context."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        ...


@runtime_checkable
class Profiled(Protocol):
    """A session that can tell what its nodes take; not every runtime can."""

    def profile(self, feeds: Feeds, calls: int) -> tuple[NodeTime, ...]:
        """What each executed node takes, median over some calls with these feeds.

        Raises:
            RunFailed: the runtime refused the feeds or failed.
        """
        ...


@runtime_checkable
class Binding(Protocol):
    """A session that can make a call again and again without moving its arrays; not every runtime can."""

    def bind(self, feeds: Feeds) -> Callable[[], None]:
        """A call with these feeds, whose inputs and outputs stay in the runtime's memory.

        Raises:
            RunFailed: the runtime refused the feeds.
        """
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Some items of a data set.

    Attributes:
        feeds: model inputs by name, each ``[n * rows, ...]``.
        targets: labels ``[n, ...]``, or None where the data has none.
        start: index of the first item in the data set.
        columns: further columns of the data by name, each ``[n]``, by which items are divided into slices.
        items: ``[n] int64`` index of each item in the whole data, where the data set is a part of it; None where they
            are ``start`` and those that follow.
        places: ``[n] int64`` place of each item in the data set, where its batches do not follow its order, because
            items of one length are put together; None where they are ``start`` and those that follow.
        rows: of the feeds for each item, such as the two sentences of a pair that are embedded one by one.
    """

    feeds: Feeds
    targets: Array | None
    start: int
    columns: Mapping[str, Array] = field(default_factory=dict)
    items: NDArray[np.int64] | None = None
    places: NDArray[np.int64] | None = None
    rows: int = 1

    @property
    def size(self) -> int:
        """Number of items."""
        return len(next(iter(self.feeds.values()))) // self.rows


class Dataset(Protocol):
    """Items in a fixed order, streamed; iterating twice gives the same items."""

    @property
    def fingerprint(self) -> str:
        """Content hash of the items and their preprocessing."""
        ...

    @property
    def labelled(self) -> bool:
        """Whether batches carry targets."""
        ...

    def __len__(self) -> int:
        """Number of items."""
        ...

    def batches(self, size: int) -> Iterator[Batch]:
        """All items, ``size`` at a time; the last batch may be smaller.

        They come in order, or else each batch says the places of its items: items of different lengths are put
        together by length, so that a batch is one array. ``size`` 1 always keeps the order.

        Raises:
            DataError: an item cannot be read, naming the file and the item.
        """
        ...


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of a task.

    Attributes:
        name: as written in a tolerance.
        higher_is_better: direction.
        labelled: needs targets.
        functional: name of the functional that makes the metric out of the items' records, where it is not the mean of
            item scores; empty for a mean.
        record: which records of the scores the functional, or the cut, takes.
        cut: where the item score is 1 or 0, by whether the item's rank in the record is below this; 0 elsewhere. Such
            a record is ``[n, 2]``: the rank, from 0, and of how many; a cut that takes all of them is no metric.
    """

    name: str
    higher_is_better: bool
    labelled: bool
    functional: str = ""
    record: str = ""
    cut: int = 0


@dataclass(frozen=True, slots=True)
class Scores:
    """What a task keeps of a model's outputs, item by item.

    Attributes:
        metrics: metric name -> ``[n] float64`` item scores whose mean is the metric.
        predictions: ``[n] int64`` what the model says of each item, for flips and agreement.
        records: name -> ``[n, ...] float64`` what a functional needs of each item.
        certainty: ``[n] float64`` how sure the model is of what it says, 0 to 1; None where it does not tell.
        columns: name -> ``[n]`` what the items are divided into slices by; ``class`` is the target, where that is one
            integer.
    """

    metrics: Mapping[str, NDArray[np.float64]]
    predictions: NDArray[np.int64]
    records: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    certainty: NDArray[np.float64] | None = None
    columns: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of items."""
        return len(self.predictions)

    def of(self, metric: Metric) -> NDArray[np.float64] | None:
        """``[n]`` item scores whose mean is the metric; None where there are none."""
        if not metric.cut:
            return self.metrics.get(metric.name)
        ranks = self.records.get(metric.record)
        if ranks is None or not (ranks[:, 1] > metric.cut).all():
            return None
        return (ranks[:, 0] < metric.cut).astype(np.float64)

    def select(self, rows: slice | NDArray[np.int64]) -> Scores:
        """Scores of some of the items, in the order of ``rows``."""
        return Scores(
            metrics={name: values[rows] for name, values in self.metrics.items()},
            predictions=self.predictions[rows],
            records={name: values[rows] for name, values in self.records.items()},
            certainty=None if self.certainty is None else self.certainty[rows],
            columns={name: values[rows] for name, values in self.columns.items()},
        )

    @classmethod
    def join(cls, parts: Sequence[Scores]) -> Scores:
        """Scores of several parts, one after the other; each has what the first one has."""
        first = parts[0]
        certainties = [part.certainty for part in parts if part.certainty is not None]
        return cls(
            metrics={name: np.concatenate([part.metrics[name] for part in parts]) for name in first.metrics},
            predictions=np.concatenate([part.predictions for part in parts]),
            records={name: np.concatenate([part.records[name] for part in parts]) for name in first.records},
            certainty=np.concatenate(certainties) if len(certainties) == len(parts) else None,
            columns={name: np.concatenate([part.columns[name] for part in parts]) for name in first.columns},
        )


class Task(Protocol):
    """Turns outputs and targets into item scores."""

    @property
    def name(self) -> str:
        """As written in a request."""
        ...

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What can be measured; the first one is the default."""
        ...

    def check(self, signature: Signature, sample: Batch, outputs: Outputs) -> None:
        """Refuse a model or data that do not fit the task, before anything is measured.

        Raises:
            ModelError: the outputs have the wrong number, rank or type.
            DataError: targets are missing, of the wrong type or out of range.
        """
        ...

    def score(self, outputs: Outputs, targets: Array | None) -> Scores:
        """Item scores of one batch.

        Raises:
            DataError: a target is out of range.
        """
        ...


@runtime_checkable
class LabelCheck(Protocol):
    """A task that can hold labels against a model without running it."""

    def check_labels(self, targets: Array, signature: Signature) -> None:
        """Refuse labels that the model has no place for.

        Args:
            targets: of all items.
            signature: of the model.

        Raises:
            DataError: naming the first item.
        """
        ...


@runtime_checkable
class Family(Protocol):
    """A task with metrics whose name holds a number, besides those that it lists."""

    @property
    def pattern(self) -> str:
        """Their names in words, such as ``topK``; empty where there are none."""
        ...

    def make_metric(self, name: str) -> Metric | None:
        """The metric of a name, such as ``top3``; None where it is no such name."""
        ...


@runtime_checkable
class SelfLabelled(Protocol):
    """A task whose targets can be made of what is fed, where the data has none: predicting what comes next."""

    def make_targets(self, feeds: Feeds) -> Array | None:
        """Targets ``[n, ...]``; None where the feeds do not hold them."""
        ...
