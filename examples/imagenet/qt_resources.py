"""Read Qt's binary resource files (``.rcc``): a tree of names, with the content of each file.

Format: https://doc.qt.io/qt-6/resources.html and ``qtbase/src/corelib/io/qresource.cpp``. All numbers are big-endian.
The header holds the version and where the tree, the contents and the names start.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COMPRESSED = 1
DIRECTORY = 2
ZSTANDARD = 4


@dataclass(frozen=True)
class Resources:
    """A resource file in memory, with the offsets of its parts."""

    content: bytes
    tree: int
    data: int
    names: int
    node_bytes: int

    def name(self, offset: int) -> str:
        """Return the name at ``offset``: its length, a hash, and UTF-16."""
        start = self.names + offset
        (length,) = struct.unpack_from(">H", self.content, start)
        return self.content[start + 6 : start + 6 + 2 * length].decode("utf-16-be")

    def walk(self, index: int, folder: str) -> Iterator[tuple[str, bytes]]:
        """Yield path and content of all files below a node of the tree."""
        place = self.tree + index * self.node_bytes
        name_offset, flags = struct.unpack_from(">IH", self.content, place)
        path = folder if index == 0 else f"{folder}/{self.name(name_offset)}"
        if flags & DIRECTORY:
            count, first = struct.unpack_from(">II", self.content, place + 6)
            for child in range(first, first + count):
                yield from self.walk(child, path)
        else:
            (offset,) = struct.unpack_from(">I", self.content, place + 10)
            yield path, self.unpack(self.data + offset, flags, path)

    def unpack(self, start: int, flags: int, path: str) -> bytes:
        """Return the content that starts, with its length, at ``start``."""
        if flags & ZSTANDARD:
            raise ValueError(f"{path} is compressed with Zstandard, which is not read here")
        (length,) = struct.unpack_from(">I", self.content, start)
        stored = self.content[start + 4 : start + 4 + length]
        return zlib.decompress(stored[4:]) if flags & COMPRESSED else stored


def read_resources(path: Path) -> dict[str, bytes]:
    """Return the files of a resource file: path with a leading slash -> content."""
    content = path.read_bytes()
    if content[:4] != b"qres":
        raise ValueError(f"{path} is no Qt resource file")
    version, tree, data, names = struct.unpack_from(">IIII", content, 4)
    # from version 2 on, a node ends with the time of its last change
    return dict(Resources(content, tree, data, names, 14 if version == 1 else 22).walk(0, ""))
