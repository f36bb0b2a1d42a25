"""Observation that ends once enough items were seen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from assay.calibrate.observe import Lender, Observation
from assay.calibrate.selection.convergence import ConvergenceRule
from assay.core.calibration import Calibration
from assay.core.convergence import Convergence
from assay.core.errors import DataError
from assay.core.session import Dataset, Session


def observe_until(  # noqa: PLR0913 what `observe` takes, and the rule
    session: Session,
    dataset: Dataset,
    tensors: Sequence[str],
    batch: int,
    rule: ConvergenceRule,
    on_batch: Callable[[int], None] | None = None,
    *,
    finite: Collection[str] = (),
    channels: Mapping[str, int] | None = None,
    threads: int = 1,
) -> tuple[Calibration, Convergence]:
    """Statistics of the named tensors over the first items of a data set, as many as the rule asks for.

    Small batches can stop sooner: the rule is asked between batches.

    Args:
        session: the FP32 model with every tensor that is not one of its inputs among its outputs.
        dataset: items in random order.
        tensors: names of floating-point inputs and outputs of the session.
        batch: items per call (>= 1).
        rule: says when to stop; good for one run.
        on_batch: told the number of items observed so far, after every call.
        finite: tensors that must be finite like the inputs, such as the model's own outputs.
        channels: tensor -> axis of the channels that get statistics of their own.
        threads: threads that share the tensors of a batch (>= 1).

    Returns:
        The statistics, with the fingerprint of the whole data set, and the trail.

    Raises:
        DataError: the set is empty, or a tensor that must be finite is not; names the tensor and the items.
        RunFailed: the runtime refused the feeds or failed.
    """
    observation: Observation | None = None
    run = session.lend if isinstance(session, Lender) else session.run
    for part in dataset.batches(batch):
        if observation is None:
            observation = Observation(tensors, tuple(part.feeds), channels=channels, finite=finite, threads=threads)
        observation.add(part, run(part.feeds))
        items = observation.items
        if on_batch is not None:
            on_batch(items)
        if rule.wants(items) and rule.take(observation.build(dataset.fingerprint)):
            break
        if items >= rule.maximum:
            break
    if observation is None:
        raise DataError("the calibration set holds no items", "give at least one; some hundreds are usual")
    return observation.build(dataset.fingerprint), rule.conclude(observation.items)


def place_items(calibration: Calibration, order: NDArray[np.int64], fingerprint: str) -> Calibration:
    """The same statistics as if the items had been observed in the order of the data set that they were drawn from.

    Args:
        calibration: of the first items of a shuffled data set.
        order: ``[n] int64``, index of each item of the shuffled data set in the one behind it.
        fingerprint: of the data set that holds the observed items in their own order.
    """
    if calibration.sketch is None:
        return replace(calibration, data=fingerprint)
    places = np.argsort(np.argsort(order[: calibration.items]))
    sketch = replace(calibration.sketch, positions=places[calibration.sketch.positions])
    return replace(calibration, data=fingerprint, sketch=sketch)
