"""The fastest mixed plan within a budget of noise: a mixed-integer linear program; pure.

One binary variable for each group and format; one continuous variable for each boundary that is converted, and one for
each shared tensor that is rounded, which the binaries push to 1. Solved by HiGHS through SciPy (Huangfu and Hall,
Parallelizing the dual revised simplex method, Mathematical Programming Computation 2018).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from assay.core.mixing import Boundary, CostTable, Mix
from assay.core.precision import Precision
from assay.decide.risks import NoiseModel

TIME_LIMIT_S = 2.0
GAP = 5e-4
"""Relative distance to the optimum at which the solver may stop: far below what a clock can tell."""
CHATTER = b"HighsMipSolverData::"
"""Start of the lines that HiGHS 1.12 prints on standard output whatever its options say (its issue 2783)."""
QUIETER = 1e-3
"""Part of the whole time by which the noisiest plan is dearer, so that of equally fast plans the quietest is taken."""


@dataclass(frozen=True, slots=True)
class Knapsack:
    """What a plan is put together from.

    Attributes:
        costs: times of the groups and between them.
        noises: of groups in INT8.
        float_noise: format -> noise of each group in it; nothing for FP32.
    """

    costs: CostTable
    noises: NoiseModel
    float_noise: Mapping[Precision, Sequence[float]]

    def predict_ms(self, mix: Mix) -> float:
        """Time of one call of a mixed plan."""
        return self.costs.predict_ms(mix)

    def predict_noise(self, mix: Mix) -> float:
        """Noise that a mixed plan brings to the outputs."""
        quantized = np.array([precision is Precision.INT8 for precision in mix])
        return self.noises.predict(quantized) + self.sum_float_noise(mix)

    def sum_float_noise(self, mix: Mix) -> float:
        """Noise of those groups that are in floats."""
        known = self.float_noise
        return sum(known[precision][group] for group, precision in enumerate(mix) if precision in known)


def solve(sack: Knapsack, budget: float, formats: Collection[Precision]) -> Mix | None:
    """The fastest mix whose noise keeps a budget; of equally fast ones the quietest.

    Args:
        sack: what it is put together from.
        budget: most noise.
        formats: that may be used; INT8 among them.

    Returns:
        None where no mix keeps the budget, or none was found in time.
    """
    program = _Program(sack, sorted(formats))
    return program.solve(budget)


class _Program:
    """Variables: a binary per group and format, then a crossing per boundary, then a rounding per shared tensor."""

    def __init__(self, sack: Knapsack, formats: Sequence[Precision]) -> None:
        self._sack, self._formats = sack, formats
        self._groups, self._boundaries = len(sack.costs.groups), len(sack.costs.boundaries)
        self._binaries = self._groups * len(formats)
        self._size = self._binaries + 2 * self._boundaries
        self._rows: list[dict[int, float]] = []

    def solve(self, budget: float) -> Mix | None:
        """Build and solve."""
        noise, times = self._list_noises(), self._list_times()
        broken = ~np.isfinite(noise)
        noise[broken] = 0.0
        upper = np.where(broken, 0.0, 1.0)
        scale = max(float(noise.max(initial=0.0)), budget, np.finfo(np.float64).tiny)
        total = max(float(times.sum()), np.finfo(np.float64).tiny)
        quieter = QUIETER * total * noise / max(float(noise.sum()), np.finfo(np.float64).tiny)
        binary = np.arange(self._size) < self._binaries
        found = milp(
            (times + quieter) / total,
            integrality=binary.astype(np.int64),
            bounds=Bounds(np.zeros(self._size), upper),
            constraints=[
                self._choose_one(),
                LinearConstraint(noise[None, :] / scale, -np.inf, budget / scale),
                *self._push(),
            ],
            options={"time_limit": TIME_LIMIT_S, "mip_rel_gap": GAP},
        )
        if found.x is None:
            return None
        picked = np.reshape(found.x[: self._binaries], (self._groups, -1)).argmax(axis=1)
        return tuple(self._formats[index] for index in picked)

    def _at(self, group: int, precision: Precision) -> int:
        """Place of a binary."""
        return group * len(self._formats) + self._formats.index(precision)

    def _list_times(self) -> NDArray[np.float64]:
        """Milliseconds of each variable."""
        table = self._sack.costs
        own = [times[precision] for times in table.groups for precision in self._formats]
        price = table.price_crossing(self._formats)
        crossing = [price * boundary.elements for boundary in table.boundaries]
        return np.array([*own, *crossing, *([0.0] * self._boundaries)])

    def _list_noises(self) -> NDArray[np.float64]:
        """Noise of each variable."""
        noises, floats = self._sack.noises, self._sack.float_noise
        own = [
            float(noises.groups[group])
            if precision is Precision.INT8
            else floats[precision][group]
            if precision in floats
            else 0.0
            for group in range(self._groups)
            for precision in self._formats
        ]
        return np.array([*own, *([0.0] * self._boundaries), *noises.shared.tolist()])

    def _choose_one(self) -> LinearConstraint:
        """Every group has one format."""
        count = len(self._formats)
        rows = np.repeat(np.arange(self._groups), count)
        matrix = coo_array((np.ones(self._binaries), (rows, np.arange(self._binaries))), (self._groups, self._size))
        return LinearConstraint(matrix.tocsc(), 1, 1)

    def _push(self) -> Iterator[LinearConstraint]:
        """A boundary is converted where its two sides differ, and rounded where anybody touches it."""
        rows = [
            row for index, boundary in enumerate(self._sack.costs.boundaries) for row in self._bound(index, boundary)
        ]
        if not rows:
            return
        entries = [(number, place, value) for number, row in enumerate(rows) for place, value in row.items()]
        numbers, places, values = (np.array(column) for column in zip(*entries, strict=True))
        matrix = coo_array((values.astype(np.float64), (numbers, places)), (len(rows), self._size))
        yield LinearConstraint(matrix.tocsc(), 0, np.inf)

    def _bound(self, index: int, boundary: Boundary) -> Iterator[dict[int, float]]:
        """Rows that must not be negative."""
        crossed, rounded = self._binaries + index, self._binaries + self._boundaries + index
        for group in np.flatnonzero(self._sack.noises.touching[index]).tolist():
            yield {rounded: 1.0, self._at(group, Precision.INT8): -1.0}
        if boundary.writer is None:
            yield from ({crossed: 1.0, self._at(reader, Precision.INT8): -1.0} for reader in boundary.readers)
            return
        for reader in boundary.readers:
            for precision in self._formats:
                ours, theirs = self._at(boundary.writer, precision), self._at(reader, precision)
                yield {crossed: 1.0, theirs: -1.0, ours: 1.0}
                yield {crossed: 1.0, theirs: 1.0, ours: -1.0}
        if boundary.read_in_floats:
            yield {crossed: 1.0, self._at(boundary.writer, Precision.INT8): -1.0}
