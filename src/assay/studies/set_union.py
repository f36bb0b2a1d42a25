"""The union of calibration sets without duplicates, with the provenance and the statistics of its parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

from assay.calibrate.observe import merge_calibrations
from assay.core.calibration import Calibration
from assay.core.errors import DataError, RequestError
from assay.core.session import Batch
from assay.data.calibration_set import ITEMS_FILE, STATISTICS_FOLDER, Part, StoredArray, StoredSet, open_set
from assay.data.set_items import ItemsWriter, WrittenItems, hash_items
from assay.studies.calibration_sets import describe, open_observation
from assay.studies.files import new_folder, store_errors
from assay.studies.progress import Progress
from assay.studies.request import DEFAULT_RUNTIMES
from assay.studies.set_statistics import provide_statistics
from assay.studies.statistics_files import (
    HeldStatistics,
    Observer,
    list_held,
    load_statistics,
    write_statistics,
)
from assay.studies.stored_sets import SURVEY_BATCH, SetReport, open_items, refuse_existing, seal, show_set

LEAST_PARTS = 2


@dataclass(frozen=True, slots=True)
class MergeRequest:
    """Sets to merge.

    Attributes:
        parts: their folders, in the order of their items.
        output: the merged set's folder; must not exist.
        model: is observed over the merged items where its statistics cannot be merged; None to leave them out.
        licence: of the merged items; empty for those of the parts.
        created: ISO 8601 time, UTC.
    """

    parts: tuple[Path, ...]
    output: Path
    model: Path | None
    licence: str
    note: str
    created: str
    runtimes: tuple[str, ...] = DEFAULT_RUNTIMES

    def __post_init__(self) -> None:
        """Refuse what can never work.

        Raises:
            RequestError: there are fewer than two sets.
        """
        if len(self.parts) < LEAST_PARTS:
            raise RequestError(f"{len(self.parts)} set is named", "a merge takes two or more")


@dataclass(frozen=True, slots=True)
class MergeOutcome:
    """A merged set.

    Attributes:
        dropped: items left out because an equal one was there.
        remarks: what became of labels and statistics, where that is not what one would expect.
    """

    report: SetReport
    dropped: int
    remarks: tuple[str, ...]


def merge_sets(request: MergeRequest, progress: Progress) -> MergeOutcome:
    """Store the union of sets; the folder appears whole under its name or not at all.

    Raises:
        InputError: the output exists, a part is no set or damaged, the parts have different inputs, or the model does
            not fit.
        BackendError: the runtime cannot run the model.
        StoreError: the folder cannot be written.
    """
    refuse_existing(request.output)
    parts = [open_set(folder) for folder in request.parts]
    refuse_strangers(parts)
    labelled = len({describe_labels(part) for part in parts}) == 1
    remarks = [] if labelled else ["labels are left out: not all parts have labels of one type and shape"]
    with new_folder(request.output) as folder:
        written, kept = write_union(folder, parts, labelled=labelled, progress=progress)
        dropped = sum(part.description.items for part in parts) - written.items
        contents = tuple(Part(count, part.description) for count, part in zip(kept, parts, strict=True))
        licences = dict.fromkeys(part.description.licence for part in parts if part.description.licence)
        described = describe(
            written, None, contents, request.licence or "; ".join(licences), request.note, request.created
        )
        seal(folder, described)
        stored = StoredSet(folder, described)
        remarks += carry_statistics(parts, stored, dropped)
        if request.model is not None:
            observation = open_observation(request.model, request.runtimes)
            provide_statistics(folder / STATISTICS_FOLDER, observation.model, open_items(stored), progress)
    return MergeOutcome(show_set(request.output), dropped, tuple(remarks))


def refuse_strangers(parts: Sequence[StoredSet]) -> None:
    """Sets are merged where their items feed the same models.

    Raises:
        DataError: two of them have different inputs, naming both.
    """
    first = parts[0]
    for part in parts[1:]:
        if {one.name: one for one in part.description.inputs} != {one.name: one for one in first.description.inputs}:
            message = (
                f"{first.folder} and {part.folder} have different inputs: "
                f"{word_inputs(first.description.inputs)} against {word_inputs(part.description.inputs)}"
            )
            raise DataError(message, "merge sets of the same names, types and shapes")


def word_inputs(inputs: Sequence[StoredArray]) -> str:
    """Inputs in words."""
    return ", ".join(f"{one.name} {one.dtype} {list(one.shape)}" for one in inputs)


def describe_labels(part: StoredSet) -> tuple[str, tuple[int, ...]] | None:
    """Type and shape of a set's labels, or None where it has none."""
    target = part.description.target
    return None if target is None else (target.dtype, target.shape)


