"""Range solvers, one file each: from the statistics of a tensor to its clipping range.

Must not know: how a range becomes a scale in a graph, files.
Public: ``solve_range``, ``solve_ranges``; for 8-bit floats ``solve_float_range``, ``solve_float_ranges``.
"""

from assay.calibrate.ranges.eight_bit_floats import solve_float_range, solve_float_ranges
from assay.calibrate.ranges.solve import solve_range, solve_ranges

__all__ = ["solve_float_range", "solve_float_ranges", "solve_range", "solve_ranges"]
