"""Guards on the outputs of an artifact: dead, saturated and broken channels, seen while items are scored anyway.

A channel is a place along the second axis or along the last one, so that class scores ``[n, C]``, feature maps
``[n, C, H, W]`` and boxes ``[n, cells, C]`` all have theirs; and the whole output counts as one. Every rule holds the
artifact beside the reference over the same items and is made to stay silent where rounding to a few hundred steps, or
an item or two, could explain what is seen: see ``find_faults``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.core.fault import Fault, FaultKind
from assay.core.tensor import Array, Outputs
from assay.measure.guard_moments import ChannelMoments, Floats
from assay.measure.guard_words import describe_fault

GUARD, ROUNDED = "guard.", "guard.rounded"
"""How the packed arrays are called."""
WHOLE = 0
"""The axis of the items, along which a tensor is one channel."""
MOST_CHANNELS = 1 << 15
"""An axis with more is not watched channel by channel."""
CHUNK_VALUES = 1 << 22
"""Values looked at together."""

LEAST_LIVE = 8.0
"""Items that the reference's variation must be spread over before its absence is a fault."""
LEAST_ITEMS = 16
FLAT = 1 / 16
"""Part of the reference's standard deviation at which a channel that still varies is as good as constant."""
NOTICEABLE = 1 / 8
"""A channel counts whose reach is at least this part of its peers': rounding can silence smaller ones."""
LEAST_SHARE = 0.2
"""Of the values, stuck at one extreme."""
TIMES = 4.0
"""So much larger than the reference's share."""
CUT = 0.1
"""Part of the reference's reach by which a rail lies inside it."""
MOVED = 0.015
"""Part of the reference's reach by which the mean then moves: a tenth of a standard deviation, of a thousand items."""
PUSHED = 0.1
"""Part of the reference's reach by which the mean moves towards a rail at the end of it."""

DEAD = (FaultKind.ALL_ZERO, FaultKind.CONSTANT)
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class GuardSummary:
    """What a guard has seen: tensor -> axis -> moments of the channels along that axis.

    Attributes:
        rounded: tensors of whole numbers, in which a frequent extreme means nothing.
    """

    tensors: Mapping[str, Mapping[int, ChannelMoments]]
    rounded: frozenset[str] = frozenset()

    def pack(self) -> dict[str, Array]:
        """As arrays by name, for a file."""
        packed: dict[str, Array] = {ROUNDED: np.array(sorted(self.rounded), np.str_)}
        for tensor, views in self.tensors.items():
            packed |= {f"{GUARD}{axis}.{tensor}": moments.pack() for axis, moments in views.items()}
        return packed

    @classmethod
    def unpack(cls, arrays: Mapping[str, Array]) -> GuardSummary | None:
        """From arrays by name, whatever else is among them; None where no guard has watched."""
        if ROUNDED not in arrays:
            return None
        tensors: dict[str, dict[int, ChannelMoments]] = {}
        for name, table in arrays.items():
            if name.startswith(GUARD) and name != ROUNDED:
                axis, tensor = name.removeprefix(GUARD).split(".", 1)
                tensors.setdefault(tensor, {})[int(axis)] = ChannelMoments.unpack(table.astype(np.float64))
        return cls(tensors, frozenset(str(name) for name in arrays[ROUNDED]))


