"""How much worse a variant does on each item than the reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import MeasurementError, RequestError
from assay.core.session import Metric, Scores
from assay.measure.tasks.agreement import AGREEMENT, COSINE, EMBEDDING, align, is_relative


def reference_scores(metric: Metric, reference: Scores) -> NDArray[np.float64]:
    """``[n]`` item scores of the reference; it agrees with itself on every item.

    Raises:
        RequestError: the metric was not scored, or is no mean of item scores.
    """
    if is_relative(metric):
        return np.ones(len(reference), np.float64)
    values = reference.of(metric)
    if values is None:
        scored = ", ".join(reference.metrics) or "predictions only"
        raise RequestError(f"metric {metric.name!r} has no item scores; scored are {scored}")
    return values


def pair_scores(metric: Metric, reference: Scores, variant: Scores) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Item scores of reference and variant, each ``[n]``; for agreement, whether each says what the reference says.

    Raises:
        RequestError: the metric was not scored, or is no mean of item scores.
        MeasurementError: the numbers of items differ.
    """
    if len(reference) != len(variant):
        raise MeasurementError(f"{len(reference)} items of the reference cannot be paired with {len(variant)}")
    if metric.name == AGREEMENT.name:
        # -1 is no prediction, and agrees with nothing.
        agrees = (reference.predictions == variant.predictions) & (reference.predictions >= 0)
        return np.ones(len(agrees)), agrees.astype(np.float64)
    if metric.name == COSINE.name:
        cosines = align(*(read_embeddings(scores) for scores in (reference, variant)))
        return np.ones(len(cosines)), cosines
    return reference_scores(metric, reference), reference_scores(metric, variant)


def read_embeddings(scores: Scores) -> NDArray[np.float64]:
    """``[n, d]`` vectors of the items.

    Raises:
        RequestError: the task keeps none.
    """
    found = scores.records.get(EMBEDDING)
    if found is None:
        raise RequestError("metric 'cosine' needs vectors, which the task does not keep", "use task = 'embedding'")
    return found


def item_losses(metric: Metric, reference: Scores, variant: Scores) -> NDArray[np.float64]:
    """``[n]`` losses of a metric that is a mean of item scores; positive is worse, whatever its direction.

    Raises:
        RequestError: the metric was not scored, or is no mean of item scores.
        MeasurementError: the numbers of items differ.
    """
    before, after = pair_scores(metric, reference, variant)
    return before - after if metric.higher_is_better else after - before
