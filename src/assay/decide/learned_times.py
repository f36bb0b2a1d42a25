"""Corrects the times of groups by whole plans that were timed: Bayesian linear regression; pure.

A runtime's profile tells what each group takes in a form whose groups are all alike. Beside a group in another format
it may take more or less: what is fused with it, and what lies in the caches, differ. The time of a mixed plan is still
close to a sum over its groups and conversions, so the times of a few plans correct these terms: each by as much as it
is doubted and has part in the plans (Bishop, Pattern Recognition and Machine Learning, 2006, section 3.3).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from assay.core.mixing import TYPED_WORK, CostTable, Mix, count_floats
from assay.core.precision import Precision

DOUBT = 0.2
"""Standard error of a group's time, as a share of it, before any mixed plan is timed."""
LEAST_DOUBT = 0.1
"""Of the mean time of all groups, added to the doubt: small groups are profiled no better than others."""
CROSSING_DOUBT = 0.5
"""Standard error of the price of conversions, as a share of it."""
TIMING_ERROR = 0.015
"""Standard error of a plan's time, as a share of it: timed in turn with others, and no sum of terms is exact."""


@dataclass(frozen=True, slots=True)
class TimedPlan:
    """A plan that was timed.

    Attributes:
        milliseconds: of one call.
    """

    mix: Mix
    milliseconds: float


def learn_times(table: CostTable, runs: Sequence[Sequence[TimedPlan]]) -> CostTable:
    """A table that predicts what was timed, as far as it can be believed, and else stays what it was.

    Args:
        table: from profiles; holds each format that a plan uses.
        runs: plans that were timed in turn with each other. Where some of a run have one format for everything, the
            run counts as if these had taken what the table predicts, all together: the machine may have been busier
            or less busy than when the table was measured.
    """
    known = [one for run in runs for one in _level(table, run)]
    if not known:
        return table
    terms = _Terms(table)
    wanted = np.array([one.milliseconds for one in known])
    rows = np.array([terms.describe(one.mix) for one in known])
    doubted = rows * terms.doubt**2
    noise = np.diag((TIMING_ERROR * wanted) ** 2)
    gain = np.linalg.solve(doubted @ rows.T + noise, wanted - rows @ terms.mean)
    return terms.rebuild(terms.mean + doubted.T @ gain)


def _level(table: CostTable, run: Sequence[TimedPlan]) -> list[TimedPlan]:
    """A run's times at the level of the table; what is no time is left out."""
    known = [one for one in run if 0 < one.milliseconds < math.inf]
    ratios = [table.predict_ms(one.mix) / one.milliseconds for one in known if len(set(one.mix)) == 1]
    level = statistics.geometric_mean(ratios) if ratios and min(ratios) > 0 else 1.0
    return [replace(one, milliseconds=one.milliseconds * level) for one in known]


class _Terms:
    """What a table's predictions are sums of: each group in each format, the rest, and conversions.

    Attributes:
        mean: ``[terms] float64``, milliseconds of each.
        doubt: ``[terms] float64``, standard error of each.
    """

    def __init__(self, table: CostTable) -> None:
        self._table = table
        keys = [(group, precision) for group, times in enumerate(table.groups) for precision in times]
        self._places = {key: place for place, key in enumerate(keys)}
        own = np.array([table.groups[group][precision] for group, precision in keys])
        self._elements = max(1, sum(boundary.elements for boundary in table.boundaries))
        crossing = table.crossing_ms * self._elements
        self.mean = np.array([*own, table.fixed_ms, crossing])
        typical = float(own.mean()) if own.size else 0.0
        doubts = np.hypot(DOUBT * own, LEAST_DOUBT * typical)
        self.doubt = np.array([*doubts, DOUBT * table.fixed_ms, self._doubt_crossing(crossing, typical)])

    def _doubt_crossing(self, crossing: float, typical: float) -> float:
        """Conversions of all boundaries: known to a share, and to no better than groups are."""
        return math.hypot(CROSSING_DOUBT * crossing, LEAST_DOUBT * typical * math.sqrt(len(self._table.boundaries)))

    def describe(self, mix: Mix) -> NDArray[np.float64]:
        """How often each term counts in a plan, ``[terms] float64``."""
        row = np.zeros(len(self.mean))
        for group, precision in enumerate(mix):
            row[self._places[group, precision]] = 1.0
        row[-2] = 1.0
        row *= TYPED_WORK if count_floats(mix) > 1 else 1.0
        unit = replace(self._table, crossing_ms=1.0).price_crossing(mix)
        row[-1] = unit * self._table.count_crossed(mix) / self._elements
        return row

    def rebuild(self, found: NDArray[np.float64]) -> CostTable:
        """The table with other terms, none negative."""
        terms = np.maximum(found, 0.0).tolist()
        groups: tuple[Mapping[Precision, float], ...] = tuple(
            {precision: terms[self._places[group, precision]] for precision in times}
            for group, times in enumerate(self._table.groups)
        )
        return replace(self._table, groups=groups, fixed_ms=terms[-2], crossing_ms=terms[-1] / self._elements)
