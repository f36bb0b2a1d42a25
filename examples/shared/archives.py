"""Reads members of packages: wheels, Debian packages and npm archives, of which nothing is run."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

AR_MAGIC = b"!<arch>\n"
AR_HEADER = 60


def read_members(package: Path, prefix: str) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every file of a package whose path starts with ``prefix``.

    Raises:
        SystemExit: the file is no archive of a known kind.
    """
    if package.suffix == ".deb":
        yield from _read_debian(package, prefix)
    elif package.suffix == ".whl":
        with zipfile.ZipFile(package) as archive:
            for name in sorted(archive.namelist()):
                if name.startswith(prefix) and not name.endswith("/"):
                    yield name, archive.read(name)
    elif package.name.endswith(".tgz"):
        with tarfile.open(package) as archive:
            yield from _read_tar(archive, prefix)
    else:
        raise SystemExit(f"{package} is neither a .deb, a .whl nor a .tgz")


def _read_debian(package: Path, prefix: str) -> Iterator[tuple[str, bytes]]:
    """A Debian package is an ``ar`` archive with a ``data.tar.*`` inside (deb(5))."""
    with package.open("rb") as file:
        if file.read(len(AR_MAGIC)) != AR_MAGIC:
            raise SystemExit(f"{package} is no Debian package")
        while header := file.read(AR_HEADER):
            length = int(header[48:58])
            if header.startswith(b"data.tar"):
                with tarfile.open(fileobj=file, mode="r|*") as archive:
                    yield from _read_tar(archive, prefix)
                return
            file.seek(length + length % 2, io.SEEK_CUR)


def _read_tar(archive: tarfile.TarFile, prefix: str) -> Iterator[tuple[str, bytes]]:
    """Regular files, in the archive's order."""
    for member in archive:
        name = member.name.removeprefix("./")
        content = archive.extractfile(member) if member.isreg() and name.startswith(prefix) else None
        if content is not None:
            yield name, content.read()
