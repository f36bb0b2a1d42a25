"""Writes the items of a calibration set: streamed, compressed, and addressed by their content."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.lib import format as npy

from assay.core.errors import DataError
from assay.core.session import Batch
from assay.core.tensor import Array
from assay.data.calibration_set import StoredArray

_CHUNK_BYTES = 1 << 20
_FAST = 1
"""Compression level: higher ones take several times as long for a few percent of real inputs."""


@dataclass(frozen=True, slots=True)
class WrittenItems:
    """What was written: the content address, and how many items of which arrays."""

    address: str
    items: int
    inputs: tuple[StoredArray, ...]
    target: StoredArray | None


@dataclass(frozen=True, slots=True)
class _Spool:
    array: StoredArray
    file: IO[bytes]


def address_items(keys: Iterable[bytes]) -> str:
    """The content address of items in their order: of their values, not of how they are stored.

    Args:
        keys: of every item, from `key_items`.
    """
    digest = hashlib.sha256(b"assay calibration set 1\n")
    for key in keys:
        digest.update(key)
    return digest.hexdigest()


def key_items(batch: Batch) -> list[bytes]:
    """What of every item counts for the address: the hash of its inputs, and that of its label where it has one."""
    hashes = hash_items(batch)
    targets = batch.targets
    if targets is None:
        return hashes
    described = _describe_row("", targets)
    labels = [hashlib.sha256(described + _lay_out(targets[row : row + 1])).digest() for row in range(batch.size)]
    return [content + label for content, label in zip(hashes, labels, strict=True)]


def hash_items(batch: Batch) -> list[bytes]:
    """SHA-256 of every item: names, types, shapes and values of its inputs; not its label, not its place."""
    hashes = []
    names = sorted(batch.feeds)
    for row in range(batch.size):
        digest = hashlib.sha256()
        for name in names:
            digest.update(_describe_row(name, batch.feeds[name]))
            digest.update(_lay_out(batch.feeds[name][row : row + 1]))
        hashes.append(digest.digest())
    return hashes


class ItemsWriter:
    """Writes batches to an ``.npz`` at constant memory; a context manager.

    Each array is first laid out in a temporary file of its own beside the goal, because an archive takes its members
    one after the other.

    Args:
        folder: an existing folder for what is temporary.
        target: name of the labels in the archive.
    """

    def __init__(self, folder: Path, target: str) -> None:
        self._folder = folder
        self._target_name = target
        self._inputs: dict[str, _Spool] = {}
        self._target: _Spool | None = None
        self._keys: list[bytes] = []
        self._stack = ExitStack()

    def add(self, batch: Batch) -> None:
        """Write the items of a batch.

        Raises:
            DataError: an input has another shape or type than before, or only some items have labels.
        """
        if not self._keys:
            self._inputs = {name: self._open(name, batch.feeds[name]) for name in batch.feeds}
            self._target = None if batch.targets is None else self._open(self._target_name, batch.targets)
        if (self._target is None) is not (batch.targets is None) or batch.feeds.keys() != self._inputs.keys():
            message = f"item {len(self._keys)} has other inputs than item 0, or a label where that has none"
            raise DataError(message, "give every item the same inputs, and all or none a label")
        for name, spool in self._inputs.items():
            self._append(spool, batch.feeds[name])
        if self._target is not None and batch.targets is not None:
            self._append(self._target, batch.targets)
        self._keys += key_items(batch)

    def finish(self, path: Path) -> WrittenItems:
        """Write the archive.

        Raises:
            DataError: there are no items.
        """
        if not self._keys:
            raise DataError("there are no items to store", "give at least one")
        spools = [*self._inputs.values()] + ([self._target] if self._target else [])
        with path.open("wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_FAST) as archive:
                for spool in spools:
                    _pack(archive, spool, len(self._keys))
            file.flush()
            os.fsync(file.fileno())
        inputs = tuple(spool.array for spool in self._inputs.values())
        labels = self._target.array if self._target else None
        return WrittenItems(address_items(self._keys), len(self._keys), inputs, labels)

    def __enter__(self) -> Self:
        """Enter the context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove what is temporary."""
        self._stack.close()

    def _open(self, name: str, rows: Array) -> _Spool:
        file = self._stack.enter_context(tempfile.TemporaryFile(dir=self._folder))  # noqa: SIM115 - the stack closes it
        return _Spool(StoredArray(name, rows.dtype.name, rows.shape[1:]), file)

    def _append(self, spool: _Spool, rows: Array) -> None:
        array = spool.array
        if rows.shape[1:] != array.shape or rows.dtype.name != array.dtype:
            message = (
                f"{array.name!r} is {rows.dtype.name} {list(rows.shape[1:])} in item {len(self._keys)} and "
                f"{array.dtype} {list(array.shape)} in item 0"
            )
            raise DataError(message, "a set stores items of one shape and type: crop or pad them")
        spool.file.write(_lay_out(rows))


def _pack(archive: zipfile.ZipFile, spool: _Spool, items: int) -> None:
    header = {
        "descr": npy.dtype_to_descr(np.dtype(spool.array.dtype).newbyteorder("<")),
        "fortran_order": False,
        "shape": (items, *spool.array.shape),
    }
    spool.file.seek(0)
    with archive.open(f"{spool.array.name}.npy", "w", force_zip64=True) as member:
        npy.write_array_header_1_0(member, header)
        shutil.copyfileobj(spool.file, member, _CHUNK_BYTES)


def survey_items(batches: Iterable[Batch]) -> tuple[str, list[bytes]]:
    """The content address of items, and the content hash of each in order."""
    keys = [key for batch in batches for key in key_items(batch)]
    return address_items(keys), [key[: hashlib.sha256().digest_size] for key in keys]


def _describe_row(name: str, rows: Array) -> bytes:
    return f"{name}\0{rows.dtype.newbyteorder('<').str}\0{rows.shape[1:]}\0".encode()


def _lay_out(rows: Array) -> bytes:
    """The bytes of an array in C order, little-endian."""
    return np.ascontiguousarray(rows, rows.dtype.newbyteorder("<")).tobytes()
