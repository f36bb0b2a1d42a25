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
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.session import Dataset
from assay.core.target import Target
from assay.core.tensor import Array
from assay.graph.expose import expose, observable_tensors
from assay.graph.fingerprint import hash_model
from assay.graph.save import save_model
from assay.studies.calibrating import fit_batch, pack, take_whole_batches, unpack
from assay.studies.files import make_folder, read_arrays, write_arrays
from assay.studies.progress import Progress
from assay.studies.store import address_of
from assay.studies.workspace import count_cores

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


def identify_observer(model: str, prepared: ir.Model, backend: Backend) -> Observer:
    """What a model on a runtime is called among the statistics of a set."""
    versions = " ".join(f"{name} {version}" for name, version in sorted(backend.versions().items()))
    return Observer(model=model, content=hash_model(prepared), runtime=backend.name, version=versions)


def observe_model(
    prepared: ir.Model, dataset: Dataset, backend: Backend, fixed_batch: int | None, progress: Progress
) -> Calibration:
    """Statistics of every activation of a model over a data set.

    Args:
        prepared: the model whose activations are observed.
        dataset: the items.
        backend: runs the model in FP32 with its activations as outputs.
        fixed_batch: items per call where the model fixes it; what fills no whole batch is left out.
        progress: is told of every item.

    Raises:
        DataError: an activation is not finite, naming it; or there are fewer items than one fixed batch.
        BackendError: the runtime cannot run the model with its activations exposed.
    """
    dataset = dataset if fixed_batch is None else take_whole_batches(dataset, fixed_batch)
    tensors = observable_tensors(prepared)
    target = Target(runtime=backend.name, threads=count_cores())
    progress.start("observing", len(dataset))
    with tempfile.TemporaryDirectory(prefix="assay-") as name:
        model, built = Path(name, "exposed.onnx"), Path(name, "built")
        built.mkdir()
        save_model(expose(prepared, tensors), model)
        backend.build(model, built, Plan(Precision.FP32), target)
        with backend.open(built, target) as session:
            batch = fixed_batch or fit_batch(session, dataset)
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


def provide_statistics(
    folder: Path, observer: Observer, prepared: ir.Model, dataset: Dataset, backend: Backend, progress: Progress
) -> Calibration:
    """Statistics read from a set where it holds them, else observed and, where the folder can be written, kept.

    Args:
        folder: of the set's statistics.
        observer: from `identify_observer`, of this model on this backend.
        prepared: the model.
        dataset: the items, whole batches of a model that fixes its batch.
        backend: that observes.
        progress: is told of every item.

    Raises:
        DataError: kept statistics are damaged, or an activation is not finite.
        BackendError: the runtime cannot run the model with its activations exposed.
    """
    kept = read_statistics(folder, observer, dataset.fingerprint)
    if kept is not None:
        return kept
    raise DataError(str(prepared), str(backend) + str(progress))
