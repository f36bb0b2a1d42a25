"""Observation: an FP32 session over a calibration set, into statistics per tensor.

What goes in must be finite. Inside a sound model infinities and NaN occur (an attention mask of minus infinity, the
softmax of a row that is masked whole), so there they are counted, and a plan leaves what touches them in floats.

The statistics do not depend on the order of the items, on threads, or on how shards are merged, as long as the
runtime gives an item the same values in every batch; some choose other kernels for another batch size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from assay.calibrate.features import Features
from assay.calibrate.floats import is_float, to_float32
from assay.calibrate.kernels import load_kernels
from assay.calibrate.sketch import SketchBuilder, group_items, hash_items, is_itemised, merge_sketches
from assay.calibrate.statistics import ItemValues, StatisticsBuilder, make_tables, merge
from assay.core.calibration import Calibration
from assay.core.errors import DataError
from assay.core.session import Batch, Dataset, Session
from assay.core.tensor import Array, Feeds, Outputs

NAMED_ITEMS = 5
"""How many faulty items a message names."""
MERGED = "merged:"


@runtime_checkable
class Lender(Protocol):
    """A session that can do without copying its outputs."""

    def lend(self, feeds: Feeds) -> Outputs:
        """One call; the outputs are the runtime's own memory, valid until the next call."""


class Observation:
    """Collects batch after batch into statistics; memory does not grow with the number of items.

    Args:
        tensors: names of floating-point inputs and outputs of the model.
        inputs: names of the model's inputs; they must be finite.
        channels: tensor -> axis of the channels that get statistics of their own.
        finite: other tensors that must be finite, such as the model's own outputs.
        threads: threads that share the tensors of a batch (>= 1); the results do not depend on it.
    """

    def __init__(
        self,
        tensors: Sequence[str],
        inputs: Collection[str],
        *,
        channels: Mapping[str, int] | None = None,
        finite: Collection[str] = (),
        threads: int = 1,
    ) -> None:
        kernels = load_kernels()
        axes = {} if channels is None else channels
        self._builders = {name: StatisticsBuilder(axes.get(name), kernels) for name in tensors}
        self._finite = frozenset({*inputs, *finite})
        self._features = Features(tuple(tensors), frozenset(inputs), kernels)
        self._sketch = SketchBuilder()
        self._tables = [make_tables() for _ in range(max(1, min(threads, len(tensors))))]
        self._items = 0

    @property
    def items(self) -> int:
        """Items observed so far."""
        return self._items

    def add(self, part: Batch, observed: Mapping[str, Array]) -> None:
        """Take in one batch.

        Args:
            part: the batch with all inputs of the model.
            observed: outputs by name; inputs are taken from the batch where they are missing.

        Raises:
            DataError: a tensor is missing, is no float, or must be finite and is not; names it and the items. The
                observation is of no use then.
        """
        arrays = {name: self._find(name, part, observed) for name in self._builders}
        hashes = hash_items(part)
        rows = self._observe_all(arrays, group_items(hashes), part.size)
        for name in self._builders:
            if name in self._finite and rows[name].counts[:, 0].any():
                raise _describe_nonfinite(name, arrays[name], part)
        self._sketch.add(hashes, part.start, *self._features.compute(rows, part))
        self._items += part.size

    def _find(self, name: str, part: Batch, observed: Mapping[str, Array]) -> Array:
        """A tensor of a batch."""
        values = observed.get(name, part.feeds.get(name))
        if values is None:
            raise DataError(f"tensor {name!r} cannot be observed: it is neither an input nor an output of the model")
        if not is_float(values):
            raise DataError(f"tensor {name!r} cannot be observed: its element type is {values.dtype}, not a float")
        return values

    def _observe_all(self, arrays: Mapping[str, Array], groups: NDArray[np.int64], items: int) -> dict[str, ItemValues]:
        """Add every tensor to its statistics, the largest first so that the threads end together."""
        rows: dict[str, ItemValues] = {}
        waiting = iter(sorted(arrays, key=lambda name: arrays[name].size, reverse=True))

        def work(index: int) -> None:
            for name in waiting:
                values = arrays[name]
                chosen = groups if is_itemised(values, items) else None
                try:
                    rows[name] = self._builders[name].add_items(values, chosen, self._tables[index])
                except DataError as err:
                    raise DataError(f"tensor {name!r} cannot be observed: {err.message}", err.hint) from err

        if len(self._tables) == 1:
            work(0)
        else:
            with ThreadPoolExecutor(len(self._tables)) as pool:
                list(pool.map(work, range(len(self._tables))))
        return rows

    def build(self, fingerprint: str) -> Calibration:
        """Statistics of everything added so far.

        Args:
            fingerprint: of the data.

        Raises:
            DataError: there was no item.
        """
        if not self._items:
            raise _describe_empty()
        statistics = {name: builder.build() for name, builder in self._builders.items()}
        itemised = frozenset(name for name, tensor in statistics.items() if tensor.groups is not None)
        sketch = self._sketch.build(self._features.select(itemised))
        return Calibration(tensors=statistics, data=fingerprint, items=self._items, sketch=sketch)


