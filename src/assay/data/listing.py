"""Which images an image folder holds, in which order and with which labels."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from assay.core.errors import DataError

LABELS_FILE = "labels.csv"
CLASSES_FILE = "classes.txt"

_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".jp2", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True, slots=True)
class ListedImage:
    """One image.

    Attributes:
        name: path below the folder, with forward slashes.
        label: class index, or None where the folder has no labels.
    """

    name: str
    label: int | None


def list_images(folder: Path) -> tuple[ListedImage, ...]:
    """Images of a folder in order.

    With ``labels.csv`` (header ``file,label``; labels are class indices): its rows in their order. With class
    sub-folders: sorted by name; the index of a class is its line in ``classes.txt`` where there is one, else the
    number that every folder's name is, else its place among the sorted names. Otherwise: the images, without labels.
    Hidden files and files that are no images are passed over.

    Raises:
        DataError: there are no images, or images and labels do not match.
    """
    try:
        names = sorted(_walk(folder, ""))
        listed = _list(folder, names)
    except OSError as err:
        raise DataError(f"{err.filename or folder} cannot be read: {err.strerror}") from err
    if not listed:
        raise DataError(f"{folder} holds zero images", f"known are {', '.join(sorted(_SUFFIXES))}")
    return tuple(listed)


def _list(folder: Path, names: list[str]) -> list[ListedImage]:
    if (folder / LABELS_FILE).is_file():
        return _match_labels(folder, names)
    loose = [name for name in names if "/" not in name]
    if len(loose) == len(names):
        return [ListedImage(name=name, label=None) for name in names]
    if loose:
        message = f"{folder} holds images beside class folders, such as {loose[0]!r}"
        raise DataError(message, f"move them into their class folders, or list all in {LABELS_FILE}")
    classes = _index_classes(folder, sorted({name.partition("/")[0] for name in names}))
    return [ListedImage(name=name, label=classes[name.partition("/")[0]]) for name in names]


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif entry.suffix.lower() in _SUFFIXES:
            yield prefix + entry.name


def _index_classes(folder: Path, used: list[str]) -> Mapping[str, int]:
    path = folder / CLASSES_FILE
    if path.is_file():
        lines = [line.strip() for line in read_text(path).splitlines()]
        known = {line: index for index, line in enumerate(lines) if line}
        for name in used:
            if name not in known:
                nearest = get_close_matches(name, known, n=1)
                hint = f"did you mean {nearest[0]!r}?" if nearest else "give one class a line, in the model's order"
                raise DataError(f"class folder {name!r} of {folder} is not in {CLASSES_FILE}", hint)
        return known
    if all(name.isascii() and name.isdigit() for name in used):
        # "10" sorts before "2": names that are numbers mean the class index itself
        return {name: int(name) for name in used}
    present = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return {name: index for index, name in enumerate(present)}


def _match_labels(folder: Path, names: list[str]) -> list[ListedImage]:
    path = folder / LABELS_FILE
    rows = csv.DictReader(read_text(path).splitlines())
    if not {"file", "label"} <= set(rows.fieldnames or ()):
        raise DataError(f"{path} has the columns {list(rows.fieldnames or ())}", "its first line must be: file,label")
    listed: dict[str, ListedImage] = {}
    for row in rows:
        image = _read_row(row, f"{path}, line {rows.line_num}")
        if image.name in listed:
            raise DataError(f"{path}, line {rows.line_num}: {image.name!r} is listed twice", "keep one of them")
        if image.name not in names and not (folder / image.name).is_file():
            nearest = get_close_matches(image.name, names, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else "paths start at the folder"
            raise DataError(f"{path}, line {rows.line_num}: there is no image {image.name!r}", hint)
        listed[image.name] = image
    unlisted = [name for name in names if name not in listed]
    if unlisted:
        message = f"{path} has fewer labels than {folder} images: {len(unlisted)} have none, as {unlisted[0]!r}"
        raise DataError(message, "label them or move them away")
    return list(listed.values())


def _read_row(row: Mapping[str | None, str | None], where: str) -> ListedImage:
    name, label = (row["file"] or "").strip(), (row["label"] or "").strip()
    if not name or name.startswith("/") or ".." in name.split("/"):
        raise DataError(f"{where}: {name!r} is no path below the folder", "paths start at the folder")
    try:
        return ListedImage(name=name, label=int(label))
    except ValueError as err:
        raise DataError(f"{where}: the label {label!r} is no class index", "give a whole number, from 0") from err


def read_text(path: Path) -> str:
    """The text of a UTF-8 file.

    Raises:
        DataError: it is in another encoding.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as err:
        raise DataError(f"{path} is not UTF-8 text", "save it as UTF-8") from err
