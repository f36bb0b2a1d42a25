"""Items in words, where the data are words."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from assay.core.session import Dataset


@runtime_checkable
class Told(Protocol):
    """What a `Dataset` or a reader may have beside its streams."""

    def tell(self, item: int) -> str:
        """An item as a person reads it; empty where there are no words for it."""
        ...


def tell_item(dataset: Dataset, item: int) -> str:
    """An item of any data set as a person reads it; empty where there are no words for it."""
    return dataset.tell(item) if isinstance(dataset, Told) else ""