def find_run(session: Session) -> Callable[[Feeds], Outputs]:
    """The session's call whose outputs need to last until its next call only."""
    return session.lend if isinstance(session, Lender) else session.run


def observe(  # noqa: PLR0913 - four of them are options, by name only
    session: Session,
    dataset: Dataset,
    tensors: Sequence[str],
    batch: int,
    on_batch: Callable[[int], None] | None = None,
    *,
    finite: Collection[str] = (),
    channels: Mapping[str, int] | None = None,
    threads: int = 1,
) -> Calibration:
    """Statistics of the named tensors over all items of a data set, at constant memory.

    Args:
        session: the FP32 model with every tensor that is not one of its inputs among its outputs. One that is a
            ``Lender`` is not asked for copies.
        dataset: what to run it on.
        tensors: names of floating-point inputs and outputs of the session.
        batch: items per call (>= 1).
        on_batch: told the number of items observed so far, after every call.
        finite: tensors that must be finite like the inputs, such as the model's own outputs.
        channels: tensor -> axis of the channels that get statistics of their own.
        threads: threads that share the tensors of a batch (>= 1), while the session waits.

    Raises:
        DataError: the set is empty, or a tensor that must be finite is not; names the tensor and the items.
        RunFailed: the runtime refused the feeds or failed.
    """
    observation: Observation | None = None
    run = find_run(session)
    for part in dataset.batches(batch):
        if observation is None:
            observation = Observation(tensors, tuple(part.feeds), channels=channels, finite=finite, threads=threads)
        observation.add(part, run(part.feeds))
        if on_batch is not None:
            on_batch(observation.items)
    if observation is None:
        raise _describe_empty()
    return observation.build(dataset.fingerprint)


def merge_calibrations(parts: Sequence[Calibration]) -> Calibration:
    """What one run over all items of the parts would have given: the same bits in any order and grouping.

    The fingerprint of the data tells only that these parts were merged; positions in the sketch count in the data
    set of their part.

    Raises:
        ValueError: there are no parts.
        DataError: the parts observed other tensors, or other channels of them.
    """
    if not parts:
        raise ValueError("nothing to merge")
    names = list(parts[0].tensors)
    for part in parts:
        odd = sorted(set(names) ^ set(part.tensors))
        if odd:
            raise DataError(f"tensor {odd[0]!r} is not in all calibrations", "merge calibrations of one model only")
    sketches = [part.sketch for part in parts if part.sketch is not None]
    return Calibration(
        tensors={name: merge([part.tensors[name] for part in parts]) for name in names},
        data=merge_fingerprints([part.data for part in parts]),
        items=sum(part.items for part in parts),
        sketch=merge_sketches(sketches) if len(sketches) == len(parts) else None,
    )


def merge_fingerprints(parts: Sequence[str]) -> str:
    """Fingerprint of merged data, which does not depend on the order or grouping of the parts; one part keeps its own.

    A sum, not an exclusive or, so that the same part twice does not cancel out.
    """
    if len(parts) == 1:
        return parts[0]
    total = sum(
        int(part.removeprefix(MERGED), 16)
        if part.startswith(MERGED)
        else int.from_bytes(hashlib.sha256(part.encode()).digest(), "big")
        for part in parts
    )
    return f"{MERGED}{total % (1 << 256):064x}"


def _describe_empty() -> DataError:
    """No items."""
    return DataError("the calibration set holds no items", "give at least one; some hundreds are usual")


def _describe_nonfinite(name: str, values: Array, part: Batch) -> DataError:
    """A tensor that must be finite and is not."""
    source = "the data" if name in part.feeds else "the model"
    return DataError(
        f"tensor {name!r} holds NaN or Inf on {_find_nonfinite_items(values, part)} of the calibration set",
        f"{source} gives values that no range can hold: correct it or leave these items out",
    )


def _find_nonfinite_items(values: Array, part: Batch) -> str:
    """The items with a NaN or Inf in words; the whole batch where the first axis is not the item."""
    if not is_itemised(values, part.size):
        return f"items {part.start} to {part.start + part.size - 1}"
    faulty = ~np.isfinite(to_float32(values).reshape(part.size, -1)).all(axis=1)
    indices = [part.start + int(index) for index in np.flatnonzero(faulty)]
    named = ", ".join(str(index) for index in indices[:NAMED_ITEMS])
    more = len(indices) - NAMED_ITEMS
    return f"{'item' if len(indices) == 1 else 'items'} {named}" + (f" and {more} more" if more > 0 else "")