def write_union(
    folder: Path, parts: Sequence[StoredSet], *, labelled: bool, progress: Progress
) -> tuple[WrittenItems, list[int]]:
    """Write the distinct items of all parts; of equal ones the first.

    Returns:
        What was written, and how many items of each part.

    Raises:
        DataError: a part is damaged.
        StoreError: the folder cannot be written.
    """
    target = parts[0].description.target
    seen: set[bytes] = set()
    kept: list[int] = []
    progress.start("merging items", sum(part.description.items for part in parts))
    with (
        store_errors(folder / ITEMS_FILE, "write"),
        ItemsWriter(folder, target.name if target else "target") as writer,
    ):
        for part in parts:
            before = len(seen)
            for batch in open_items(part).batches(SURVEY_BATCH):
                for fresh in keep_fresh(batch, seen):
                    writer.add(fresh if labelled else replace(fresh, targets=None))
                progress.advance(batch.size)
            kept.append(len(seen) - before)
        written = writer.finish(folder / ITEMS_FILE)
    progress.finish()
    return written, kept


def keep_fresh(batch: Batch, seen: set[bytes]) -> Iterator[Batch]:
    """The items of a batch that were not seen before, if any are; adds them to those seen."""
    rows = []
    for row, content in enumerate(hash_items(batch)):
        if content not in seen:
            seen.add(content)
            rows.append(row)
    if rows:
        feeds = {name: array[rows] for name, array in batch.feeds.items()}
        targets = None if batch.targets is None else batch.targets[rows]
        yield Batch(feeds=feeds, targets=targets, start=batch.start)


def carry_statistics(parts: Sequence[StoredSet], merged: StoredSet, dropped: int) -> list[str]:
    """Merge the statistics of every model that all parts hold whole; gives what has to be said of the others.

    Raises:
        DataError: statistics are damaged, naming the file.
        StoreError: the folder cannot be written.
    """
    held = [list_whole(part) for part in parts]
    observers = {one.observer: one for part in held for one, _ in part.values()}
    if dropped and observers:
        told = f"{dropped} duplicates were dropped, so they do not add up"
        return [f"the statistics of the parts are not carried over: {told}"]
    data = open_items(merged).fingerprint
    remarks = []
    for key, one in observers.items():
        if any(key not in part for part in held):
            remarks.append(f"statistics of {one.model} on {one.runtime} are not carried over: not all parts hold them")
            continue
        added = add_up([part[key][1] for part in held], [part.description.items for part in parts])
        observer = Observer(one.model, one.content, one.runtime, one.version)
        write_statistics(merged.statistics_folder, observer, replace(added, data=data))
    return remarks


def list_whole(part: StoredSet) -> dict[str, tuple[HeldStatistics, Path]]:
    """Statistics of a part over all of its items, by the key of what gave them."""
    held = list_held(part.statistics_folder)
    return {one.observer: (one, path) for path, one in held if one.items == part.description.items}


def add_up(paths: Sequence[Path], items: Sequence[int]) -> Calibration:
    """The statistics of several files as one; two at a time are in memory.

    Args:
        paths: files of statistics of one model.
        items: of the set that each file belongs to.
    """
    total = load_statistics(paths[0])[1]
    for path, offset in zip(paths[1:], accumulate(items), strict=False):
        total = merge_calibrations([total, shift_positions(load_statistics(path)[1], offset)])
    return total


def shift_positions(calibration: Calibration, offset: int) -> Calibration:
    """Statistics whose sketched items stand further back in a data set."""
    sketch = calibration.sketch
    if sketch is None:
        return calibration
    return replace(calibration, sketch=replace(sketch, positions=sketch.positions + offset))
