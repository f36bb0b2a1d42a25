"""The record ``labels``: ``[n, labels, 2]`` predicted and true, 0 or 1, of each item and label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.measure.functionals.functional import Records


def read_labels(records: Records) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Predicted and true labels, ``[n, labels]`` each."""
    return records[:, :, 0] == 1, records[:, :, 1] == 1


def count_labels(records: Records) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each item adds to ``2 tp`` and to ``2 tp + fp + fn`` of each label, ``[n, labels]`` each."""
    predicted, truth = read_labels(records)
    hits = (predicted & truth).astype(np.float64)
    return 2 * hits, predicted.astype(np.float64) + truth


def find_exact(records: Records) -> NDArray[np.bool_]:
    """Items whose predicted labels are all right, ``[n]``."""
    predicted, truth = read_labels(records)
    exact: NDArray[np.bool_] = (predicted == truth).all(axis=1)
    return exact
