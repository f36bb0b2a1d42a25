"""A calibration as a flat table of arrays, to be stored, and back without losing a bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from assay.calibrate.channels import compose_channels
from assay.calibrate.channels import exact_sums as exact_channels
from assay.calibrate.counts import make_counts
from assay.calibrate.exact import TOTAL_UNITS
from assay.calibrate.layout import BINS, LIMBS
from assay.calibrate.statistics import compose, exact_sums
from assay.core.calibration import (
    COARSE_BINS,
    GROUPS,
    Calibration,
    ChannelStatistics,
    ItemSketch,
    TensorStatistics,
)
from assay.core.errors import StoreError
from assay.core.tensor import Array

LAYOUT = 2
"""Version of the arrays; the first had no exact sums, items, groups, channels and sketch, and no number."""
SUM_BYTES = 4 * LIMBS

Arrays = Mapping[str, Array]


def pack(calibration: Calibration) -> dict[str, Array]:
    """Statistics as arrays without objects in them; of histograms only the bins that are not empty."""
    statistics = list(calibration.tensors.values())
    arrays: dict[str, Array] = {
        "layout": np.array([LAYOUT], np.int64),
        "data": np.array([calibration.data], np.str_),
        "items": np.array([calibration.items], np.int64),
        "names": np.array(list(calibration.tensors), np.str_),
        "limits": np.array([(s.low, s.high) for s in statistics], np.float64).reshape(-1, 2),
        "counts": np.array([(s.count, s.zeros, s.nonfinite, s.items) for s in statistics], np.int64).reshape(-1, 4),
        "sums": _pack_sums([exact_sums(s) for s in statistics]),
        **_pack_sparse("histogram", [s.histogram for s in statistics]),
        "grouped": np.array([s.groups is not None for s in statistics], np.bool_),
        **_pack_sparse("groups", [s.groups.T for s in statistics if s.groups is not None]),
    }
    return arrays | _pack_channels([s.channels for s in statistics]) | _pack_sketch(calibration.sketch)


def unpack(arrays: Arrays) -> Calibration:
    """Statistics from arrays.

    Raises:
        StoreError: the arrays are of another version, or not all there.
    """
    layout = arrays["layout"].tolist() if "layout" in arrays else [1]
    if layout != [LAYOUT]:
        message = f"stored calibration statistics have layout {layout[0]}; this version reads {LAYOUT}"
        raise StoreError(message, "calibrate again, into another folder")
    try:
        return _unpack(arrays)
    except (KeyError, IndexError, ValueError) as err:
        raise StoreError(
            f"stored calibration statistics are damaged: {err}", "calibrate again, into another folder"
        ) from err


def _unpack(arrays: Arrays) -> Calibration:
    """Statistics from arrays of this version."""
    histograms = iter(_unpack_sparse("histogram", arrays, (BINS,)))
    groups = iter(_unpack_sparse("groups", arrays, (COARSE_BINS, GROUPS)))
    channels = _unpack_channels(arrays)
    sums = _unpack_sums(arrays["sums"])
    tensors: dict[str, TensorStatistics] = {}
    for index, name in enumerate(arrays["names"].tolist()):
        low, high = (float(value) for value in arrays["limits"][index].tolist())
        count, zeros, nonfinite, items = (int(value) for value in arrays["counts"][index].tolist())
        tensors[name] = compose(
            histogram=next(histograms),
            limits=(low, high),
            counts=(count, zeros, nonfinite, items),
            sums=sums[index],
            groups=next(groups).T if arrays["grouped"][index] else None,
            channels=channels.get(index),
        )
    sketch = _unpack_sketch(arrays)
    return Calibration(tensors=tensors, data=str(arrays["data"][0]), items=int(arrays["items"][0]), sketch=sketch)


def _pack_sums(sums: Sequence[tuple[int, ...]]) -> NDArray[np.uint8]:
    """Exact sums as two's complements, ``[T, 4, bytes]``."""
    content = b"".join(units.to_bytes(SUM_BYTES, "little", signed=True) for row in sums for units in row)
    return np.frombuffer(content, np.uint8).reshape(-1, len(TOTAL_UNITS), SUM_BYTES)


