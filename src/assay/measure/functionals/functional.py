"""What a metric that is no mean of item scores has to tell."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Records = NDArray[np.float64]
"""``[n, ...] float64``: what a task keeps of each item for a functional."""


class Functional(Protocol):
    """A number made out of all items, and how much each of them moves it.

    Attributes:
        span: most by which two values can differ; infinite where there is no most.
        groups: 0 where ``influence`` tells one number per item; else how many groups of items it tells one number
            each for, as the delete-group jackknife does. The same items are then always in the same groups.
        libraries: modules that must be installed beyond what Assay always has.
    """

    span: float
    groups: int
    libraries: tuple[str, ...]

    def check(self, records: Records) -> None:
        """Refuse items that cannot support an interval.

        Raises:
            MeasurementError: there are too few items, or too few of a kind; it tells how many are needed.
        """
        ...

    def value(self, records: Records) -> float:
        """The metric; a documented convention where it is not defined, never NaN."""
        ...

    def influence(self, records: Records) -> NDArray[np.float64]:
        """What each item adds to the metric.

        The influence function at the items' own distribution: ``[n]``, with mean 0, such that an item of weight
        ``1/n + e`` changes the metric by ``e`` times its influence (Hampel, The influence curve and its role in
        robust estimation, JASA 69, 1974). With ``groups`` the groups' pseudo-values less the metric, ``[groups]``.
        """
        ...

    def worst(self, records: Records) -> float:
        """Most by which the influence of one item could change, were the model to fail on it; in units of influence."""
        ...

    def right(self, records: Records) -> NDArray[np.bool_] | None:
        """Items that are right, ``[n]``; None where an item is neither right nor wrong."""
        ...


@runtime_checkable
class Biased(Functional, Protocol):
    """A functional that few items flatter, so that its differences come out too small.

    Its interval reaches from the farther of both differences, ``value`` and ``debiased``, on either side.
    """

    def debiased(self, records: Records) -> float:
        """The same quantity by an estimate that few items flatter less; it may be less smooth, or more variable."""
        ...
