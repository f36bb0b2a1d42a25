"""Files of statistics beside the items of a stored calibration set.

Each is bound to the prepared model's content, the runtime and version that ran it, what was observed, and the items; it
proves itself by a hash over its arrays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from assay.calibrate.packing import pack, unpack
from assay.core.calibration import Calibration
from assay.core.errors import DataError, StoreError
from assay.core.tensor import Array
from assay.studies.files import make_folder, read_arrays, write_arrays
from assay.studies.store import address_of

OBSERVATION = 1
"""Raised with every change of what is observed or how it is stored, so that older statistics are not taken for it."""
HEADER = "header"
OBSERVE_ANEW = "delete it: the statistics are observed anew when they are wanted"


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
    held, arrays = _load_arrays(path)
    try:
        return held, unpack(arrays)
    except StoreError as error:
        raise DataError(f"{path} cannot be used: {error.message}", OBSERVE_ANEW) from error


def list_held(folder: Path) -> tuple[tuple[Path, HeldStatistics], ...]:
    """Files of statistics that a set holds, by name, and their headers; proven, but not unpacked.

    Raises:
        DataError: a file is damaged, naming it.
    """
    return tuple((path, _load_arrays(path)[0]) for path in sorted(folder.glob("*.npz")))


def _load_arrays(path: Path) -> tuple[HeldStatistics, dict[str, Array]]:
    """Header and packed arrays, which take little memory."""
    try:
        arrays = read_arrays(path)
        held = msgspec.json.decode(arrays.pop(HEADER).tobytes(), type=HeldStatistics)
    except (StoreError, KeyError, msgspec.DecodeError) as error:
        raise DataError(f"{path} is damaged: {error}", OBSERVE_ANEW) from error
    if hash_arrays(arrays) != held.digest:
        raise DataError(f"{path} was changed: its statistics do not have the hash that it holds", OBSERVE_ANEW)
    return held, arrays


def hash_arrays(arrays: Mapping[str, Array]) -> str:
    """SHA-256 over names, types, shapes and values, whatever the order."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
