"""The mean of what single items need: one item's extreme value moves it by the number of items only.

Frameworks know it as the moving average of the minima and maxima of batches, exponential and so dependent on the order
and the size of the batches (Krishnamoorthi 2018, "Quantizing deep convolutional networks for efficient inference").
Here it is the plain cumulative average over items: any order and any batches give the same range.
"""

from __future__ import annotations

from assay.calibrate.ranges.problem import RangeProblem
from assay.core.calibration import TensorRange


def solve_moving_average(problem: RangeProblem) -> TensorRange:
    """Mean over items of each item's minimum and maximum; min-max where the items are not known.

    It suits tensors with many values an item. One with a single value an item has that value's mean as its limit.
    """
    statistics = problem.statistics
    if not statistics.items:
        return problem.widest
    return problem.limit(statistics.total_low / statistics.items, statistics.total_high / statistics.items)
