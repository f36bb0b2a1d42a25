"""A warning before a metric over classes is trusted: labels that are all the same."""

from __future__ import annotations

import numpy as np

from assay.core.requirements import CLASS_COLUMN
from assay.core.session import Scores

LEAST_ITEMS = 10
"""Fewer may well be of one class."""


def describe_classes(reference: Scores | None) -> list[str]:
    """Warnings in words; none where labels differ, are no classes, or are few.

    Args:
        reference: item scores of the FP32 model, in the evaluation order as far as it was scored.
    """
    labels = None if reference is None else reference.columns.get(CLASS_COLUMN)
    if labels is None or len(labels) < LEAST_ITEMS:
        return []
    different = np.unique(labels)
    if len(different) > 1:
        return []
    told = f"all {len(labels):,} labels that were looked at are {different[0]}: nothing here tells of any other class"
    return [f"{told}; give evaluation items of every class"]
