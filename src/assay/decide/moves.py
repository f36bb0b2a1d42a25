"""Plans next to a mixed plan: one or two groups in another format, predicted to be faster; pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from assay.core.mixing import Mix
from assay.core.precision import Precision
from assay.decide.knapsack import Knapsack

MOST_PAIRED = 24
"""Groups of each side that are paired: those that save the most time, and those that make the most noise."""


def list_moves(sack: Knapsack, mix: Mix, count: int) -> tuple[Mix, ...]:
    """Mixes that are predicted to be faster: first those that none is both quieter and faster than, the quietest first.

    One group goes from floats to integers, alone or in exchange for another one: what sums of noises rank wrongly
    around the tolerance is found so.

    Args:
        sack: predicts times and noises.
        mix: a plan that holds.
        count: most mixes.
    """
    now = sack.predict_ms(mix)
    near = {other: (sack.predict_noise(other), sack.predict_ms(other)) for other in set(list_changes(sack, mix))}
    faster = sorted((noise, time, other) for other, (noise, time) in near.items() if time < now)
    best: list[Mix] = []
    others: list[Mix] = []
    fastest = math.inf
    for _, time, other in faster:
        (best if time < fastest else others).append(other)
        fastest = min(fastest, time)
    return (*best, *others)[:count]


def list_changes(sack: Knapsack, mix: Mix) -> Iterator[Mix]:
    """Mixes with one group more in integers, and those that leave another one in floats for it.

    Args:
        sack: tells which groups save the most time, and which make the most noise.
        mix: a plan.
    """
    floats = [index for index, precision in enumerate(mix) if precision is not Precision.INT8]
    integers = [index for index, precision in enumerate(mix) if precision is Precision.INT8]
    noises, times = sack.noises.groups, sack.costs.groups
    saving = sorted(floats, key=lambda index: times[index][Precision.INT8] - times[index][mix[index]])[:MOST_PAIRED]
    loud = sorted(integers, key=lambda index: -float(noises[index]))[:MOST_PAIRED]
    formats = sorted({mix[index] for index in floats})
    for gained in floats:
        yield _put(mix, gained, Precision.INT8)
    for gained in saving:
        for given in loud:
            yield from (_put(_put(mix, gained, Precision.INT8), given, one) for one in formats)


def list_quieter(mix: Mix, formats: Sequence[Precision]) -> Iterator[Mix]:
    """Mixes with one group more in floats.

    Args:
        mix: a plan.
        formats: floats that a group may be left in.
    """
    for index, precision in enumerate(mix):
        if precision is Precision.INT8:
            yield from (_put(mix, index, one) for one in formats)


def _put(mix: Mix, index: int, precision: Precision) -> Mix:
    """A mix with one group in another format."""
    return (*mix[:index], precision, *mix[index + 1 :])
