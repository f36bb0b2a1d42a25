"""The order in which evaluation items are used, and which of them are for searching."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import RequestError

SEARCH_SHARE = 0.2
"""Share of the items on which candidates are compared with each other."""
MOST_SEARCH = 1_000
"""More search items would order the candidates hardly better."""
SEED = 0
"""Of the order: the same in every study of the same data, so that stored scores fit each other."""


@dataclass(frozen=True, slots=True)
class Split:
    """Evaluation items in random order: first those for searching, then those for certifying.

    What is learned from the search items chooses the candidates that are tested, and their order. The certification
    items have no part in that, so a certificate on them holds for whichever candidate was chosen.

    Attributes:
        order: ``[n] int64``, indices in the evaluation data.
        search: how many of them are for searching.
    """

    order: NDArray[np.int64]
    search: int

    @property
    def certification(self) -> int:
        """Items for certifying."""
        return len(self.order) - self.search

    def __len__(self) -> int:
        """All items."""
        return len(self.order)


def split_items(count: int, least_search: int | None = None) -> Split:
    """The split of so many evaluation items; a random order, since many sources are sorted by class.

    Args:
        count: of all items.
        least_search: items for searching, at least, where more than the usual share are wanted.

    Raises:
        RequestError: no item is left for certifying.
    """
    order = np.random.default_rng(SEED).permutation(count).astype(np.int64)
    search = max(1, least_search or 1, min(MOST_SEARCH, round(count * SEARCH_SHARE)))
    if least_search is not None and search >= count:
        message = f"tuning_items = {least_search}, but there are {count} evaluation items: none is left to certify on"
        raise RequestError(message, "give fewer, or more evaluation items")
    return Split(order, search)
