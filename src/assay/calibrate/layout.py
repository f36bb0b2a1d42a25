"""Sizes and bit patterns that the compiled kernels and their NumPy twins share."""

from __future__ import annotations

BINS = 1 << 16
INFINITY_BIN = 0x7F80
"""First bin of +Inf and NaN; the negative ones start at this bin with the sign bit set."""
SIGN_BIN = 0x8000

INFINITY = 0x7F800000
"""Bit pattern of +Inf; the magnitudes of NaN lie above it."""
MAGNITUDE = 0x7FFFFFFF

BLOCK = 4096
"""Values that are scanned, counted and summed before the next ones: they stay in the first cache."""
LANES = 64
STRIDE = 4 * LANES
"""Values of one step of the sums of an item: four rows of lanes, summed in pairs."""
ROW_LANES = 8
"""Lanes of the sums of one channel's row."""
TABLES = 4
SMALL = 1024
"""Items with fewer values are counted straight into the histogram."""
MOST_COUNTED = 1 << 20
"""Values counted in 32-bit tables before these are emptied: far from an overflow, and rarely enough."""

UNIT = 149
"""Sums are whole multiples of 2^-149, the smallest positive float32; sums of squares of its square."""
LIMBS = 20
"""Digits of 32 bits of an exact sum of one channel: 640 bits hold 2^40 items of the largest squares."""
