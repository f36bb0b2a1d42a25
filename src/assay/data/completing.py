"""What is added to items after they were read: inputs that follow from others, and targets that are what is fed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from assay.core.session import Batch
from assay.core.tensor import Array, Feeds, Signature
from assay.data.derived import derive_inputs

Label = Callable[[Feeds], Array | None]
"""Makes targets ``[rows, t]`` out of feeds; None where it cannot."""
NOT_SCORED = -1


@dataclass(frozen=True, slots=True)
class Completion:
    """What is added to items.

    Attributes:
        signature: of the model, whose inputs are wanted.
        label: makes targets, where the data has none for each token; None where labels are stored only.
    """

    signature: Signature
    label: Label | None = None

    def complete(self, batch: Batch) -> Batch:
        """The items with all inputs of the model, and with targets where they can be made."""
        feeds = derive_inputs(batch.feeds, self.signature)
        return replace(batch, feeds=feeds, targets=self._find_targets(batch, feeds))

    def _find_targets(self, batch: Batch, feeds: Feeds) -> Array | None:
        """Stored targets with an entry for each token, filled up as the tokens were; else what is fed."""
        made = None if self.label is None else self.label(feeds)
        stored = batch.targets
        if made is None:
            return stored
        if stored is None or stored.ndim == 1:
            return made if batch.rows == 1 else made.reshape(batch.size, batch.rows, -1)
        short = made.shape[-1] - stored.shape[-1]
        if short <= 0:
            return stored
        return np.pad(stored, [(0, 0)] * (stored.ndim - 1) + [(0, short)], constant_values=NOT_SCORED)
