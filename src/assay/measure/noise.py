"""How far a variant's outputs and answers are from the reference's, on the same items."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import MeasurementError
from assay.core.session import Metric, Scores
from assay.core.tensor import Array, Outputs


class NoiseMeter:
    """Relative power of the error of a variant's outputs, added up over batches."""

    def __init__(self) -> None:
        self._errors: dict[str, float] = {}
        self._signals: dict[str, float] = {}

    def add(self, reference: Outputs, variant: Outputs) -> None:
        """Count one batch.

        Values that are not finite under the reference do not count. An output whose shape depends on its values,
        such as a list of detections, is lost altogether where the shape differs.

        Args:
            reference: outputs by name.
            variant: of the same items.
        """
        for name, value in reference.items():
            if not is_floating(value):
                continue
            wanted = value.astype(np.float64)
            signal = np.square(wanted, where=np.isfinite(wanted), out=np.zeros_like(wanted))
            self._signals[name] = self._signals.get(name, 0.0) + float(signal.sum())
            got = variant[name].astype(np.float64)
            error = float(signal.sum()) if got.shape != wanted.shape else measure_error(wanted, got)
            self._errors[name] = self._errors.get(name, 0.0) + error

    @property
    def noise(self) -> float:
        """Mean over the outputs of error power over signal power; infinite where a value was lost to NaN or Inf.

        Raises:
            MeasurementError: no output is floating-point, or all are zero under the reference.
        """
        shares = [error / self._signals[name] for name, error in self._errors.items() if self._signals[name] > 0]
        if not shares:
            raise MeasurementError("no output has a signal that noise could be measured against")
        return float(np.mean(shares))


def is_floating(value: Array) -> bool:
    """Whether an output is floating-point; bfloat16 comes as an extension type of NumPy, whose kind is not "f"."""
    return value.dtype.kind == "f" or value.dtype.name == "bfloat16"


def measure_error(wanted: NDArray[np.float64], got: NDArray[np.float64]) -> float:
    """Sum of squared differences where the reference is finite; infinite where only the variant is not."""
    finite = np.isfinite(wanted)
    if not np.isfinite(got[finite]).all():
        return math.inf
    return float(np.square(got[finite] - wanted[finite]).sum())


def measure_loss(reference: Scores, variant: Scores, metric: Metric) -> float | None:
    """How far the answers moved, mean over the items; None where the task gives nothing to tell it by.

    In this order: item scores that are more than right or wrong; else the probability that each answer of the
    reference has, which for an answer that changed is at most what the new one leaves; else right and wrong.

    Args:
        reference: of the float model.
        variant: of the same items.
        metric: whose item scores are compared, where they are there.

    Raises:
        MeasurementError: there are no items.
    """
    if not len(reference):
        raise MeasurementError("no item tells how far answers moved")
    before, after = (read_item_scores(scores, metric) for scores in (reference, variant))
    fine = before is not None and not np.isin(before, (0.0, 1.0)).all()
    if before is not None and after is not None and (fine or reference.certainty is None):
        return float(np.abs(after - before).mean())
    if reference.certainty is None or variant.certainty is None:
        return None
    held = np.where(
        variant.predictions == reference.predictions,
        variant.certainty,
        np.minimum(np.minimum(variant.certainty, 1 - variant.certainty), reference.certainty),
    )
    return float(np.abs(reference.certainty - held).mean())


def read_item_scores(scores: Scores, metric: Metric) -> NDArray[np.float64] | None:
    """Item scores of the metric, or the first ones there are where it has none."""
    own = scores.of(metric)
    return next(iter(scores.metrics.values()), None) if own is None else own
