"""What a release says of items: its outputs, and what counts as positive under the artifact that ran them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from assay.core.tensor import Array, Feeds
from assay.measure.tasks.table import load_task
from assay.measure.tasks.thresholds import find_positive
from assay.studies.loaded import LoadedRelease

POSITIVE = "positive"
"""Name of the array beside the model's outputs; an output of that name is left as it is."""


def run_batch(release: LoadedRelease, feeds: Feeds) -> Mapping[str, Array]:
    """Outputs of a batch, all of one artifact; where the study found thresholds, with what counts as positive.

    ``positive`` is ``[n] int64`` of two classes, ``[n, labels]`` of labels, 1 or 0.

    Raises:
        RunFailed: every artifact of the chain failed.
    """
    while True:
        began = release.active
        outputs = release.run(feeds)
        # An artifact that failed within the batch has another threshold than the one that took over.
        if release.active == began:
            break
    values = [one.value for one in release.thresholds]
    if not values or POSITIVE in outputs:
        return outputs
    positive = find_positive(load_task(release.manifest.task).score(outputs, None), values)
    return {**outputs, POSITIVE: positive.astype(np.int64)}