class OutputGuard:
    """Watches outputs go by, at constant memory.

    An axis whose length changes is watched no longer. Outputs whose first axis is not the items (boxes after a
    suppression) count as one item per call. Texts and empty outputs are passed over.
    """

    def __init__(self) -> None:
        self._seen: dict[str, dict[int, ChannelMoments]] = {}
        self._uneven: set[tuple[str, int]] = set()
        self._rounded: set[str] = set()

    def add(self, outputs: Outputs, size: int) -> None:
        """Count the outputs of a call for ``size`` items in."""
        for name, value in outputs.items():
            if not value.size or not _is_real(value):
                continue
            if value.dtype.kind in "iub":
                self._rounded.add(name)
            rows = value if value.ndim and len(value) == size else value[np.newaxis]
            step = max(1, CHUNK_VALUES * len(rows) // value.size)
            for start in range(0, len(rows), step):
                self._add(name, _take_numbers(rows[start : start + step]))

    def summarise(self) -> GuardSummary:
        """What was seen so far."""
        return GuardSummary(self._seen, frozenset(self._rounded))

    def _add(self, name: str, rows: Array) -> None:
        """Count items ``[n, ...]`` in, along every axis that is watched."""
        known = self._seen.setdefault(name, {})
        for axis in _list_axes(rows.ndim):
            channels = 1 if axis == WHOLE else rows.shape[axis]
            if axis in known and len(known[axis].items) != channels:
                del known[axis]
                self._uneven.add((name, axis))
            if channels > MOST_CHANNELS or (name, axis) in self._uneven:
                continue
            moments = known.setdefault(axis, ChannelMoments.empty(channels))
            moved = rows[..., np.newaxis] if axis == WHOLE else np.moveaxis(rows, axis, -1)
            moments.add(moved.reshape(len(rows), -1, channels))


def _list_axes(rank: int) -> tuple[int, ...]:
    """Axes with channels, and the items' own for the whole."""
    return tuple(dict.fromkeys((WHOLE, *((1, rank - 1) if rank > 1 else ()))))


def _is_real(value: Array) -> bool:
    """Whether an array holds real numbers; bfloat16 comes as an extension type, whose kind is not "f"."""
    return value.dtype.kind in "fiub" or value.dtype.name == "bfloat16"


def _take_numbers(value: Array) -> Array:
    """The same numbers in a type that NumPy reduces."""
    if value.dtype.kind == "f" and value.dtype != np.float16:
        return value
    return value.astype(np.float64 if value.dtype.kind in "iu" else np.float32)


def find_faults(reference: GuardSummary, variant: GuardSummary) -> tuple[Fault, ...]:
    """What is broken in a variant and healthy in the reference, over the same items.

    - non-finite: an item with NaN or infinity where the reference has none in that channel.
    - constant, all zero: over at least 16 items, though the reference's channel varies there, spread over 8 items or
      more, by at least an eighth of what its peers vary by; or zero though the reference is far from it in every item.
      A sixteenth of the reference's standard deviation, or less, is as good as constant.
    - saturated: a fifth of the values and more stand at one extreme, four times the reference's share, and either the
      reference goes on beyond it and its mean lies beyond, or the mean has been pushed towards that end; or half as
      many stand at each end, beyond both of which the reference goes on.

    Peers are all channels along the axis, and their reach is the median. Among channels whose values lie within 0 and
    1, as probabilities do, it is the largest: a class that never shows may well round to zero.

    Args:
        reference: of the float model.
        variant: of an artifact, over the same items in the same order.

    Returns:
        By tensor in the order of the model, then by kind; one of a kind for each tensor.
    """
    found: list[Fault] = []
    for name, views in variant.tensors.items():
        rounded = name in variant.rounded or name in reference.rounded
        faults: list[Fault] = []
        for axis in sorted(views.keys() & reference.tensors.get(name, {}).keys()):
            before, after = reference.tensors[name][axis], views[axis]
            if before.items.shape != after.items.shape:
                continue
            for kind, guilty in _judge(before, after, rounded=rounded).items():
                # A dead tensor is told as a whole; what else there is shows in its channels, where it has any.
                if guilty.any() and (axis != WHOLE or kind in DEAD or len(views) == 1):
                    faults.append(_make_fault(kind, name, axis, guilty, before, after))
        found += _choose_faults(faults)
    return tuple(found)


def _choose_faults(faults: Sequence[Fault]) -> list[Fault]:
    """Of a tensor's faults along all axes those that tell most: one of a kind, along the axis that narrows it most.

    A tensor that is dead as a whole is told as that alone.
    """
    dead = [fault for fault in faults if fault.whole and fault.kind in DEAD]
    if dead:
        return dead[:1]
    chosen: list[Fault] = []
    for kind in FaultKind:
        alike = [fault for fault in faults if fault.kind is kind]
        chosen += sorted(alike, key=_measure_share)[:1]
    return chosen


def _measure_share(fault: Fault) -> float:
    """Part of the tensor that is guilty."""
    return 1.0 if fault.whole else len(fault.channels) / fault.of


def _make_fault(
    kind: FaultKind, tensor: str, axis: int, guilty: Flags, before: ChannelMoments, after: ChannelMoments
) -> Fault:
    """A fault of the guilty channels; all of them are the whole."""
    places = [int(place) for place in np.flatnonzero(guilty)]
    channels = () if len(places) == len(guilty) else tuple(places)
    items = int(after.broken[places].max() if kind is FaultKind.NONFINITE else after.items[places].max())
    fault = Fault(kind, tensor, axis, channels, len(guilty), items, words="")
    return describe_fault(fault, places, before, after)


def _judge(before: ChannelMoments, after: ChannelMoments, *, rounded: bool) -> Mapping[FaultKind, Flags]:
    """Guilty channels by kind; each channel has one kind at most."""
    broken = (after.broken > 0) & (before.broken == 0)
    enough = np.minimum(before.items - before.broken, after.items - after.broken) >= LEAST_ITEMS
    lively = (before.live >= LEAST_LIVE) & _stands_out(before, before.reach)
    size = np.maximum(np.abs(before.top), np.abs(before.bottom))
    never_zero = ((before.low[0] > 0) | (before.high[1] < 0)) & _stands_out(before, size)
    zero = after.still & (after.top == 0) & (after.bottom == 0)
    dead = enough & ~broken & (after.still | _is_flat(before, after)) & lively
    empty = enough & ~broken & zero & (lively | never_zero)
    stuck = enough & ~broken & ~dead & lively & _is_stuck(before, after)
    return {
        FaultKind.NONFINITE: broken,
        FaultKind.ALL_ZERO: empty,
        FaultKind.CONSTANT: dead & ~zero,
        FaultKind.SATURATED: stuck & (not rounded),
    }


def _is_flat(before: ChannelMoments, after: ChannelMoments) -> Flags:
    """Whether hardly anything is left of how a channel varies."""
    theirs = before.deviation
    return np.asarray((after.deviation <= FLAT * theirs).all(axis=0) & (theirs > 0).any(axis=0))


def _stands_out(moments: ChannelMoments, reach: Floats) -> Flags:
    """Whether a channel's reach is noticeable beside its peers'."""
    within = (moments.bottom >= 0) & (moments.top <= 1)
    yard = np.zeros_like(reach)
    for group, ruler in ((within, np.max), (~within, np.median)):
        peers = reach[group & (reach > 0) & np.isfinite(reach)]
        if peers.size:
            yard[group] = ruler(peers)
    return np.asarray((reach > 0) & (reach >= NOTICEABLE * yard))


def _is_stuck(before: ChannelMoments, after: ChannelMoments) -> Flags:
    """Whether many values stand at an extreme at which the reference's do not."""
    reach = np.where(before.reach > 0, before.reach, np.inf)
    moved = (after.mean - before.mean) / reach
    stuck = np.zeros(len(reach), np.bool_)
    with np.errstate(invalid="ignore"):
        rails: Sequence[tuple[Floats, Floats, Floats, Floats]] = (
            (after.at_top, before.at_top, (before.top - after.top) / reach, moved),
            (after.at_bottom, before.at_bottom, (after.bottom - before.bottom) / reach, -moved),
        )
    both = np.ones(len(reach), np.bool_)
    for mine, theirs, cut, outwards in rails:
        share = mine / np.maximum(after.values, 1)
        often = share >= TIMES * theirs / np.maximum(before.values, 1)
        one_sided = ((cut >= CUT) & (outwards <= -MOVED)) | (outwards >= PUSHED)
        stuck |= often & (share >= LEAST_SHARE) & one_sided
        both &= often & (share >= LEAST_SHARE / 2) & (cut >= CUT)
    return stuck | both
