"""Stored calibration sets as folders: refused where something stands, sealed, opened, shown, proven."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from assay.core.errors import DataError, RequestError
from assay.core.session import Dataset
from assay.core.tensor import Signature, TensorSpec
from assay.data.calibration_set import (
    ITEMS_FILE,
    SET_FILE,
    SUMS_FILE,
    SetDescription,
    StoredSet,
    encode_description,
    encode_sums,
    is_set,
    open_set,
)
from assay.data.open import open_dataset
from assay.data.set_items import survey_items
from assay.data.source import DataSource
from assay.studies.files import store_errors, write_bytes
from assay.studies.progress import Progress
from assay.studies.statistics_files import HeldStatistics, list_held

SURVEY_BATCH = 32
READ_ONLY = 0o444


@dataclass(frozen=True, slots=True)
class SetReport:
    """A stored set and the statistics that it holds."""

    folder: str
    description: SetDescription
    statistics: tuple[HeldStatistics, ...]


def refuse_existing(output: Path) -> None:
    """Sets never change, so that none is written where something stands.

    Raises:
        RequestError: the output exists.
    """
    if output.exists():
        what = "is a calibration set, and sets never change" if is_set(output) else "exists"
        raise RequestError(f"{output} {what}", "choose another folder")


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
    held = tuple(header for _, header in list_held(stored.statistics_folder))
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
