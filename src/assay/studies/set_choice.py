"""Choosing the items of a new calibration set from a pool, and how many of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from assay.calibrate.selection.convergence import MOST_ITEMS, ConvergenceRule
from assay.calibrate.selection.observe_until import observe_until
from assay.calibrate.selection.representative import choose_spread
from assay.calibrate.sketch import MOST_ITEMS as SKETCHED_ITEMS
from assay.core.calibration import Calibration
from assay.core.convergence import Convergence
from assay.core.errors import DataError, RequestError
from assay.core.session import Dataset
from assay.data.calibration_set import SelectionMethod
from assay.data.shuffle import shuffle
from assay.data.source import DataSource
from assay.data.subset import every, first
from assay.graph.channels import list_channel_axes
from assay.graph.expose import observable_tensors
from assay.studies.cores import count_cores
from assay.studies.exposing import fit_batch, open_exposed
from assay.studies.progress import Progress
from assay.studies.request import DEFAULT_RUNTIMES
from assay.studies.set_statistics import ObservedModel, observe_model


@dataclass(frozen=True, slots=True)
class SetRequest:
    """A calibration set to make.

    Attributes:
        model: the ONNX file whose inputs the items are, and whose activations are observed.
        source: the pool.
        output: the set's folder; must not exist.
        items: at most so many; None for as many as the data need.
        method: how they are chosen.
        seed: of what is random in the choice.
        licence: of the items, as text.
        note: whatever should be known of the set.
        created: ISO 8601 time, UTC.
        runtimes: the first that is available observes.
    """

    model: Path
    source: DataSource
    output: Path
    items: int | None
    method: SelectionMethod
    seed: int
    licence: str
    note: str
    created: str
    runtimes: tuple[str, ...] = DEFAULT_RUNTIMES

    def __post_init__(self) -> None:
        """Refuse what can never work.

        Raises:
            RequestError: naming the value.
        """
        if self.items is not None and self.items < 1:
            raise RequestError(f"{self.items} items are asked for", "give 1 or more, or auto")
        if self.items is None and self.method is SelectionMethod.FIRST:
            message = "how many items are needed cannot be told from the first ones, which may all be of one kind"
            raise RequestError(message, "give --items N, or --select random")
        if self.method is SelectionMethod.SPREAD and (self.items or 0) > SKETCHED_ITEMS:
            message = f"{self.items} items are asked for, and spread chooses from {SKETCHED_ITEMS} at random"
            raise RequestError(message, "ask for fewer, or choose with --select random")
        if self.seed < 0:
            raise RequestError(f"the seed is {self.seed}", "give 0 or more")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Items chosen from a pool.

    Attributes:
        items: in the order in which they are stored.
        calibration: statistics of a model over them, where the choice gave them.
        convergence: how the ranges settled; None where the number of items was given.
    """

    items: Dataset
    calibration: Calibration | None = None
    convergence: Convergence | None = None


@contextmanager
def choose_items(request: SetRequest, pool: Dataset, model: ObservedModel, progress: Progress) -> Iterator[Chosen]:
    """Items of a pool as a request wants them.

    What is drawn at random stays in the order drawn, so that any number of items from the start of such a set is a
    random choice too.

    Args:
        request: how many and how.
        pool: what to choose from.
        model: is observed where the number or the choice depends on it.
        progress: is told of every item.

    Raises:
        DataError: an item cannot be read, or an activation is not finite.
        BackendError: the runtime cannot run the model.
    """
    count = request.items or MOST_ITEMS
    if request.method is SelectionMethod.FIRST:
        yield Chosen(first(pool, count))
        return
    rng = np.random.default_rng(request.seed)
    spread = request.method is SelectionMethod.SPREAD
    with shuffle(pool, SKETCHED_ITEMS if spread else count, rng) as drawn:
        chosen = Chosen(first(drawn, count)) if request.items is not None else settle(drawn, model, progress)
        yield spread_out(chosen, drawn, model, progress, rng) if spread else chosen


def spread_out(
    enough: Chosen, drawn: Dataset, model: ObservedModel, progress: Progress, rng: np.random.Generator
) -> Chosen:
    """As many items, chosen so that what the model makes of them is spread like what it makes of all drawn.

    Args:
        enough: tells how many.
        drawn: items in random order, at most as many as a sketch holds.
        model: whose activations are the features.
        progress: is told of every item.
        rng: draws the start of the search.

    Raises:
        DataError: an activation is not finite.
        BackendError: the runtime cannot run the model.
    """
    sketch = observe_model(model, drawn, progress).sketch
    if sketch is None:
        raise DataError("the statistics know nothing of single items", "choose with --select random")
    rows = choose_spread(sketch.features, len(enough.items), rng)
    return Chosen(every(drawn, np.sort(sketch.positions[rows]).tolist()), None, enough.convergence)


def settle(drawn: Dataset, model: ObservedModel, progress: Progress) -> Chosen:
    """As many of the items, which come in random order, as the ranges need to settle.

    Raises:
        DataError: an activation is not finite.
        BackendError: the runtime cannot run the model.
    """
    items = model.fit(first(drawn, MOST_ITEMS))
    tensors = observable_tensors(model.prepared)
    progress.start("observing until the ranges settle", len(items))
    with (
        tempfile.TemporaryDirectory(prefix="assay-") as scratch,
        open_exposed(model.prepared, tensors, model.backend, Path(scratch)) as session,
    ):
        batch = model.fixed_batch or fit_batch(session, items)
        calibration, convergence = observe_until(
            session,
            items,
            tensors,
            batch,
            ConvergenceRule(),
            lambda _items: progress.advance(batch),
            channels=list_channel_axes(model.prepared),
            threads=count_cores(),
        )
    progress.finish()
    return Chosen(first(items, convergence.items), calibration, convergence)
