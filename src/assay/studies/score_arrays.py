"""Item scores as named arrays, the form in which they are stored."""

from __future__ import annotations

import numpy as np

from assay.core.session import Scores
from assay.core.tensor import Array

METRIC, RECORD, COLUMN = "metric.", "record.", "column."
PREDICTIONS, CERTAINTY, NONFINITE = "predictions", "certainty", "nonfinite"


def pack_scores(scores: Scores, nonfinite: int) -> dict[str, Array]:
    """Scores as arrays by name."""
    arrays: dict[str, Array] = {PREDICTIONS: scores.predictions, NONFINITE: np.array([nonfinite], np.int64)}
    if scores.certainty is not None:
        arrays[CERTAINTY] = scores.certainty
    for prefix, values in ((METRIC, scores.metrics), (RECORD, scores.records), (COLUMN, scores.columns)):
        arrays |= {f"{prefix}{name}": np.asarray(value) for name, value in values.items()}
    return arrays


def unpack_scores(arrays: dict[str, Array]) -> Scores:
    """Scores from arrays by name."""

    def chosen(prefix: str) -> dict[str, Array]:
        return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}

    certainty = arrays.get(CERTAINTY)
    return Scores(
        metrics={name: value.astype(np.float64) for name, value in chosen(METRIC).items()},
        predictions=arrays[PREDICTIONS].astype(np.int64),
        records={name: value.astype(np.float64) for name, value in chosen(RECORD).items()},
        certainty=None if certainty is None else certainty.astype(np.float64),
        columns=chosen(COLUMN),
    )
