"""Features of single items, from what observing them gave anyway."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from assay.calibrate.channels import sum_channels, view_channels
from assay.calibrate.floats import is_float, to_observed
from assay.calibrate.kernels import Kernels
from assay.calibrate.sketch import is_itemised
from assay.calibrate.statistics import ItemValues
from assay.core.session import Batch
from assay.core.tensor import Array

KINDS = ("mean", "rms", "low", "high")
LEAST_CHANNELS, MOST_CHANNELS = 2, 16


class Features:
    """Mean, root mean square, least and greatest value of each tensor, and the first two of each input's channels.

    Args:
        tensors: names of the observed tensors.
        inputs: names of the model's inputs.
        kernels: the hot loops.
    """

    def __init__(self, tensors: tuple[str, ...], inputs: frozenset[str], kernels: Kernels) -> None:
        self._tensors = tensors
        self._inputs = inputs
        self._kernels = kernels
        self._channels: dict[str, tuple[int, int]] | None = None

    def compute(self, rows: Mapping[str, ItemValues], part: Batch) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """Names, the same in every call, and values ``[n, F]``; NaN where an item has no value.

        Args:
            rows: what observing the batch gave, by tensor.
            part: the batch.
        """
        blocks = np.full((part.size, len(self._tensors), len(KINDS)), np.nan)
        counts = np.zeros((part.size, len(self._tensors), 1))
        for index, name in enumerate(self._tensors):
            row = rows[name]
            if row.itemised and row.size:
                blocks[:, index] = row.numbers
                counts[:, index, 0] = row.size - row.counts[:, 0]
        blocks[counts[..., 0] == 0] = np.nan
        blocks[..., :2] /= np.maximum(counts, 1)
        blocks[..., 1] = np.sqrt(blocks[..., 1])
        columns = [blocks.reshape(part.size, -1)]
        columns += [self._describe_channels(name, part) for name in self._list_channels(part)]
        return self.names, np.concatenate(columns, axis=1).astype(np.float32)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in the order of their columns."""
        names = [f"{name}:{kind}" for name in self._tensors for kind in KINDS]
        for name, (_, channels) in (self._channels or {}).items():
            names += [f"{name}:{kind}[{channel}]" for kind in KINDS[:2] for channel in range(channels)]
        return tuple(names)

    def select(self, itemised: frozenset[str]) -> frozenset[str]:
        """Names of the features that hold for a model of whose tensors only these have an item axis."""
        dropped = {f"{name}:{kind}" for name in self._tensors if name not in itemised for kind in KINDS}
        return frozenset(self.names) - dropped

    def _list_channels(self, part: Batch) -> dict[str, tuple[int, int]]:
        """Axis and number of channels of the inputs that have some, as the first batch shows them."""
        if self._channels is None:
            found = {name: find_channels(part.feeds[name], part.size) for name in sorted(self._inputs & {*part.feeds})}
            self._channels = {name: channels for name, channels in found.items() if channels is not None}
        return self._channels

    def _describe_channels(self, name: str, part: Batch) -> NDArray[np.float64]:
        """Mean and root mean square of an input's channels, ``[n, 2 C]``."""
        axis, channels = self._list_channels(part)[name]
        values = part.feeds[name]
        if find_channels(values, part.size) != (axis, channels):
            return np.full((part.size, 2 * channels), np.nan)
        parts = view_channels(to_observed(values), axis, itemised=True)
        means: NDArray[np.float64] = sum_channels(self._kernels, parts) / max(1, parts.shape[1] * parts.shape[3])
        means[:, 1] = np.sqrt(means[:, 1])
        return means.reshape(part.size, -1)


def find_channels(values: Array, items: int) -> tuple[int, int] | None:
    """Axis and number of the channels of an input: the second axis or else the last, if it is 2 to 16 long."""
    if not is_float(values) or not is_itemised(values, items):
        return None
    for axis in {1, values.ndim - 1}:
        if 0 < axis < values.ndim and LEAST_CHANNELS <= values.shape[axis] <= MOST_CHANNELS:
            return axis, values.shape[axis]
    return None
