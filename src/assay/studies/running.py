"""A whole file of items through a release, item by item in bounded batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import RequestError
from assay.core.tensor import Outputs
from assay.data.open import open_dataset
from assay.data.source import DataSource
from assay.studies.files import write_arrays
from assay.studies.joining import join_calls
from assay.studies.kept_tokenizer import find_tokenizer
from assay.studies.loaded import LoadedRelease, split
from assay.studies.positive import run_batch
from assay.studies.progress import Progress
from assay.studies.sample import count_feeds

BATCH = 32


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What a run of a release did.

    Attributes:
        trial: id of the trial whose artifact ran last.
        failures: trial id -> why it was passed over.
        thresholds: what counts as positive under that artifact; none where the task's own are kept.
    """

    items: int
    trial: str
    output: str
    failures: Mapping[str, str]
    thresholds: tuple[float, ...] = ()


def run_file(folder: Path, source: str, destination: Path, preprocess: bool, progress: Progress) -> RunOutcome:  # noqa: FBT001 - a flag of the command line, passed on
    """Run all items of a file and write all outputs, and what counts as positive where the study found thresholds.

    Args:
        folder: the release.
        source: items, one array per model input.
        destination: the ``.npz`` to write, one array per model output.
        preprocess: prepare stored arrays as the study declared it; texts always are.
        progress: is told of every item.

    Raises:
        DataError: the items do not fit the model.
        RequestError: the study declared no preprocessing, or the destination is no ``.npz``.
        RunFailed: every artifact of the chain failed.
        StoreError: the folder is no release, or the output cannot be written.
    """
    if destination.suffix != ".npz":
        raise RequestError(f"{destination} does not end in .npz", "outputs are written as an .npz file")
    with LoadedRelease(folder) as release:
        declared = find_tokenizer(release.manifest.preprocess, folder)
        if preprocess and declared is None:
            raise RequestError("the study declared no preprocessing", "leave --preprocess out")
        textual = declared is not None and declared.text is not None
        declared = declared if preprocess or textual else None
        dataset = open_dataset(DataSource(path=source, preprocess=declared, apart=True), release.signature)
        progress.start(f"running {release.active}", len(dataset))
        calls: list[Outputs] = []
        sizes: list[int] = []
        places: list[NDArray[np.int64]] = []
        for batch in dataset.batches(BATCH):
            for feeds in split(batch.feeds, release.call_items):
                calls.append(run_batch(release, feeds))
                sizes.append(count_feeds(feeds))
            places.append(batch.start + np.arange(batch.size) if batch.places is None else batch.places)
            progress.advance(batch.size)
        progress.finish()
        order = np.argsort(np.concatenate(places))
        outputs = join_calls(calls, sizes, release.signature, order)
        write_arrays(destination, outputs)
        values = tuple(one.value for one in release.thresholds)
        return RunOutcome(len(dataset), release.active, str(destination), dict(release.failures), values)