def _unpack_sums(packed: Array) -> list[tuple[int, int, int, int]]:
    """Exact sums of every tensor."""
    rows = []
    for row in packed:
        first, second, third, fourth = (int.from_bytes(units.tobytes(), "little", signed=True) for units in row)
        rows.append((first, second, third, fourth))
    return rows


def _pack_sparse(name: str, histograms: Sequence[NDArray[np.int64]]) -> dict[str, Array]:
    """Bins that are not empty, one histogram after the other."""
    filled = [np.flatnonzero(histogram) for histogram in histograms]
    counts = [histogram.reshape(-1)[bins] for histogram, bins in zip(histograms, filled, strict=True)]
    return {
        f"{name}_bins": np.concatenate([np.zeros(0, np.int64), *filled]).astype(np.int32),
        f"{name}_counts": np.concatenate([np.zeros(0, np.int64), *counts]),
        f"{name}_lengths": np.array([len(bins) for bins in filled], np.int64),
    }


def _unpack_sparse(name: str, arrays: Arrays, shape: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """Histograms of one shape."""
    ends = np.cumsum(arrays[f"{name}_lengths"]).tolist()
    bins, counts = arrays[f"{name}_bins"], arrays[f"{name}_counts"]
    histograms = []
    for begin, end in zip([0, *ends], ends, strict=False):
        histogram = make_counts(*shape)
        histogram.reshape(-1)[bins[begin:end]] = counts[begin:end]
        histograms.append(histogram)
    return histograms


def _pack_channels(channels: Sequence[ChannelStatistics | None]) -> dict[str, Array]:
    """Channels of the tensors that have some, one tensor after the other."""
    known = [(index, part) for index, part in enumerate(channels) if part is not None]
    rows = [np.stack([part.low, part.high]) for _, part in known]
    sums = [exact_channels(part) for _, part in known]
    return {
        "channels_of": np.array([(i, part.axis, len(part.count)) for i, part in known], np.int64).reshape(-1, 3),
        "channels_limits": np.concatenate([np.zeros((2, 0)), *rows], axis=1),
        "channels_count": np.concatenate([np.zeros(0, np.int64), *(part.count for _, part in known)]),
        "channels_sums": np.concatenate([np.zeros((2, 0, LIMBS), np.uint32), *sums], axis=1),
    }


def _unpack_channels(arrays: Arrays) -> dict[int, ChannelStatistics]:
    """Channels by index of the tensor."""
    channels: dict[int, ChannelStatistics] = {}
    begin = 0
    for index, axis, size in arrays["channels_of"].tolist():
        part = slice(begin, begin + size)
        low, high = np.asarray(arrays["channels_limits"][:, part], np.float64)
        count = np.asarray(arrays["channels_count"][part], np.int64)
        sums = np.asarray(arrays["channels_sums"][:, part], np.uint32)
        channels[index] = compose_channels(axis, low, high, count, sums)
        begin += size
    return channels


def _pack_sketch(sketch: ItemSketch | None) -> dict[str, Array]:
    """Nothing where there is none."""
    if sketch is None:
        return {}
    return {
        "sketch_hashes": sketch.hashes,
        "sketch_repeats": sketch.repeats,
        "sketch_positions": sketch.positions,
        "sketch_names": np.array(sketch.names, np.str_),
        "sketch_features": sketch.features,
    }


def _unpack_sketch(arrays: Arrays) -> ItemSketch | None:
    """The sketch, where one was packed."""
    if "sketch_hashes" not in arrays:
        return None
    return ItemSketch(
        hashes=np.asarray(arrays["sketch_hashes"], np.uint64),
        repeats=np.asarray(arrays["sketch_repeats"], np.int64),
        positions=np.asarray(arrays["sketch_positions"], np.int64),
        names=tuple(arrays["sketch_names"].tolist()),
        features=np.asarray(arrays["sketch_features"], np.float32),
    )
