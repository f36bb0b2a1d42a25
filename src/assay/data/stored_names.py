"""Names of the arrays or columns that a data source has, before it is read for a model."""

from __future__ import annotations

import zipfile
from importlib import import_module
from pathlib import Path

from assay.core.decoder import MASK, POSITIONS, TYPES
from assay.data.calibration_set import ITEMS_FILE, is_set
from assay.data.function import list_yielded

TABLES = (".parquet", ".arrow", ".feather")
OF_TEXTS = frozenset({MASK, TYPES, POSITIONS})
"""What a tokenizer gives beside the ids."""


def list_stored(path: str) -> frozenset[str]:
    """Names of what a source has; none where it cannot be read, which its reader says in better words.

    Args:
        path: of the source, as it is declared.

    Raises:
        DataError: a function of the user failed.
        RequestError: there is no such function.
    """
    file = Path(path)
    if is_set(file):
        return _list_archive(file / ITEMS_FILE)
    if file.suffix.lower() == ".npz":
        return _list_archive(file)
    if file.suffix.lower() in TABLES:
        return _list_columns(file)
    return list_yielded(path) if ":" in path and not file.exists() else frozenset()


def _list_archive(path: Path) -> frozenset[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return frozenset(name.removesuffix(".npy") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return frozenset()


def _list_columns(path: Path) -> frozenset[str]:
    try:
        rows, damage = import_module("assay.data.rows"), import_module("pyarrow").ArrowException
    except ModuleNotFoundError:
        return frozenset()
    try:
        file = rows.ParquetRows(path) if path.suffix.lower() == ".parquet" else rows.ArrowRows(path)
        return frozenset(file.schema().names)
    except (OSError, damage):
        return frozenset()
