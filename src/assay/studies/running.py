"""A whole file of items through a release, item by item in bounded batches."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import RequestError
from assay.core.session import Dataset
from assay.core.tensor import Array, Outputs, Signature
from assay.data.open import open_dataset
from assay.data.source import DataSource
from assay.studies.files import check_destination, write_arrays
from assay.studies.joining import find_offsets, join_calls
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
        offsets: output -> array beside it that tells which of its rows are whose; of outputs that have not one row for
            every item.
        call_items: items that share an entry of the offsets; 1 unless the model fixes a larger batch.
    """

    items: int
    trial: str
    output: str
    failures: Mapping[str, str]
    thresholds: tuple[float, ...] = ()
    offsets: Mapping[str, str] = field(default_factory=dict)
    call_items: int = 1


@dataclass(frozen=True, slots=True)
class Calls:
    """What the calls over all items gave.

    Attributes:
        outputs: of each call.
        sizes: items of each call.
        order: ``[n]``, place of every item among those of the calls.
        signature: of the model.
    """

    outputs: list[Outputs]
    sizes: list[int]
    order: NDArray[np.int64]
    signature: Signature

    def find_offsets(self) -> dict[str, NDArray[np.int64]]:
        """Offsets of outputs that have not one row for every item."""
        return find_offsets(self.outputs, self.sizes, self.signature, self.order)

    def join(self) -> dict[str, Array]:
        """All outputs as of one call, and the offsets beside those that need them."""
        offsets = {name_offsets(name, self.outputs[0]): values for name, values in self.find_offsets().items()}
        return {**join_calls(self.outputs, self.sizes, self.signature, self.order), **offsets}


def run_file(folder: Path, source: str, destination: Path, preprocess: bool, progress: Progress) -> RunOutcome:  # noqa: FBT001 - a flag of the command line, passed on
    """Run all items of a file and write all outputs, and what counts as positive where the study found thresholds.

    An output that has not one row for every item, such as the boxes that were found, is written with an array
    ``NAME.offsets``, ``[n + 1] int64``: rows ``offsets[i]`` to ``offsets[i + 1]`` are those of item i. Such models run
    item by item; where one fixes a larger batch, the offsets are those of its calls.

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
        StoreError: the folder is no release, or the output cannot be written; before anything runs, where that can be
            known.
    """
    if destination.suffix != ".npz":
        raise RequestError(f"{destination} does not end in .npz", "outputs are written as an .npz file")
    check_destination(destination)
    with LoadedRelease(folder) as release:
        declared = find_tokenizer(release.manifest.preprocess, folder)
        if preprocess and declared is None:
            raise RequestError("the study declared no preprocessing", "leave --preprocess out")
        textual = declared is not None and declared.text is not None
        declared = declared if preprocess or textual else None
        dataset = open_dataset(DataSource(path=source, preprocess=declared, apart=True), release.signature)
        calls = run_calls(release, dataset, progress, single=False)
        offsets = calls.find_offsets()
        if offsets and max(calls.sizes) > 1 and release.fixed_batch is None:
            progress.say(f"{', '.join(offsets)}: not one row for every item; running item by item, to tell them apart")
            calls = run_calls(release, dataset, progress, single=True)
        write_arrays(destination, calls.join())
        return RunOutcome(
            len(dataset),
            release.active,
            str(destination),
            dict(release.failures),
            tuple(one.value for one in release.thresholds),
            {name: name_offsets(name, calls.outputs[0]) for name in calls.find_offsets()},
            max(calls.sizes),
        )


def run_calls(release: LoadedRelease, dataset: Dataset, progress: Progress, *, single: bool) -> Calls:
    """Run all items, in the calls that the artifact was measured at or one by one.

    Raises:
        DataError: the items do not fit the model.
        RunFailed: every artifact of the chain failed.
    """
    progress.start(f"running {release.active}", len(dataset))
    outputs: list[Outputs] = []
    sizes: list[int] = []
    places: list[NDArray[np.int64]] = []
    for batch in dataset.batches(BATCH):
        for feeds in split(batch.feeds, 1 if single else release.call_items):
            outputs.append(run_batch(release, feeds))
            sizes.append(count_feeds(feeds))
        places.append(batch.start + np.arange(batch.size) if batch.places is None else batch.places)
        progress.advance(batch.size)
    progress.finish()
    return Calls(outputs, sizes, np.argsort(np.concatenate(places)), release.signature)


def name_offsets(output: str, outputs: Collection[str]) -> str:
    """Name of the offsets of an output; an output of that name is left as it is."""
    name = f"{output}.offsets"
    while name in outputs:
        name += "_"
    return name
