"""Faults in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from assay.core.fault import Fault, FaultKind
from assay.measure.guard_moments import ChannelMoments

MOST_NAMED = 8
"""Channels that are listed one by one."""


def describe_fault(fault: Fault, places: Sequence[int], before: ChannelMoments, after: ChannelMoments) -> Fault:
    """The fault with its words.

    Args:
        fault: without words.
        places: its channels, all of them where the whole tensor is meant.
        before: the reference's moments along the fault's axis.
        after: the variant's.
    """
    rows = list(places)
    total = int(after.items[rows].max())
    low, high = float(before.bottom[rows].min()), float(before.top[rows].max())
    theirs = f"the reference lies between {low:.4g} and {high:.4g}" if low < high else f"the reference is {low:.4g}"
    many = len(fault.channels) > 1
    if fault.kind is FaultKind.NONFINITE:
        seen = f"{'have' if many else 'has'} NaN or infinite values in {fault.items:,} of {total:,} items"
        theirs = "the reference has none"
    elif fault.kind is FaultKind.ALL_ZERO:
        seen = f"{'are' if many else 'is'} zero in all of {total:,} items"
    elif fault.kind is FaultKind.CONSTANT and bool(after.still[rows].all()):
        value = f" ({float(after.top[rows[0]]):.4g})" if _is_flat(rows, after) else ""
        seen = f"{'are' if many else 'is'} the same{value} in all of {total:,} items"
    elif fault.kind is FaultKind.CONSTANT:
        seen = f"hardly {'vary' if many else 'varies'} over {total:,} items"
    else:
        share = np.maximum(after.at_top, after.at_bottom)[rows] / np.maximum(after.values[rows], 1)
        often = f"{'up to ' if many else ''}{float(share.max()):.0%}"
        seen = f"{'stand' if many else 'stands'} at an extreme value {often} of the time, over {total:,} items"
    return replace(fault, words=f"{name_channels(fault)} {seen}, where {theirs}")


def name_channels(fault: Fault) -> str:
    """The tensor, or its channels, as the subject of a sentence."""
    if fault.whole:
        return f"output '{fault.tensor}'"
    named = ", ".join(str(channel) for channel in fault.channels[:MOST_NAMED])
    if len(fault.channels) > MOST_NAMED:
        named += f" and {len(fault.channels) - MOST_NAMED} more"
    noun = "channel" if len(fault.channels) == 1 else "channels"
    return f"{noun} {named} of {fault.of} (axis {fault.axis}) of output '{fault.tensor}'"


def _is_flat(rows: Sequence[int], after: ChannelMoments) -> bool:
    """Whether all channels hold the one value at every position."""
    return float(after.bottom[list(rows)].min()) == float(after.top[list(rows)].max())
