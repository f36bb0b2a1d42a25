"""What an image folder says of its images beside their labels: the folders they lie in, and tables of columns."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import DataError
from assay.data.listing import LABELS_FILE, ListedImage, read_text
from assay.data.validation import check_columns

SLICES_FILE = "slices.csv"
FOLDER = "folder"


def read_folder_columns(
    folder: Path, images: tuple[ListedImage, ...], wanted: tuple[str, ...]
) -> Mapping[str, NDArray[np.str_]]:
    """Columns of the images of a folder, each ``[n]`` texts.

    There are: ``folder``, the first folder on an image's path (its class, where classes are folders), ``folder2`` the
    second and so on; and the columns of ``slices.csv`` and of ``labels.csv`` beside ``file`` and ``label``.

    Args:
        folder: that holds the images.
        images: in their order.
        wanted: names of the columns.

    Raises:
        DataError: there is no such column, naming those there are, or a table has no line for an image.
    """
    if not wanted:
        return {}
    tables = {**_read_table(folder / LABELS_FILE), **_read_table(folder / SLICES_FILE)}
    parts = [image.name.split("/")[:-1] for image in images]
    depth = max(len(part) for part in parts)
    levels = {FOLDER if level == 0 else f"{FOLDER}{level + 1}": level for level in range(depth)}
    check_columns(wanted, dict.fromkeys([*tables, *levels]), str(folder))
    columns: dict[str, NDArray[np.str_]] = {}
    for name in wanted:
        if name in tables:
            columns[name] = np.array([_find_value(tables[name], image, name, folder) for image in images])
        else:
            level = levels[name]
            columns[name] = np.array([part[level] if level < len(part) else "" for part in parts])
    return columns


def _read_table(path: Path) -> Mapping[str, Mapping[str, str]]:
    """Column -> image -> value."""
    if not path.is_file():
        return {}
    rows = csv.DictReader(read_text(path).splitlines())
    names = [name for name in rows.fieldnames or () if name not in {"file", "label"}]
    if "file" not in (rows.fieldnames or ()):
        raise DataError(f"{path} has the columns {list(rows.fieldnames or ())}", "its first line must begin: file,")
    columns: dict[str, dict[str, str]] = {name: {} for name in names}
    for row in rows:
        for name in names:
            columns[name][(row["file"] or "").strip()] = (row[name] or "").strip()
    return columns


def _find_value(values: Mapping[str, str], image: ListedImage, column: str, folder: Path) -> str:
    if image.name not in values:
        raise DataError(f"column {column!r} has no value for {folder / image.name}", "give every image a line")
    return values[image.name]
