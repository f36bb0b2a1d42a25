"""Observation: an FP32 session over a calibration set, into statistics per tensor.

What goes in must be finite. Inside a sound model infinities and NaN occur (an attention mask of minus infinity, the
softmax of a row that is masked whole), so there they are counted, and a plan leaves what touches them in floats.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from assay.calibrate.statistics import StatisticsBuilder
from assay.core.calibration import Calibration
from assay.core.errors import DataError
from assay.core.session import Batch, Dataset, Session
from assay.core.tensor import Array

NAMED_ITEMS = 5
"""How many faulty items a message names."""


def observe(
    session: Session,
    dataset: Dataset,
    tensors: Sequence[str],
    batch: int,
    on_batch: Callable[[int], None] | None = None,
    *,
    finite: Collection[str] = (),
) -> Calibration:
    """Statistics of the named tensors over all items of a data set, at constant memory.

    Args:
        session: the FP32 model with every tensor that is not one of its inputs among its outputs.
        dataset: what to run it on.
        tensors: names of floating-point inputs and outputs of the session.
        batch: items per call (>= 1).
        on_batch: told the number of items observed so far, after every call.
        finite: tensors that must be finite like the inputs, such as the model's own outputs.

    Raises:
        DataError: the set is empty, or a tensor that must be finite is not; names the tensor and the items.
        RunFailed: the runtime refused the feeds or failed.
    """
    builders = {name: StatisticsBuilder() for name in tensors}
    items = 0
    for part in dataset.batches(batch):
        observed = {**session.run(part.feeds), **part.feeds}
        _observe_batch(builders, observed, part, {*part.feeds, *finite})
        items += part.size
        if on_batch is not None:
            on_batch(items)
    if not items:
        raise DataError("the calibration set holds no items", "give at least one; some hundreds are usual")
    statistics = {name: builder.build() for name, builder in builders.items()}
    return Calibration(tensors=statistics, data=dataset.fingerprint, items=items)


def _observe_batch(
    builders: Mapping[str, StatisticsBuilder], observed: Mapping[str, Array], part: Batch, finite: Collection[str]
) -> None:
    """Add every tensor of one batch to its statistics."""
    for name, builder in builders.items():
        values = observed.get(name)
        if values is None:
            raise DataError(f"tensor {name!r} cannot be observed: it is neither an input nor an output of the model")
        if not np.issubdtype(values.dtype, np.floating):
            raise DataError(f"tensor {name!r} cannot be observed: its element type is {values.dtype}, not a float")
        if builder.add(values) and name in finite:
            items = _find_nonfinite_items(values, part)
            source = "the data" if name in part.feeds else "the model"
            raise DataError(
                f"tensor {name!r} holds NaN or Inf on {items} of the calibration set",
                f"{source} gives values that no range can hold: correct it or leave these items out",
            )


def _find_nonfinite_items(values: Array, part: Batch) -> str:
    """The items with a NaN or Inf in words; the whole batch where the first axis is not the item."""
    if values.ndim == 0 or values.shape[0] != part.size:
        return f"items {part.start} to {part.start + part.size - 1}"
    faulty = ~np.isfinite(values.reshape(part.size, -1)).all(axis=1)
    indices = [part.start + int(index) for index in np.flatnonzero(faulty)]
    named = ", ".join(str(index) for index in indices[:NAMED_ITEMS])
    more = len(indices) - NAMED_ITEMS
    return f"{'item' if len(indices) == 1 else 'items'} {named}" + (f" and {more} more" if more > 0 else "")
