"""Statistics of models over a stored calibration set, kept beside its items and found again by what gave them.

A file of statistics is bound to the prepared model's content, the runtime and version that ran it, what was observed,
and the items; it proves itself by a hash over its arrays.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx_ir as ir

from assay.backends.backend import Backend
from assay.calibrate.observe import observe
from assay.core.calibration import Calibration
from assay.core.errors import DataError, StoreError
from assay.core.session import Dataset
from assay.core.tensor import Array
from assay.graph.expose import observable_tensors
from assay.graph.fingerprint import hash_model
from assay.studies.calibrating import pack, unpack
from assay.studies.exposing import fit_batch, open_exposed, take_whole_batches
from assay.studies.files import make_folder, read_arrays, write_arrays
from assay.studies.progress import Progress
from assay.studies.store import address_of

OBSERVATION = 1
"""Raised with every change of what is observed or how it is stored, so that older statistics are not taken for it."""
HEADER = "header"


@dataclass(frozen=True, slots=True)
class Observer:
    """What gives statistics: a prepared model on a runtime.

    Attributes:
        model: the file's name, for people.
        content: hash of the prepared model.
        runtime: that runs it.
        version: of the runtime's tools.
    """

    model: str
    content: str
    runtime: str
    version: str

    @property
    def key(self) -> str:
        """The same for whatever gives the same statistics of the same items."""
        return address_of(OBSERVATION, self.content, self.runtime, self.version)


class HeldStatistics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The header of a file of statistics.

    Attributes:
        observer: key of what gave them.
        content: hash of the prepared model.
        data: fingerprint of the items that gave them.
        digest: SHA-256 over the arrays.
    """

    observer: str
    model: str
    content: str
    runtime: str
    version: str
    data: str
    items: int
    tensors: int
    digest: str


@dataclass(frozen=True, slots=True)
class ObservedModel:
    """A model that is observed, and the runtime that runs it for that.

    Attributes:
        name: the file's name, for people.
        prepared: the model whose activations are observed.
        backend: runs it in FP32 with its activations as outputs.
        fixed_batch: items per call where the model fixes it.
    """

    name: str
    prepared: ir.Model
    backend: Backend
    fixed_batch: int | None

    def identify(self) -> Observer:
        """What this is called among the statistics of a set; hashes the model's weights."""
        versions = " ".join(f"{name} {version}" for name, version in sorted(self.backend.versions().items()))
        return Observer(self.name, hash_model(self.prepared), self.backend.name, versions)

    def fit(self, dataset: Dataset) -> Dataset:
        """The items that are observed: all, or as many as fill whole batches.

        Raises:
            DataError: there are fewer items than one batch that the model fixes.
        """
        return dataset if self.fixed_batch is None else take_whole_batches(dataset, self.fixed_batch)


def observe_model(model: ObservedModel, dataset: Dataset, progress: Progress) -> Calibration:
    """Statistics of every activation of a model over a data set.

    Args:
        model: what is observed.
        dataset: the items; what fills no whole batch of a model that fixes its batch is left out.
        progress: is told of every item.

    Raises:
        DataError: an activation is not finite, naming it; or there are fewer items than one fixed batch.
        BackendError: the runtime cannot run the model with its activations exposed.
    """
    dataset = model.fit(dataset)
    tensors = observable_tensors(model.prepared)
    progress.start("observing", len(dataset))
    with (
        tempfile.TemporaryDirectory(prefix="assay-") as scratch,
        open_exposed(model.prepared, tensors, model.backend, Path(scratch)) as session,
    ):
        batch = model.fixed_batch or fit_batch(session, dataset)
        calibration = observe(session, dataset, tensors, batch, lambda _items: progress.advance(batch))
    progress.finish()
    return calibration


def name_statistics(observer: Observer, data: str) -> str:
    """File name of the statistics that an observer gives of some items."""
    return f"{observer.key}-{data[:8]}.npz"


def write_statistics(folder: Path, observer: Observer, calibration: Calibration) -> HeldStatistics:
    """Keep statistics, whole or not at all.

    Raises:
        StoreError: the folder cannot be written.
    """
    arrays = pack(calibration)
    held = HeldStatistics(
        observer=observer.key,
        model=observer.model,
        content=observer.content,
        runtime=observer.runtime,
        version=observer.version,
        data=calibration.data,
        items=calibration.items,
        tensors=len(calibration.tensors),
        digest=hash_arrays(arrays),
    )
    header: Array = np.frombuffer(msgspec.json.encode(held), np.uint8)
    write_arrays(make_folder(folder) / name_statistics(observer, calibration.data), {**arrays, HEADER: header})
    return held


def read_statistics(folder: Path, observer: Observer, data: str) -> Calibration | None:
    """Statistics of an observer over some items, or None where they are not kept.

    Args:
        folder: of the set's statistics.
        observer: what would give them.
        data: fingerprint of the items.

    Raises:
        DataError: they are damaged, naming the file.
    """
    path = folder / name_statistics(observer, data)
    if not path.is_file():
        return None
    held, calibration = load_statistics(path)
    return calibration if (held.observer, held.data) == (observer.key, data) else None


def load_statistics(path: Path) -> tuple[HeldStatistics, Calibration]:
    """A file of statistics, proven.

    Raises:
        DataError: it is damaged, naming the file.
    """
    hint = "delete it: the statistics are observed anew when they are wanted"
    try:
        arrays = read_arrays(path)
        held = msgspec.json.decode(arrays.pop(HEADER).tobytes(), type=HeldStatistics)
    except (StoreError, KeyError, msgspec.DecodeError) as error:
        raise DataError(f"{path} is damaged: {error}", hint) from error
    if hash_arrays(arrays) != held.digest:
        raise DataError(f"{path} was changed: its statistics do not have the hash that it holds", hint)
    return held, unpack(arrays)


def list_statistics(folder: Path) -> Iterator[tuple[HeldStatistics, Calibration]]:
    """All statistics that a set holds, by name.

    Raises:
        DataError: a file is damaged, naming it.
    """
    for path in sorted(folder.glob("*.npz")):
        yield load_statistics(path)


def hash_arrays(arrays: Mapping[str, Array]) -> str:
    """SHA-256 over names, types, shapes and values, whatever the order."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def provide_statistics(folder: Path | None, model: ObservedModel, dataset: Dataset, progress: Progress) -> Calibration:
    """Statistics read from a set where it holds them, else observed and kept there.

    A folder that cannot be written is no reason to fail: that is said, and the statistics are given all the same.

    Args:
        folder: of the set's statistics; None where the items are no stored set.
        model: what is observed.
        dataset: the items.
        progress: is told of every item.

    Raises:
        DataError: kept statistics are damaged, or an activation is not finite.
        BackendError: the runtime cannot run the model with its activations exposed.
    """
    dataset = model.fit(dataset)
    if folder is None:
        return observe_model(model, dataset, progress)
    observer = model.identify()
    kept = read_statistics(folder, observer, dataset.fingerprint)
    if kept is not None:
        return kept
    calibration = observe_model(model, dataset, progress)
    try:
        write_statistics(folder, observer, calibration)
    except StoreError as error:
        progress.say(f"the statistics are not kept: {error}")
    return calibration
