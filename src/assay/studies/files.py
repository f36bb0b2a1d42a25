"""Files that are whole or absent: atomic writes, content hashes, and errors in our words."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np

from assay.core.errors import StoreError
from assay.core.tensor import Array

CHUNK_BYTES = 1 << 20
SCRATCH = ".scratch."
"""How the names of folders begin that are of no use to the next run, which removes them."""


def explain_os_error(error: OSError, path: Path, action: str) -> StoreError:
    """The store's error for what the operating system refused."""
    hints = {
        errno.ENOSPC: "the disk is full: free space or choose another folder, then run the same command to resume",
        errno.EDQUOT: "the disk quota is used up: free space, then run the same command to resume",
        errno.EFBIG: "the file size limit is too small: raise it, then run the same command to resume",
        errno.EACCES: "permission is missing: choose a folder that you may write to",
        errno.EPERM: "permission is missing: choose a folder that you may write to",
        errno.EROFS: "the file system is read-only: choose another folder",
        errno.ENOTDIR: "a part of the path is a file: choose another folder",
        errno.EISDIR: "a folder has that name: choose another file",
        errno.EEXIST: "a file of that name is in the way: choose another folder",
    }
    hint = hints.get(error.errno or 0, "check the path and its permissions")
    return StoreError(f"cannot {action} {path}: {error.strerror or error}", hint)


@contextmanager
def store_errors(path: Path, action: str) -> Iterator[None]:
    """Turn what the operating system refuses into a StoreError that names the path."""
    try:
        yield
    except OSError as error:
        raise explain_os_error(error, path, action) from error


def make_folder(path: Path) -> Path:
    """Create a folder and its parents.

    Raises:
        StoreError: it cannot be created or written to.
    """
    with store_errors(path, "create the folder"):
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    return path


def sync_folder(path: Path) -> None:
    """Make a rename in a folder durable, where the file system can."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is either whole or as it was.

    Raises:
        StoreError: the disk is full, read-only, ...
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with store_errors(path, "write"):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write an uncompressed ``.npz`` so that it is either whole or as it was.

    Raises:
        StoreError: the disk is full, read-only, ...
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with store_errors(path, "write"):
        try:
            with temporary.open("wb") as file:
                pack_arrays(file, arrays)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def check_destination(path: Path) -> None:
    """Refuse a file that could not be written later, before what it is to hold is worked for; writes nothing.

    Raises:
        StoreError: its folder is missing or read-only, or a folder has its name.
    """
    with store_errors(path, "write"):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        # A file that is gone as soon as it is closed asks the file system itself, which knows more than modes do.
        with tempfile.TemporaryFile(dir=path.parent):
            pass


def pack_arrays(file: IO[bytes] | Path, arrays: Mapping[str, Array]) -> None:
    """Write an uncompressed ``.npz`` as `numpy.savez` does, whose own parameters no array may be called like.

    Arrays of Python's texts are stored as NumPy's texts; nothing is ever pickled.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            plain = np.asanyarray(array)
            plain = plain.astype(np.str_) if plain.dtype.hasobject else plain
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, plain, allow_pickle=False)


def read_arrays(path: Path) -> dict[str, Array]:
    """All arrays of an ``.npz`` that Assay wrote.

    Raises:
        StoreError: the file is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise StoreError(f"{path} is damaged: {error}", "delete it and run the study again") from error


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary sibling that takes the name ``path`` when the block ends well, replacing what stood there.

    Raises:
        StoreError: the folder cannot be made or renamed.
    """
    make_folder(path.parent)
    with store_errors(path, "create the folder"):
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
        temporary.chmod(0o755)
    try:
        yield temporary
        with store_errors(path, "replace the folder"):
            if path.exists():
                shutil.rmtree(path)
            temporary.rename(path)
            sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal.

    Raises:
        StoreError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with store_errors(path, "read"), path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def list_files(folder: Path) -> tuple[Path, ...]:
    """All regular files under a folder, sorted."""
    return tuple(sorted(path for path in folder.rglob("*") if path.is_file()))


def measure_folder(folder: Path) -> int:
    """Bytes of all files under a folder."""
    return sum(path.stat().st_size for path in list_files(folder))
