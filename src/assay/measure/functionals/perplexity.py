"""Perplexity of a language model over documents; lower is better."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import MeasurementError
from assay.measure.functionals.binary import require
from assay.measure.functionals.functional import Records
from assay.measure.functionals.ratio import influence_ratio, weigh

LEAST_DOCUMENTS = 200
MOST_NATS = 50.0
"""A token's loss counts as this at most, also where it is NaN: perplexity stays a number."""


class Perplexity:
    """``exp(sum of losses / sum of tokens)``, from the record ``likelihood``.

    The record is ``[n, 2]``: the summed negative log-likelihood of a document in nats, and the number of its tokens
    that were predicted. Items are documents, or windows of them: tokens of one text are not independent.
    """

    span: float = math.inf
    groups: int = 0
    libraries: tuple[str, ...] = ()

    def check(self, records: Records) -> None:
        """Refuse too few documents, or documents without tokens.

        Raises:
            MeasurementError: naming how many there are and how many are needed.
        """
        empty = np.flatnonzero(~(records[:, 1] >= 1))
        if empty.size:
            message = f"perplexity: document {int(empty[0])} has {records[int(empty[0]), 1]:g} predicted tokens"
            raise MeasurementError(message, "leave out documents of fewer than two tokens")
        require("perplexity", "documents", len(records), LEAST_DOCUMENTS)

    def value(self, records: Records) -> float:
        """The perplexity."""
        return math.exp(weigh(*_read_losses(records))[0])

    def influence(self, records: Records) -> NDArray[np.float64]:
        """The perplexity times the influence on the loss per token, ``[n]``."""
        return self.value(records) * influence_ratio(*_read_losses(records))

    def worst(self, records: Records) -> float:
        """A document of mean length whose loss per token doubles, or one as far off as the farthest is."""
        rate, _ = weigh(*_read_losses(records))
        return max(self.value(records) * rate, float(np.abs(self.influence(records)).max()))

    def right(self, records: Records) -> NDArray[np.bool_] | None:
        """A document is neither right nor wrong."""
        del records
        return None


def _read_losses(records: Records) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Loss and tokens of each document."""
    tokens = records[:, 1]
    most = MOST_NATS * tokens
    return np.clip(np.where(np.isnan(records[:, 0]), most, records[:, 0]), 0.0, most), tokens
