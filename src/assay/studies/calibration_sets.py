"""Calibration sets: chosen from a pool, stored with their provenance, shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from assay.core.errors import DataError, RequestError
from assay.core.session import Dataset
from assay.core.tensor import Signature, TensorSpec
from assay.data.calibration_set import (
    ITEMS_FILE,
    SET_FILE,
    SET_FORMAT,
    STATISTICS_FOLDER,
    SUMS_FILE,
    Origin,
    Part,
    Selection,
    SelectionMethod,
    SetDescription,
    StoredSet,
    encode_description,
    encode_sums,
    is_set,
    open_set,
)
from assay.data.open import find_kind, open_dataset
from assay.data.set_items import ItemsWriter, WrittenItems, survey_items
from assay.data.source import DataSource
from assay.data.subset import every
from assay.studies.files import new_folder, store_errors, write_bytes
from assay.studies.opening import find_backends, find_versions
from assay.studies.progress import Progress
from assay.studies.request import DEFAULT_RUNTIMES
from assay.studies.set_statistics import HeldStatistics, ObservedModel, list_statistics, provide_statistics
from assay.studies.subject import Subject, load_subject

SURVEY_BATCH = 32
READ_ONLY = 0o444


@dataclass(frozen=True, slots=True)
class SetRequest:
    """A calibration set to make.

    Attributes:
        model: the ONNX file whose inputs the items are, and whose activations are observed.
        source: the pool.
        output: the set's folder; must not exist.
        items: at most so many; None for as many as the data need.
        method: how they are chosen.
        seed: of what is random in the choice.
        licence: of the items, as text.
        note: whatever should be known of the set.
        created: ISO 8601 time, UTC.
        runtimes: the first that is available observes.
    """

    model: Path
    source: DataSource
    output: Path
    items: int | None
    method: SelectionMethod
    seed: int
    licence: str
    note: str
    created: str
    runtimes: tuple[str, ...] = DEFAULT_RUNTIMES

    def __post_init__(self) -> None:
        """Refuse what can never work.

        Raises:
            RequestError: naming the value.
        """
        if self.items is not None and self.items < 1:
            raise RequestError(f"{self.items} items are asked for", "give 1 or more, or auto")
        if self.seed < 0:
            raise RequestError(f"the seed is {self.seed}", "give 0 or more")


@dataclass(frozen=True, slots=True)
class SetReport:
    """A stored set and the statistics that it holds."""

    folder: str
    description: SetDescription
    statistics: tuple[HeldStatistics, ...]


@dataclass(frozen=True, slots=True)
class Observation:
    """A model, checked and prepared, with the runtime that observes it."""

    subject: Subject
    model: ObservedModel


def open_observation(model: Path, runtimes: tuple[str, ...]) -> Observation:
    """A model and the first runtime that is available.

    Raises:
        ModelError: the file is no valid model.
        BackendUnavailable: no runtime is available.
    """
    subject = load_subject(model)
    backends, _ = find_backends(runtimes)
    backend = next(iter(backends.values()))
    return Observation(subject, ObservedModel(model.name, subject.prepared, backend, subject.fixed_batch))


def create_set(request: SetRequest, progress: Progress) -> SetReport:
    """Choose items, store them with their provenance, and observe the model over them.

    The folder appears whole under its name or not at all.

    Raises:
        InputError: the model, the data or the request is wrong, or the output exists.
        BackendError: the runtime cannot run the model.
        StoreError: the folder cannot be written.
    """
    refuse_existing(request.output)
    progress.start("reading the model and the data", None)
    observation = open_observation(request.model, request.runtimes)
    pool = open_dataset(request.source, observation.subject.signature)
    size = len(pool)
    progress.finish()
    chosen = choose_items(request, size)
    origin = Origin(
        path=request.source.path,
        kind=find_kind(request.source.path),
        fingerprint=pool.fingerprint,
        selection=Selection(
            method=request.method,
            pool=size,
            asked=request.items,
            seed=None if request.method is SelectionMethod.FIRST else request.seed,
        ),
        preprocess=request.source.preprocess,
    )
    parts = list_parts(request.source, len(chosen))
    with new_folder(request.output) as folder:
        written = write_items(folder, every(pool, chosen), request.source.target, progress)
        licence = request.licence or "; ".join(part.description.licence for part in parts)
        described = describe(written, origin, parts, licence, request.note, request.created)
        seal(folder, described)
        stored = StoredSet(folder, described)
        provide_statistics(folder / STATISTICS_FOLDER, observation.model, open_items(stored), progress)
    return show_set(request.output)


def refuse_existing(output: Path) -> None:
    """Sets never change, so that none is written where something stands.

    Raises:
        RequestError: the output exists.
    """
    if output.exists():
        what = "is a calibration set, and sets never change" if is_set(output) else "exists"
        raise RequestError(f"{output} {what}", "choose another folder")


def choose_items(request: SetRequest, size: int) -> Sequence[int]:
    """Rising positions of the chosen items in the pool."""
    count = min(request.items or size, size)
    if request.method is SelectionMethod.RANDOM:
        rng = np.random.default_rng(request.seed)
        return sorted(rng.choice(size, count, replace=False).tolist())
    return range(count)


def list_parts(source: DataSource, kept: int) -> tuple[Part, ...]:
    """The set that a set is chosen from, if it is one."""
    path = Path(source.path)
    return (Part(kept, open_set(path).description),) if is_set(path) else ()


def write_items(folder: Path, dataset: Dataset, target: str, progress: Progress) -> WrittenItems:
    """Write all items of a data set into the folder of a new set.

    Raises:
        DataError: an item cannot be read or differs in shape.
        StoreError: the folder cannot be written.
    """
    progress.start("storing items", len(dataset))
    with store_errors(folder / ITEMS_FILE, "write"), ItemsWriter(folder, target) as writer:
        for batch in dataset.batches(SURVEY_BATCH):
            writer.add(batch)
            progress.advance(batch.size)
        written = writer.finish(folder / ITEMS_FILE)
    progress.finish()
    return written


def describe(
    written: WrittenItems, origin: Origin | None, parts: tuple[Part, ...], licence: str, note: str, created: str
) -> SetDescription:
    """The description of written items."""
    return SetDescription(
        format=SET_FORMAT,
        address=written.address,
        items=written.items,
        inputs=written.inputs,
        target=written.target,
        origin=origin,
        parts=parts,
        licence=licence,
        note=note,
        created=created,
        versions=find_versions(),
    )


def seal(folder: Path, description: SetDescription) -> None:
    """Write the description and the hashes, and take the right to write from all files.

    Raises:
        StoreError: the folder cannot be written.
    """
    write_bytes(folder / SET_FILE, encode_description(description))
    write_bytes(folder / SUMS_FILE, encode_sums(folder))
    with store_errors(folder, "protect the files of"):
        for name in (SET_FILE, ITEMS_FILE, SUMS_FILE):
            (folder / name).chmod(READ_ONLY)


def open_items(stored: StoredSet) -> Dataset:
    """The items of a set for themselves, without a model.

    Raises:
        DataError: the set is damaged.
    """
    inputs = tuple(TensorSpec(one.name, one.dtype, (None, *one.shape)) for one in stored.description.inputs)
    return open_dataset(DataSource(path=str(stored.folder)), Signature(inputs, ()))


def show_set(folder: Path) -> SetReport:
    """A set, and the statistics that it holds.

    Raises:
        DataError: there is no set, or it is damaged.
    """
    stored = open_set(folder)
    held = tuple(header for header, _ in list_statistics(stored.statistics_folder))
    return SetReport(str(folder), stored.description, held)


def survey_set(stored: StoredSet, progress: Progress) -> list[bytes]:
    """The content hash of every item in order, and the proof that they give the set's address.

    Raises:
        DataError: the items are not those that the set was made with.
    """
    dataset = open_items(stored)
    progress.start(f"reading {stored.folder.name}", None)
    address, hashes = survey_items(dataset.batches(SURVEY_BATCH))
    progress.finish()
    if address != stored.description.address:
        message = f"{stored.items_path} was changed: its items do not give the address {stored.description.address}"
        raise DataError(message, "copy the set again")
    return hashes


def prove_set(folder: Path, progress: Progress) -> SetReport:
    """A set as `show_set` gives it, after every item was held against the set's address.

    Raises:
        DataError: there is no set, or it is damaged.
    """
    survey_set(open_set(folder), progress)
    return show_set(folder)
