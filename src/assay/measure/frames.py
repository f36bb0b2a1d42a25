"""The rate of consecutive frames, and the power that is drawn while they run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from assay.core.errors import MeasurementError

if TYPE_CHECKING:
    from assay.core.estimate import Estimate

RUN = 10
"""Consecutive frames whose rate is one sample: a late one among them may be caught up, as with a short queue."""
SHARE = 0.1
"""Share of the runs that may be slower than the rate that is stated."""
WINDOW_NS = 250e6
"""Power is a mean over windows of at least so long: counters step a thousand times a second or less often."""
NS_PER_S = 1e9


def estimate_frame_rate(ends_ns: Sequence[int], confidence: float) -> Estimate:
    """The rate that nine of ten runs of ten consecutive frames keep, in frames/s.

    Args:
        ends_ns: ``[frames + 1]``, when the first frame began, and when each ended.
        confidence: one-sided confidence of each bound; a lower one takes 29 runs at 95%.

    Raises:
        MeasurementError: there is not one run, or the clock stands still.
    """
    from assay.measure.statistics.quantile import estimate_quantile  # noqa: PLC0415 - held processes do without

    took = np.diff(np.asarray(ends_ns, dtype=np.float64)[::RUN])
    if not took.size:
        # So slow that not one run was worth its time: what there is, is one short run.
        took, frames = np.array([float(ends_ns[-1] - ends_ns[0])] if len(ends_ns) > 1 else []), len(ends_ns) - 1
    else:
        frames = RUN
    if not took.size or (took <= 0).any():
        raise MeasurementError("no rate of frames can be told: there are none, or the clock stands still")
    return estimate_quantile(frames * NS_PER_S / took, SHARE, confidence, "frames/s")


def estimate_power(readings: Sequence[tuple[int, float]], confidence: float) -> Estimate | None:
    """Median over windows of the mean power, in W; None where there is no window, or the counter stood still.

    Args:
        readings: time in ns and joules.
        confidence: one-sided confidence of each bound.
    """
    from assay.measure.statistics.quantile import estimate_quantile  # noqa: PLC0415 - held processes do without

    powers: list[float] = []
    begun = readings[0] if readings else (0, 0.0)
    for moment, joules in readings:
        if moment - begun[0] >= WINDOW_NS:
            powers.append((joules - begun[1]) / (moment - begun[0]) * NS_PER_S)
            begun = (moment, joules)
    return estimate_quantile(powers, 0.5, confidence, "W") if any(powers) else None
