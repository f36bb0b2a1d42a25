"""All labels of a source, where they can be read without its items."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from assay.core.tensor import Array
from assay.data.listing import list_images
from assay.data.open import SourceKind, settle_kind
from assay.data.source import DataSource


def read_labels(source: DataSource) -> Array | None:
    """Labels ``[n, ...]`` of an ``.npz`` file or a folder of images; None of other sources, and where there are none.

    The source was opened before: what else is wrong with it was said then.
    """
    kind, source = settle_kind(source)
    labels: Array | None = None
    if kind is SourceKind.NPZ:
        with np.load(source.path, allow_pickle=False) as archive:
            labels = archive[source.target] if source.target in archive.files else None
    elif kind is SourceKind.FOLDER:
        listed = [image.label for image in list_images(Path(source.path))]
        known = [label for label in listed if label is not None]
        labels = np.array(known, np.int64) if len(known) == len(listed) else None
    return labels if labels is None or source.limit is None else labels[: source.limit]
