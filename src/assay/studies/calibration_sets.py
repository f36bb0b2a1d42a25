"""Calibration sets: chosen from a pool, stored with their provenance, shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from assay.core.session import Dataset
from assay.data.calibration_set import (
    ITEMS_FILE,
    SET_FORMAT,
    STATISTICS_FOLDER,
    Origin,
    Part,
    Selection,
    SelectionMethod,
    SetDescription,
    StoredSet,
    is_set,
    open_set,
)
from assay.data.grouping import find_rule
from assay.data.lengths import widen
from assay.data.open import find_kind, open_dataset
from assay.data.set_items import ItemsWriter, WrittenItems
from assay.data.source import DataSource, Preprocess
from assay.studies.elsewhere import find_runtimes
from assay.studies.files import new_folder, store_errors
from assay.studies.opening import find_versions
from assay.studies.progress import Progress
from assay.studies.set_choice import Chosen, SetRequest, choose_items
from assay.studies.set_statistics import ObservedModel, provide_statistics
from assay.studies.statistics_files import write_statistics
from assay.studies.stored_sets import SURVEY_BATCH, SetReport, open_items, refuse_existing, seal, show_set
from assay.studies.subject import Subject, load_subject


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
    backends = find_runtimes(runtimes, ()).here
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
    parts = list_parts(request.source, 0)
    progress.finish()
    with choose_items(request, pool, observation.model, progress) as chosen, new_folder(request.output) as folder:
        written = write_items(folder, chosen.items, request.source.target, progress)
        kept = tuple(msgspec.structs.replace(part, kept=written.items) for part in parts)
        licence = request.licence or "; ".join(part.description.licence for part in parts)
        origin = describe_origin(request, pool, chosen)
        described = describe(written, origin, kept, licence, request.note, request.created)
        seal(folder, described)
        items = open_items(StoredSet(folder, described))
        if chosen.calibration is None:
            provide_statistics(folder / STATISTICS_FOLDER, observation.model, items, progress)
        else:
            calibration = replace(chosen.calibration, data=items.fingerprint)
            write_statistics(folder / STATISTICS_FOLDER, observation.model.identify(), calibration)
    return show_set(request.output)


def describe_origin(request: SetRequest, pool: Dataset, chosen: Chosen) -> Origin:
    """Where the items of a new set come from."""
    return Origin(
        path=request.source.path,
        kind=find_kind(request.source.path),
        fingerprint=pool.fingerprint,
        selection=Selection(
            method=request.method,
            pool=len(pool),
            asked=request.items,
            seed=None if request.method is SelectionMethod.FIRST else request.seed,
            convergence=chosen.convergence,
        ),
        preprocess=settle_preprocess(request.source.preprocess, pool),
    )


def settle_preprocess(declared: Preprocess | None, pool: Dataset) -> Preprocess | None:
    """What is recorded of how items became model inputs: as declared, with the rule by which their lengths differ."""
    rule = find_rule(pool)
    return declared if rule is None else replace(declared or Preprocess(), lengths=rule)


def list_parts(source: DataSource, kept: int) -> tuple[Part, ...]:
    """The set that a set is chosen from, if it is one."""
    path = Path(source.path)
    return (Part(kept, open_set(path).description),) if is_set(path) else ()


def write_items(folder: Path, items: Dataset, target: str, progress: Progress) -> WrittenItems:
    """Write all items of a data set into the folder of a new set.

    Raises:
        DataError: an item cannot be read or differs in shape.
        StoreError: the folder cannot be written.
    """
    progress.start("storing items", len(items))
    rule = find_rule(items)
    with store_errors(folder / ITEMS_FILE, "write"), ItemsWriter(folder, target) as writer:
        # Items of different lengths keep their order one by one; the mask tells what fills them up to one length.
        for batch in items.batches(SURVEY_BATCH if rule is None else 1):
            writer.add(batch if rule is None else replace(batch, feeds=widen(batch.feeds, rule)))
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
