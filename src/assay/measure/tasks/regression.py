"""Regression: one number per item."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import DataError, ModelError
from assay.core.session import Batch, Metric, Scores
from assay.core.tensor import Array, Outputs, Signature
from assay.measure.tasks.agreement import AGREEMENT

RECORD = "pairs"
PEARSON = Metric("pearson", higher_is_better=True, labelled=True, functional="pearson", record=RECORD)
SPEARMAN = Metric("spearman", higher_is_better=True, labelled=True, functional="spearman", record=RECORD)
RMSE = Metric("rmse", higher_is_better=False, labelled=True, functional="rmse", record=RECORD)
MAE = Metric("mae", higher_is_better=False, labelled=True, functional="mae", record=RECORD)


class Regression:
    """A number per item beside the true one.

    The first floating-point output with one number per item is taken, ``[n]`` or ``[n, 1, ...]``. Targets are numbers
    of the same form. What is said of an item, for agreement, is the number itself, bit by bit.
    """

    name: str = "regression"
    metrics: tuple[Metric, ...] = (PEARSON, SPEARMAN, RMSE, MAE, AGREEMENT)

    def check(self, signature: Signature, sample: Batch, outputs: Outputs) -> None:
        """Refuse a model or data that do not fit, before anything is measured.

        Raises:
            ModelError: no output has one number per item; all outputs are named with their shapes.
            DataError: a target is no finite number, or missing for an item.
        """
        name, _ = _select(outputs, sample.size)
        if name not in {spec.name for spec in signature.outputs}:
            raise ModelError(f"output {name!r} is not in the model's signature")
        if sample.targets is not None:
            _check_targets(sample.targets, sample.size, sample.start)

    def score(self, outputs: Outputs, targets: Array | None) -> Scores:
        """Pairs of one batch; without targets only predictions.

        Raises:
            ModelError: no output has one number per item.
            DataError: a target is no finite number; items count from the start of the batch.
        """
        _, said = _select(outputs, None if targets is None else len(targets))
        predictions = np.where(np.isnan(said), -1, said.view(np.uint32).astype(np.int64))
        if targets is None:
            return Scores(metrics={}, predictions=predictions)
        truth = _check_targets(targets, len(said), start=0)
        pairs = np.stack([said.astype(np.float64), truth], axis=1)
        return Scores(metrics={}, predictions=predictions, records={RECORD: pairs})


def _select(outputs: Outputs, items: int | None) -> tuple[str, NDArray[np.float32]]:
    """The output with one number per item, ``[n] float32``."""
    for name, value in outputs.items():
        # bfloat16 comes as an extension type of NumPy, whose kind is not "f".
        is_float = value.dtype.kind == "f" or value.dtype.name == "bfloat16"
        if is_float and value.ndim and value.size == len(value) and (items is None or len(value) == items):
            with np.errstate(over="ignore"):
                return name, np.ascontiguousarray(value.reshape(-1).astype(np.float32))
    found = ", ".join(f"{name!r} {value.dtype.name}{list(value.shape)}" for name, value in outputs.items())
    raise ModelError(
        f"no output can be read as one number per item; the outputs are {found or 'none'}",
        "regression needs one floating-point output [n] or [n, 1]",
    )


def _check_targets(targets: Array, items: int, start: int) -> NDArray[np.float64]:
    """Targets as ``[n] float64``, all finite."""
    shape = list(targets.shape)
    if targets.dtype.kind not in "iubf":
        raise DataError(f"targets have the type {targets.dtype.name}{shape}, not numbers", "give them as float32 [n]")
    if targets.ndim == 0 or any(axis != 1 for axis in targets.shape[1:]):
        raise DataError(f"targets have the shape {shape}: one number per item is needed", "give them as float32 [n]")
    if len(targets) != items:
        message = f"{len(targets)} targets for {items} items from item {start} on"
        raise DataError(message, "give one number per item")
    truth = targets.reshape(-1).astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(truth))
    if wrong.size:
        index = int(wrong[0])
        raise DataError(f"target of item {start + index} is {truth[index]}", "leave out items without a true number")
    return truth
