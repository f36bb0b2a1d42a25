"""Range solvers, one file each: from the statistics of a tensor to its clipping range.

Must not know: how a range becomes a scale in a graph, files.
Public: ``solve_range``, ``solve_ranges``.
"""

from assay.calibrate.ranges.solve import solve_range, solve_ranges

__all__ = ["solve_range", "solve_ranges"]
