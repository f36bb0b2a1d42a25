"""The study's folder: content-addressed, atomic, locked against a second run.

- ``study.json``: the record of the newest run, which ``show``, ``report`` and ``release`` read.
- ``artifacts/<address>/``: built files, by content of what they were built from.
- ``measurements/<key>/``: everything measured of one model on one machine with one set of data.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from assay.core.errors import StoreError
from assay.core.tensor import Array
from assay.studies.files import SCRATCH, make_folder, read_arrays, store_errors, write_arrays, write_bytes
from assay.studies.record import RECORD_SCHEMA, StudyRecord

Value = TypeVar("Value")


def encode(value: object) -> bytes:
    """Readable JSON of a core noun; sets and mappings are sorted, so that equal nouns give equal bytes."""
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=1) + b"\n"


def decode(content: bytes, kind: type[Value], path: Path) -> Value:
    """A core noun from JSON.

    Raises:
        StoreError: the file is damaged or from another version.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise StoreError(f"{path} is damaged or from another version: {error}", "run the study again") from error


class StudyStore:
    """Reads and writes one study's folder.

    Args:
        root: the folder; made where it is missing.
        key: of the measurements, from ``StudyRequest.measurement_key``.

    Raises:
        StoreError: the folder cannot be written.
    """

    def __init__(self, root: Path, key: str) -> None:
        self.root = root
        sweep(root)
        self.artifacts = make_folder(root / "artifacts")
        self.measurements = make_folder(root / "measurements" / key[:16])
        for name in ("mixed", "probes", "scores", "trials"):
            make_folder(self.measurements / name)

    def read(self, name: str, kind: type[Value]) -> Value | None:
        """A noun stored with these measurements, or None."""
        path = self.measurements / f"{name}.json"
        if not path.exists():
            return None
        with store_errors(path, "read"):
            return decode(path.read_bytes(), kind, path)

    def write(self, name: str, value: object) -> None:
        """Store a noun with these measurements."""
        write_bytes(self.measurements / f"{name}.json", encode(value))

    def read_arrays(self, name: str) -> dict[str, Array] | None:
        """Arrays stored with these measurements, or None."""
        path = self.measurements / f"{name}.npz"
        return read_arrays(path) if path.exists() else None

    def write_arrays(self, name: str, arrays: dict[str, Array]) -> None:
        """Store arrays with these measurements."""
        write_arrays(self.measurements / f"{name}.npz", arrays)

    def artifact(self, address: str) -> Path:
        """Where the artifact of an address is or will be."""
        return self.artifacts / address

    def finish(self, record: StudyRecord) -> None:
        """Make a record the study's newest."""
        write_bytes(self.root / "study.json", encode(record))


def sweep(root: Path) -> None:
    """Remove what a killed run left half-written; only the holder of the lock may call this."""
    for pattern in (".*.part", ".realised.*", ".exposed.*", f"{SCRATCH}*"):
        for path in tuple(root.rglob(pattern)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def load_record(root: Path) -> StudyRecord:
    """The newest record of a study's folder.

    Raises:
        StoreError: no study is there, or it is damaged.
    """
    path = root / "study.json"
    if not path.is_file():
        raise StoreError(f"{root} holds no finished study", "run `assay study` with this folder as --output first")
    with store_errors(path, "read"):
        record = decode(path.read_bytes(), StudyRecord, path)
    if record.schema != RECORD_SCHEMA:
        message = f"{path} has schema {record.schema}; this version reads {RECORD_SCHEMA}"
        raise StoreError(message, "run the study again")
    return record


def address_of(*parts: object) -> str:
    """Short content address of encodable parts."""
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()[:16]


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Keep a second run out of a study's folder.

    Raises:
        StoreError: another process holds the folder.
    """
    path = make_folder(root) / ".lock"
    with store_errors(path, "open"):
        file = path.open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            hint = "wait for it, or choose another --output"
            raise StoreError(f"another run is writing to {root}", hint) from error
        yield
