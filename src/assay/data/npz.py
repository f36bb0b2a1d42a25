"""Reads ``.npz`` files row by row, without ever holding a whole array.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, in the members of a zip archive.
"""

from __future__ import annotations

import hashlib
import lzma
import math
import zipfile
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from struct import Struct
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from assay.core.errors import DataError
from assay.core.session import Batch
from assay.core.tensor import Array, Signature
from assay.data.batching import pick_items, rebatch
from assay.data.source import DataSource
from assay.data.validation import check_column, check_names, list_spare_columns

_CHUNK_BYTES = 1 << 20
_LOCAL_HEADER = Struct("<26xHH")
"""PKWARE APPNOTE 4.3.7: the lengths of the name and of the extra field end it."""


@dataclass(frozen=True, slots=True)
class StoredArray:
    """Where and how one array lies in the archive.

    Attributes:
        name: name without ``.npy``.
        offset: bytes of the header in front of the data.
        place: byte of the file where the data begin, or None where they are compressed.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    offset: int
    place: int | None

    @property
    def row_bytes(self) -> int:
        """Bytes of one item."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize


class NpzReader:
    """Items of an ``.npz`` file: one array per model input, first axis the items.

    Raises:
        DataError: the file is missing or damaged, or its arrays do not fit the model or each other.
    """

    def __init__(self, source: DataSource, signature: Signature) -> None:
        self._path = Path(source.path)
        with _open_archive(self._path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            arrays = {name: self._read_header(archive, name) for name in names}
        self._check_roles(arrays, source, signature)
        self._inputs = tuple(arrays[spec.name] for spec in signature.inputs)
        self._target = arrays.get(source.target)
        self._columns = tuple(arrays[name] for name in source.columns)
        self._stored = tuple(dict.fromkeys([*self._inputs, *([self._target] if self._target else []), *self._columns]))
        self._check_lengths()

    @property
    def labelled(self) -> bool:
        """Whether there is a target array."""
        return self._target is not None

    @property
    def encoded(self) -> str:
        """Arrays are never encoded images."""
        return ""

    def __len__(self) -> int:
        """Number of items."""
        return self._inputs[0].shape[0]

    def locate(self, item: int) -> str:
        """File and item."""
        return f"{self._path}, item {item}"

    def digest(self) -> str:
        """SHA-256 over names, types, shapes and values, independent of the compression."""
        total = hashlib.sha256()
        stored = [*self._inputs] if self._target is None else [*self._inputs, self._target]
        with _open_archive(self._path) as archive:
            for role, array in enumerate(stored):
                name = "" if array is self._target else array.name
                total.update(f"{role}:{name}:{array.dtype.str}:{array.shape}".encode())
                where = f"array {array.name!r} of {self._path}"
                with self._open_rows(archive, array) as member, _name_damage(where):
                    while chunk := member.read(_CHUNK_BYTES):
                        total.update(chunk)
        return total.hexdigest()

    def read(self, size: int) -> Generator[Batch, None, None]:
        """All items in order, ``size`` at a time.

        Raises:
            DataError: the file is damaged or shorter than it says.
        """
        with ExitStack() as stack:
            archive = stack.enter_context(_open_archive(self._path))
            members = [(array, stack.enter_context(self._open_rows(archive, array))) for array in self._stored]
            for start in range(0, len(self), size):
                count = min(size, len(self) - start)
                arrays = {array.name: self._read_rows(array, member, start, count) for array, member in members}
                yield self._divide(arrays, start)

    @property
    def seekable(self) -> bool:
        """Whether no array is compressed."""
        return all(array.place is not None for array in self._stored)

    def read_at(self, items: NDArray[np.int64], size: int) -> Generator[Batch, None, None]:
        """The items at rising indices, ``size`` at a time; compressed arrays are unpacked up to the last of them.

        Raises:
            DataError: as for `read`.
        """
        if not self.seekable:
            yield from rebatch(pick_items(self.read(size), items), size)
            return
        with self._open_file() as file:
            for low in range(0, len(items), size):
                wanted = items[low : low + size]
                arrays = {array.name: self._seek_rows(array, file, wanted) for array in self._stored}
                yield self._divide(arrays, low)

    def read_labels(self) -> Array | None:
        """The target array.

        Raises:
            DataError: as for `read`.
        """
        if self._target is None:
            return None
        with _open_archive(self._path) as archive, self._open_rows(archive, self._target) as member:
            return self._read_rows(self._target, member, 0, len(self))

    def read_columns(self) -> Mapping[str, Array]:
        """The columns of all items; no other array is read.

        Raises:
            DataError: the file is damaged.
        """
        columns: dict[str, Array] = {}
        with _open_archive(self._path) as archive:
            for array in self._columns:
                with self._open_rows(archive, array) as member:
                    columns[array.name] = self._read_rows(array, member, 0, len(self))
        return columns

    def _seek_rows(self, array: StoredArray, file: IO[bytes], items: NDArray[np.int64]) -> Array:
        """Rows of an uncompressed array, those that lie side by side in one go."""
        rows = np.empty((len(items), *array.shape[1:]), dtype=array.dtype)
        breaks = (np.flatnonzero(np.diff(items) != 1) + 1).tolist()
        for low, high in pairwise([0, *breaks, len(items)]):
            where = f"array {array.name!r} of {self._path}, item {items[low]}"
            with _name_damage(where):
                file.seek((array.place or 0) + int(items[low]) * array.row_bytes)
                _fill(rows[low:high], file, where)
        return rows if rows.dtype.isnative else rows.astype(rows.dtype.newbyteorder("="))

    @contextmanager
    def _open_file(self) -> Iterator[IO[bytes]]:
        try:
            file = self._path.open("rb")
        except OSError as err:
            raise DataError(f"{self._path} cannot be read: {err.strerror}") from err
        with file:
            yield file

    def _divide(self, arrays: Mapping[str, Array], start: int) -> Batch:
        """A batch of the arrays' rows, each in its role."""
        return Batch(
            feeds={array.name: arrays[array.name] for array in self._inputs},
            targets=None if self._target is None else arrays[self._target.name],
            start=start,
            columns={array.name: arrays[array.name] for array in self._columns},
        )

    def _read_header(self, archive: zipfile.ZipFile, name: str) -> StoredArray:
        where = f"array {name!r} of {self._path}"
        member = f"{name}.npy"
        if member not in archive.namelist():
            raise DataError(f"{where} is not in NumPy's .npy format", "write the file with numpy.savez")
        with _name_damage(where), archive.open(member) as file:
            shape, fortran, dtype = _read_npy_header(file, where)
            offset = file.tell()
        if dtype.hasobject:
            raise DataError(f"{where} holds Python objects, which are never loaded", "store numbers")
        if fortran and len(shape) > 1:
            message = f"{where} is in Fortran order, which cannot be streamed item by item"
            raise DataError(message, "store numpy.ascontiguousarray(array)")
        if not shape:
            raise DataError(f"{where} is a single number", "the first axis of every array is the items")
        stored = archive.getinfo(member).file_size - offset
        if stored != math.prod(shape) * dtype.itemsize:
            message = f"{where} holds {stored} bytes, its header promises {math.prod(shape) * dtype.itemsize}"
            raise DataError(message, "the file is damaged; write it again")
        place = _find_place(self._path, archive.getinfo(member))
        return StoredArray(name, shape, dtype, offset, None if place is None else place + offset)

    def _check_roles(self, arrays: Mapping[str, StoredArray], source: DataSource, signature: Signature) -> None:
        shapes = {name: array.shape for name, array in arrays.items()}
        items = shapes.get(signature.inputs[0].name, ())[:1]
        spare = list_spare_columns(shapes, items, source.target)
        columns = source.columns
        check_names(arrays, signature, source.target, str(self._path), columns=columns, allowed=spare)

    def _check_lengths(self) -> None:
        first = self._inputs[0]
        if len(self) == 0:
            message = f"{self._path} holds zero items: {first.name!r} has the shape {list(first.shape)}"
            raise DataError(message, "give at least one item")
        for array in self._inputs[1:]:
            if array.shape[0] != len(self):
                message = f"{self._path}: {first.name!r} has {len(self)} items and {array.name!r} {array.shape[0]}"
                raise DataError(message, "the first axis of every array is the items")
        if self._target is not None and self._target.shape[0] != len(self):
            count = self._target.shape[0]
            comparison = "fewer" if count < len(self) else "more"
            message = (
                f"{self._path} has {comparison} labels than items: {count} in {self._target.name!r}, {len(self)} items"
            )
            raise DataError(message, "give exactly one label per item")
        for array in self._columns:
            check_column(array.name, (array.shape, array.dtype), len(self), str(self._path))

    @contextmanager
    def _open_rows(self, archive: zipfile.ZipFile, array: StoredArray) -> Iterator[IO[bytes]]:
        with _name_damage(f"array {array.name!r} of {self._path}"):
            member = archive.open(f"{array.name}.npy")
            member.read(array.offset)
        with member:
            yield member

    def _read_rows(self, array: StoredArray, member: IO[bytes], start: int, count: int) -> Array:
        rows = np.empty((count, *array.shape[1:]), dtype=array.dtype)
        where = f"array {array.name!r} of {self._path}, item {start}"
        with _name_damage(where):
            _fill(rows, member, where)
        return rows if rows.dtype.isnative else rows.astype(rows.dtype.newbyteorder("="))


def _fill(rows: Array, member: IO[bytes], where: str) -> None:
    buffer = rows.reshape(-1).view(np.uint8).data
    filled = 0
    while filled < len(buffer):
        chunk = member.read(min(_CHUNK_BYTES, len(buffer) - filled))
        if not chunk:
            raise DataError(f"{where}: the file ends early", "the file is truncated; write it again")
        buffer[filled : filled + len(chunk)] = chunk
        filled += len(chunk)


def _read_npy_header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    version = npy.read_magic(file)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise DataError(f"{where} has .npy version {version}", "store plain numbers, not records")
    shape, fortran, dtype = readers[version](file)
    return shape, fortran, dtype


def _find_place(path: Path, member: zipfile.ZipInfo) -> int | None:
    """Byte of the archive where an uncompressed member begins: behind its local header, whose length is its own."""
    encrypted = member.flag_bits & 1
    if member.compress_type != zipfile.ZIP_STORED or encrypted:
        return None
    with path.open("rb") as file:
        file.seek(member.header_offset)
        header = file.read(_LOCAL_HEADER.size)
    name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
    return member.header_offset + _LOCAL_HEADER.size + int(name_bytes) + int(extra_bytes)


@contextmanager
def _open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    if not path.is_file():
        raise DataError(f"{path} does not exist or is no file", "name an .npz file")
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as err:
        with path.open("rb") as file:
            magic = file.read(6)
        if magic.startswith(b"PK\x03\x04"):
            raise DataError(f"{path} is truncated: its table of contents is missing", "copy or write it again") from err
        hint = "store it with numpy.savez, under the input's name" if magic == b"\x93NUMPY" else "use numpy.savez"
        kind = "a single .npy array" if magic == b"\x93NUMPY" else "not an .npz (zip) file"
        raise DataError(f"{path} is {kind}", hint) from err
    except OSError as err:
        raise DataError(f"{path} cannot be read: {err.strerror}") from err
    with archive:
        yield archive


@contextmanager
def _name_damage(where: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError) as err:
        raise DataError(f"{where} is damaged: {err}", "copy or write the file again") from err
    except (RuntimeError, NotImplementedError) as err:
        # zipfile's way to say that a member is encrypted or compressed by an unknown method
        raise DataError(f"{where} cannot be unpacked: {err}", "write the file with numpy.savez") from err
