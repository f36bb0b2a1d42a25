"""Examples of what broke: the items on which a variant is worse than the reference, the worst first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import DataError, MeasurementError
from assay.core.flip import Flip
from assay.core.session import Batch, Dataset, Metric, Scores
from assay.core.tensor import Array
from assay.data.subset import every
from assay.data.telling import tell_item
from assay.measure.statistics.losses import item_losses
from assay.measure.tasks.agreement import AGREEMENT, COSINE
from assay.measure.tasks.detection import RECORD
from assay.measure.tasks.ranking import is_relevance
from assay.studies.drawn import draw_item, put_in_words, shorten

MOST_FLIPS = 24
MOST_LISTED = 4
NONE = "nothing"


@dataclass(frozen=True, slots=True)
class Shown:
    """One item as a person sees it: its target in words and its picture or text.

    Attributes:
        noun: what a prediction of it is the number of, such as ``class``; empty where nothing tells.
    """

    target: str
    noun: str
    picture: str
    text: str


def show_flips(
    dataset: Dataset,
    reference: Scores,
    variant: Scores,
    metric: Metric,
    positions: NDArray[np.int64],
    most: int = MOST_FLIPS,
) -> tuple[Flip, ...]:
    """The items that a variant does worse than the reference, the largest loss first, then where it was surest.

    The loss of an item is that of its score. A metric that is no mean of item scores borrows the first scores that
    there are; without any, an item on which the predictions differ has lost 1. Only the items shown are read, and
    what cannot be read or drawn is said in words.

    Args:
        dataset: the evaluation items.
        reference: scores of some items.
        variant: scores of the same items in the same order.
        metric: what is compared.
        positions: ``[n] int64``, index of each scored item in the data set.
        most: items shown at most.

    Raises:
        MeasurementError: the scores and positions are not of the same items.
    """
    n = len(positions)
    if len(reference.predictions) != n or len(variant.predictions) != n:
        counts = f"{len(reference.predictions)} and {len(variant.predictions)} scores"
        raise MeasurementError(f"{counts} cannot be paired at {n} positions")
    before, after = (_read_item_scores(scores, metric) for scores in (reference, variant))
    harm = _measure_harm(before, after, metric, reference, variant)
    rows = _choose_worst(harm, reference.certainty, most)
    shown = _read_items(dataset, positions[rows], metric)
    flips = []
    for row in rows:
        item = int(positions[row])
        seen = shown[item]
        flips.append(
            Flip(
                item=item,
                target=seen.target,
                before=_say(reference, before, row, seen.noun),
                after=_say(variant, after, row, seen.noun),
                harm=float(harm[row]),
                certainty=None if reference.certainty is None else float(reference.certainty[row]),
                picture=seen.picture,
                text=seen.text,
            )
        )
    return tuple(flips)


def _read_item_scores(scores: Scores, metric: Metric) -> NDArray[np.float64] | None:
    """Item scores of the metric, or the first ones where it has none; agreement is of predictions alone."""
    if metric.name == AGREEMENT.name:
        return None
    own = scores.of(metric)
    return next(iter(scores.metrics.values()), None) if own is None else own


def _measure_harm(
    before: NDArray[np.float64] | None,
    after: NDArray[np.float64] | None,
    metric: Metric,
    reference: Scores,
    variant: Scores,
) -> NDArray[np.float64]:
    """How much worse each item became, positive is worse."""
    if metric.name == COSINE.name:
        return item_losses(metric, reference, variant)
    if before is None or after is None:
        changed = reference.predictions != variant.predictions
        return np.asarray(changed, dtype=np.float64)
    own = reference.of(metric) is not None
    losses = before - after if metric.higher_is_better or not own else after - before
    return np.asarray(losses, dtype=np.float64)


def _choose_worst(harm: NDArray[np.float64], certainty: NDArray[np.float64] | None, most: int) -> NDArray[np.int64]:
    """Rows that were harmed: by harm, then certainty, then place."""
    sure = np.zeros(len(harm)) if certainty is None else np.nan_to_num(certainty)
    order = np.lexsort((-sure, -harm))
    return np.asarray(order[harm[order] > 0][:most], dtype=np.int64)


def _read_items(dataset: Dataset, positions: NDArray[np.int64], metric: Metric) -> Mapping[int, Shown]:
    """Items by their index in the data set; one that cannot be read says so."""
    rising = np.unique(positions).tolist()
    shown: dict[int, Shown] = {}
    try:
        for item, batch in zip(rising, _read_singly(dataset, rising), strict=True):
            seen, told = _show(batch, metric), tell_item(dataset, item)
            shown[item] = replace(seen, text=shorten(told), picture="") if told else seen
    except DataError as error:
        # What broke is an illustration: a file that has gone since the scoring must not cost the study.
        for item in rising:
            shown.setdefault(item, Shown("", "", picture="", text=f"cannot be read: {error}"))
    return shown


def _read_singly(dataset: Dataset, positions: Sequence[int]) -> Iterator[Batch]:
    """Batches of one item, so that items may differ in shape."""
    return every(dataset, positions).batches(1) if positions else iter(())


def _show(batch: Batch, metric: Metric) -> Shown:
    picture, text = draw_item({name: array[0] for name, array in batch.feeds.items()})
    if batch.targets is None:
        return Shown("", "", picture, text)
    target = batch.targets[0]
    if metric.record == RECORD and target.ndim == 2:  # noqa: PLR2004 - rows of boxes
        kinds = target[:, -1].astype(np.float64)
        return Shown(_list("class", kinds[kinds >= 0]), "class", picture, text)
    if is_relevance(metric) and target.ndim == 1:
        return Shown(_list("document", np.flatnonzero(target.astype(np.float64) > 0)), "document", picture, text)
    if target.size == 1 and target.dtype.kind in "iub":
        return Shown(f"class {int(target.reshape(-1)[0])}", "class", picture, text)
    return Shown(put_in_words(target), "", picture, text)


def _list(noun: str, numbers: Array) -> str:
    """The different numbers, as many as can be read at a glance."""
    different = [f"{noun} {int(number)}" for number in np.unique(numbers)]
    listed = ", ".join(different[:MOST_LISTED])
    return f"{listed} and {len(different) - MOST_LISTED} more" if len(different) > MOST_LISTED else listed or NONE


def _say(scores: Scores, values: NDArray[np.float64] | None, row: int, noun: str) -> str:
    """What a model says of an item; a score that is neither right nor wrong is told too."""
    prediction = int(scores.predictions[row])
    said = NONE if prediction < 0 else f"{noun} {prediction}".strip()
    return said if values is None or values[row] in (0, 1) else f"{said} (score {values[row]:.3g})"
