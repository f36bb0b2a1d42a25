"""Read the Fashion-MNIST files and write results without leaving half a file.

Shared by ``bundle.py`` and ``train.py``.
"""

import gzip
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Targets = NDArray[np.int64]

CLASSES = 10
SIDE = 28
MEAN = 0.2860
DEVIATION = 0.3530

_UNSIGNED_BYTE = 0x08


def read_idx(path: Path) -> Images:
    """Return the array of unsigned bytes held in a gzipped IDX file."""
    with gzip.open(path, "rb") as stream:
        content = stream.read()
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UNSIGNED_BYTE:
        raise ValueError(f"{path}: not an IDX file of unsigned bytes")
    rank = content[3]
    start = 4 + 4 * rank
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], dtype=">u4"))
    values = np.frombuffer(content, dtype=np.uint8, offset=start)
    if values.size != int(np.prod(shape)):
        raise ValueError(f"{path}: {values.size} values do not fill the shape {shape}")
    return values.reshape(shape)


def read_split(directory: Path, split: str) -> tuple[Images, Targets]:
    """Return images [N,1,28,28] and targets [N] of the split ``train`` or ``t10k``."""
    images = read_idx(directory / f"{split}-images-idx3-ubyte.gz")
    labels = read_idx(directory / f"{split}-labels-idx1-ubyte.gz")
    if images.shape != (labels.size, SIDE, SIDE):
        raise ValueError(f"{split}: images {images.shape} do not match {labels.size} labels")
    if labels.size == 0 or int(labels.max()) >= CLASSES:
        raise ValueError(f"{split}: labels must be 0 to {CLASSES - 1}")
    return images[:, None], labels.astype(np.int64)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` with ``content`` in one step, so no reader sees a part of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
